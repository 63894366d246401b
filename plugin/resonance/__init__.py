# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Resonance: preference and reinforcement training of vision-language models on LlamaFactory.

Importing this package loads neither torch nor LlamaFactory. The training features become live by themselves in every
Python process of the environment (see `_resonance_startup.py`); `resonance.losses` can be used on its own.
"""

__version__ = "0.2.0"

# What pyproject.toml asks for, and what the hooks were written against and tested with.
SUPPORTED_LLAMAFACTORY = ">=0.9.4,<0.10"
TESTED_LLAMAFACTORY = ("0.9.4", "0.9.5")
