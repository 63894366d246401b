# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Command lines of another system -> a recipe. Standard library and PyYAML only.

| file | what |
|---|---|
| `words.py` | a typed command or a shell script -> its launcher's options and its arguments |
| `arguments.py` | the table: each argument, the recipe key that it becomes, or why there is none |
| `launch.py` | the same for options of `accelerate launch`, `torchrun` and `deepspeed` |
| `models.py` | models -> templates; models that LlamaFactory has not, and what to take for them |
| `build.py` | a command -> keys, notes and refusals; `values.py`: what typed values mean |
| `write.py` | these as the text of a recipe |
"""
