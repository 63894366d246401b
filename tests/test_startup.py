# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The import hook next to other import hooks."""

from __future__ import annotations

import subprocess
import sys

OTHER = """
import sys

class Other:
    '''What another extension of LlamaFactory would install: asks every other finder in turn.'''

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith("llamafactory."):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec

from resonance import startup
startup.install()
sys.meta_path.insert({place}, Other())
import llamafactory.hparams.finetuning_args
from resonance.hooks.llamafactory import registry
print([row["state"] for row in registry.status()][0])
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_another_finder_in_front_or_behind_does_not_recurse():
    assert run(OTHER.format(place=0)) == "applied"
    assert run(OTHER.format(place=1)) == "applied"


def test_modules_of_others_are_not_looked_at():
    code = "import sys, json, email.mime.text; print('resonance.hooks' in sys.modules)"
    assert run(code) == "False"
