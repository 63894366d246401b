# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a recipe will need: memory by part and FLOPs a step, before a weight is loaded.

| file | what |
|---|---|
| `shapes.py` | the numbers that everything is computed from; standard library only |
| `flops.py`, `memory.py` | arithmetic on them; standard library only |
| `model.py` | counts a model that LlamaFactory sets up on the meta device |
| `recipe.py` | reads a recipe into these numbers |
| `lengths.py` | tokens of a row, from the recipe's data set or from defaults |
| `report.py` | both paths side by side, the largest micro-batch, advice |
"""
