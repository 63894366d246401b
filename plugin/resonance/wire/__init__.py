# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Talking to servers over HTTP: judges of completions, and engines that generate them. Imports no torch.

| file | what |
|---|---|
| `client.py` | calls with a time limit, bounded retries, a limit of calls at a time, and a key that is never printed |
| `media.py` | images as data URIs |
"""

from .client import Client, ServerError, checked_host, is_loopback, key_in
from .media import data_uri

__all__ = ["Client", "ServerError", "checked_host", "data_uri", "is_loopback", "key_in"]
