# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Where a server is, and the key that it wants."""

from __future__ import annotations

import ipaddress
import os


def checked_host(url: str) -> str:
    """The host of a server's URL. ValueError where it is none, or has a secret in it."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ValueError(f"{_shown(url)} is not a URL" + f": {error}" * ("@" not in str(url))) from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None))
        raise ValueError(
            f"a URL with a user, a password, a query or a fragment is not allowed, because URLs are logged ({bare} "
            "with them): put the key into an environment variable and name that"
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{_shown(url)} is not the URL of a server, like http://127.0.0.1:8000")
    return parsed.host


def _shown(url: object) -> str:
    """A URL that cannot be read, for a message: not where it may have a password, which nothing finds then."""
    return repr(url) if "@" not in str(url) else "'...@" + str(url).rpartition("@")[2] + "'"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def key_in(variable: str) -> str:
    """The key in an environment variable, empty for no name. ValueError where it is not set."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"the environment variable {variable}, which the key of the server is to be in, is not set")
    return key
