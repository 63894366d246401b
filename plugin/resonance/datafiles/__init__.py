# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Data files room: rows read as a stream, files replaced whole or not at all. Knows no dataset, imports no torch."""
