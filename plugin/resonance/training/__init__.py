# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Trainers and what a run of ours prepares: tensors move between the other rooms here, arithmetic stays there."""
