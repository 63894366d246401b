# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Everything that is wrong with a recipe, before a model is loaded: what `resonance validate` asks.

`entry` reads a recipe and asks, in this order: the check that every training starts with (`arguments/recipe.py`), the
types of all keys (`values`), the model and its template (`model`), packages and devices (`extras`), keys that nothing
reads (`idle`), the output folder (`output`), LlamaFactory's own checks (`parsing`), data files (`rows`), steps and
scores (`steps`). `launch` has the commands, `facts` what the run is, `dry_run` trains the longest rows for two steps.
All that was found is a `verdict`.
"""
