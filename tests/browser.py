# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A page in a headless Chromium, for tests of what people look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync")  # fmt: skip
TIMEOUT = 60_000  # milliseconds, on a busy machine


@contextmanager
def opened(address: str | Path, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """The page at a URL or of a file; the test is skipped where there is no Chromium.

    An error in the page's own scripts fails the test, whatever it looked for.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[f"--{word}" for word in QUIET])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(TIMEOUT)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
        yield page
        browser.close()
    assert not errors, errors
