# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaBoard: our losses, keys and rewards in the train tab of LlamaFactory's web page."""
