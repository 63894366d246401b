# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Run several recipes in forks of one process that has imported LlamaFactory: `run_many.py JOBS.json`.

A job is {"recipe": {...}, "log": path, "code": path}; what `run_exp` prints goes to the log, the exit code to
`code`. Saves the eight seconds of imports a run; `llamafactory-cli train` itself is tested elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def child(recipe: dict, log: str) -> int:
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    try:
        from llamafactory.train.tuner import run_exp

        run_exp(recipe)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(path: str) -> None:
    import llamafactory.train.dpo.trainer
    import llamafactory.train.tuner  # noqa: F401  (what every run imports)

    for job in json.loads(Path(path).read_text()):
        pid = os.fork()
        if pid == 0:
            code = child(job["recipe"], job["log"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        Path(job["code"]).write_text(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


if __name__ == "__main__":
    main(sys.argv[1])
