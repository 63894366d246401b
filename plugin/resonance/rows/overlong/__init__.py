# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pairs over `cutoff_len`, `max_prompt_length` or `max_target_length`, and the recipe's `overlong` policy for them."""
