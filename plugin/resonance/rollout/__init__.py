# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Who generates completions: one interface, and the back-ends behind it.

| file | what |
|---|---|
| `types.py` | prompts in, completions out; how to sample |
| `local.py` | the policy itself: each prompt is read once, its cache serves the whole group |
| `states.py` | the policy as generation needs it, and as it was before |
| `recorder.py` | the log-probability of each sampled token, and tokens that are never sampled |
| `server.py` | what is asked of a server, and what it answers; `vllm.py`, `sglang.py`: dialects |
| `pool.py` | completions from several servers, of which some may fail; `round.py`: prompts dealt out to them |
| `agreement.py` | whether a server read the prompt that is trained on |
"""
