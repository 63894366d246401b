# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Models after training: how often they rank the better answer first, and what other programs make of their files.

| file | what |
|---|---|
| `trained.py` | what a folder with a model holds about its training: base, template, limits. Imports no torch |
| `policy.py` | loads such a folder; log-probabilities of pairs with it, and with its adapter off |
| `accuracy.py` | accuracies, margins and calibration of groups of pairs, as pure functions of numbers |
| `outside.py` | a folder as Transformers and PEFT read it: prompts, names of weights, log-probabilities |
| `export.py`, `served.py` | compares that, and a vLLM server, with the trained model |
| `suites.py`, `handoff.py` | benchmarks by the names of VLMEvalKit and lmms-eval; their configuration and commands |
"""
