# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Scores for the answers of pairs, by a judge. Imports no torch.

| file | what |
|---|---|
| `types.py` | what a judge is asked and what it answers |
| `functions.py` | functions and reward models as judges |
| `own.py` | servers of our own reward protocol |
| `chat.py` | OpenAI-compatible chat servers: `template.py` writes the prompt, `reply.py` reads the score |
| `journal.py` | what was answered so far, on disk |
| `keys.py` | what an answer is known by |
| `run.py` | asking, several at a time, until all is answered or the server fails |
| `estimate.py` | how much is going to be asked |
| `result.py`, `agreement.py` | scores of rows, and what is worth knowing about them |
| `output.py` | the new data file, and the list of rows without scores |
"""
