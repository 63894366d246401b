# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Talking to servers over HTTP: judges of completions, and engines that generate them. Imports no torch.

| file | what |
|---|---|
| `client.py` | calls with a time limit, bounded retries, a limit of calls at a time, and a key that is never printed |
| `address.py` | URLs without secrets; the key in the environment |
| `pace.py` | so many calls and tokens a minute; all wait when a server asks for it |
| `media.py` | images as data URIs |
"""

from .address import checked_host, is_loopback, key_in
from .client import Client, ServerError
from .media import data_uri
from .pace import Pace, Stopped

__all__ = ["Client", "Pace", "ServerError", "Stopped", "checked_host", "data_uri", "is_loopback", "key_in"]
