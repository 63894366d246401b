# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The reward server: one process that scores completions over HTTP, by a reward of ours or yours. Imports no torch.

| file | what |
|---|---|
| `schema.py` | what is asked and answered, as models that docs/reward_v1.schema.json is written from |
| `read.py` | from a request to completions: its body within a limit, its images |
| `batcher.py` | requests wait in line, and are scored together |
| `metrics.py` | counters, as Prometheus reads them |
| `app.py` | the routes, the key, the limits |
| `run.py` | the process |
"""

from .app import Limits
from .run import Options, serve

__all__ = ["Limits", "Options", "serve"]
