# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The rows room: a row on its way in, from the data file to the batch.

Stations: raw row -> aligned row (``_prompt _response _images _score_* _row _source``) -> token ids -> batch.
``fields`` and ``plan`` import nothing heavy; every other module here may import LlamaFactory and knows no loss.
"""
