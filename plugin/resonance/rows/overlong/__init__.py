# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs over `cutoff_len`, `max_prompt_length` or `max_target_length`, and the recipe's `overlong` policy for them.

| file | what |
|---|---|
| `lengths` | tokens of a pair, and the limits they exceed |
| `shrink_image`, `cut_text` | the two policies that make a pair fit |
| `policy` | one pair: encode it, apply the policy, note what happened |
| `dataset` | all pairs: stop the run, skip, or go on with a warning; messages, and files that list rows |
"""
