# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reward models, once they are trained: a folder of weights in, a number a completion out.

| file | what |
|---|---|
| `head.py` | the value head: put into a model, written, read |
| `settings.py` | what a folder does not hold about itself: base model, template, limits of images. Imports no torch |
| `scorer.py` | loads a folder, and scores conversations with it |
| `accuracy.py` | which groups of pairs accuracies are reported for |

A reward is read at the last token of the template's ending, so a completion is closed with it before it is scored.
"""
