# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The speed-ups of the forward pass by name. Imports nothing, so that recipes are checked fast."""

FROZEN_TOWER = "frozen_tower"  # a vision tower that does not train runs without a graph
RESPONSE_HEAD = "response_head"  # the output head runs on the positions that predict response tokens
VISION_ONCE = "vision_once"  # each picture is encoded once for both responses, for policy and reference
SHARED_PREFIX = "shared_prefix"  # one row a prompt: [prompt | chosen | rejected]
PADDING_FREE = "padding_free"  # all rows of a batch in one, without padding

# In the order in which the self-test gives them up: what touches most of the model first.
SPEEDUPS = (PADDING_FREE, SHARED_PREFIX, VISION_ONCE, RESPONSE_HEAD, FROZEN_TOWER)
