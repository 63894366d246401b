#!/usr/bin/env bash
# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
#
# Linters, type checker and tests, in a .venv that is made once and reused while its requirements are unchanged:
#
#   bash scripts/test.sh                           # everything that is not marked slow
#   bash scripts/test.sh --all                     # everything, as CI runs it
#   bash scripts/test.sh tests/losses -k uni_dpo   # other arguments go to pytest, and the linters are left out
#
# RESONANCE_PYTHON=/path/to/python uses an environment that is there; RESONANCE_TEST_WORKERS sets pytest's processes (2).
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
source scripts/env.sh

marker="not slow"
if [ "${1:-}" = "--all" ]; then
    marker=""
    shift
fi

ensure_venv "$ROOT" dev,deepspeed
echo "testing with $("$PYTHON" --version) at $PYTHON"
# One thread a process: ranks and test workers would otherwise fight for the same cores.
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

if [ $# -eq 0 ]; then
    "$PYTHON" -m ruff check .
    "$PYTHON" -m ruff format --check .
    "$PYTHON" -m mypy
fi
# A process runs all tests of a file, which share their runs; files in conftest.py's order.
exec "$PYTHON" -m pytest -q -n "${RESONANCE_TEST_WORKERS:-2}" --dist loadscope --no-loadscope-reorder -m "$marker" "$@"
