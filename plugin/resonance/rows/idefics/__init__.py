# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Idefics2, Idefics3 and SmolVLM, which LlamaFactory lacks, put into its own tables.

| file | what |
|---|---|
| `plugins` | pictures of a conversation as tokens, and as pixels of a batch |
| `templates` | the conversation as the models' chat templates write it; entries of TEMPLATES |
| `parts` | models, and their parts, by name; entries of SUPPORTED_MODELS and COMPOSITE_MODELS |

Tokens are those of the model's own processor and chat template. `<end_of_utterance>` and the line break behind it
belong to the answer and are trained, as with Qwen's templates.
"""
