# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The reference model: the policy with its adapters off, or numbers on disk in place of a model.

| file | what |
|---|---|
| `adapters.py` | switches a policy's adapters off and on again |
| `store.py` | log-probabilities on disk, K numbers a row |
| `keys.py` | what a row is known by |
| `settings.py` | all that the numbers depend on beside the row; `fingerprint.py`: of models on disk |
| `fill.py` | the pass of a model over the rows that a store lacks |
| `collate.py` | batches with a store's numbers beside them |
"""
