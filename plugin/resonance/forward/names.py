# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The speed-ups of the forward pass by name. Imports nothing, so that recipes are checked fast."""

FROZEN_TOWER = "frozen_tower"  # a vision tower that does not train runs without a graph
RESPONSE_HEAD = "response_head"  # the output head runs on the positions that predict response tokens
VISION_ONCE = "vision_once"  # each picture is encoded once for all rows that show it, for policy and reference
SHARED_PREFIX = "shared_prefix"  # each prompt is read once for all its responses, where that costs less
PADDING_FREE = "padding_free"  # rows in one without padding, attention by pieces, where that costs less

# In the order in which the self-test gives them up: what touches most of the model first.
SPEEDUPS = (PADDING_FREE, SHARED_PREFIX, VISION_ONCE, RESPONSE_HEAD, FROZEN_TOWER)
