# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Importers room: public data sets -> a LlamaFactory data file and its entry. One file a set; no torch."""
