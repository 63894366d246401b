# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which rows can be trained on: every fault is found before step 1 and reported with file and row."""
