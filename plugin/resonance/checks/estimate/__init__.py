# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a recipe will need: memory by part and FLOPs a step, before a weight is loaded.

`entry` reads a recipe (`recipe`), counts its model on the meta device (`model`, `families`) and the tokens of a row
(`lengths`); from these numbers (`shapes`) come FLOPs and bytes (`flops`, `memory`), advice and report.
"""
