# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Libraries kept out of a report. Standard library only."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

VERBOSITY = "LLAMAFACTORY_VERBOSITY"
# The converters log every row they drop, which a report does with the reason.
LEVELS = {
    "llamafactory": logging.WARNING,
    "llamafactory.data.converter": logging.ERROR,
    "transformers": logging.WARNING,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notes of LlamaFactory and Transformers, and PIL's warnings of images that are reported anyway, unprinted.

    LlamaFactory imported within logs to standard error from then on. For the main thread.
    """
    loggers = {logging.getLogger(name): level for name, level in LEVELS.items()}
    before, given = {logger: logger.level for logger in loggers}, VERBOSITY in os.environ
    os.environ.setdefault(VERBOSITY, "WARN")  # read when LlamaFactory is imported
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
        if not given:
            del os.environ[VERBOSITY]
