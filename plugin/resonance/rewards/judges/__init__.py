# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Judges over HTTP: servers that score completions. docs/judges.md has what they are asked and what they answer.

| file | what |
|---|---|
| `entry.py` | from an entry `{url: ...}` of a recipe to a judge, with all that is wrong with it |
| `judge.py` | the calls for a batch of completions, and what becomes of an answer without a score |
| `api.py` | what an API is, and what its answers become |
| `own.py`, `texts.py`, `chat.py` | the APIs: our own, LlamaFactory's, and that of OpenAI-compatible chat servers |
| `cache.py` | scores on disk |
"""

from .entry import FREE, host_of, read_judge

__all__ = ["FREE", "host_of", "read_judge"]
