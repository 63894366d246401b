# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
#
# Sourced by quickstart.sh and test.sh; defines functions, runs nothing.
#
#   source "$ROOT/scripts/env.sh"
#   ensure_venv "$ROOT"                  # .venv with the package
#   ensure_venv "$ROOT" dev,deepspeed    # ... and these extras
#
# Afterwards $PYTHON is the interpreter and its folder is first on PATH, so that llamafactory-cli, torchrun and
# resonance are this environment's own. An environment that is already right is reused: .venv/.resonance-stamp holds a
# hash of setup.py, pyproject.toml and constraints.txt on its first line and the installed extras on its second.
# RESONANCE_PYTHON=/path/to/python uses that environment as it is: nothing is created or installed.

_python_is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

_find_python() {
    local candidate
    for candidate in python3 python3.11 python3.12 python3.13 python; do
        if command -v "$candidate" >/dev/null 2>&1 && _python_is_supported "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    echo "error: no Python 3.11, 3.12 or 3.13 on PATH (python3 is $(python3 --version 2>&1 || echo missing))." >&2
    echo "       Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) and run this again." >&2
    return 1
}

_inputs_hash() {
    "$1" - "$2" <<'PY'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256()
for name in ("setup.py", "pyproject.toml", "constraints.txt"):
    digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
print(digest.hexdigest())
PY
}

# Sorted, comma-separated union of two comma-separated lists.
_join_extras() {
    printf '%s,%s' "$1" "$2" | tr ',' '\n' | sed '/^[[:space:]]*$/d' | LC_ALL=C sort -u | paste -sd, -
}

_create_venv() {
    local python="$1" venv="$2"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "error: '$python -m venv' failed." >&2
        echo "       Debian, Ubuntu: apt install python3-venv, then run this again." >&2
        return 1
    fi
}

# ensure_venv ROOT [EXTRAS]: create or refresh ROOT/.venv, set PYTHON and PATH.
ensure_venv() {
    local root="$1" extras="${2:-}" venv="$1/.venv" stamp="$1/.venv/.resonance-stamp" python hash have="" old=""
    if [ -n "${RESONANCE_PYTHON:-}" ]; then
        PYTHON="$RESONANCE_PYTHON"
        _python_is_supported "$PYTHON" || { echo "error: RESONANCE_PYTHON=$PYTHON is no Python 3.11-3.13" >&2; return 1; }
        PATH="$(dirname "$("$PYTHON" -c 'import sys; print(sys.executable)')"):$PATH"
        export PYTHON PATH
        return 0
    fi
    if [ -x "$venv/bin/python" ] && ! _python_is_supported "$venv/bin/python"; then
        echo "error: $venv holds $("$venv/bin/python" --version 2>&1), 3.11-3.13 is needed; remove the folder." >&2
        return 1
    fi
    if [ ! -x "$venv/bin/python" ]; then
        python="$(_find_python)" || return 1
        echo "creating $venv with $("$python" --version 2>&1)"
        _create_venv "$python" "$venv" || return 1
    fi
    PYTHON="$venv/bin/python"
    PATH="$venv/bin:$PATH"
    export PYTHON PATH

    hash="$(_inputs_hash "$PYTHON" "$root")" || return 1
    if [ -f "$stamp" ]; then
        old="$(sed -n 1p "$stamp")"
        have="$(sed -n 2p "$stamp")"
    fi
    extras="$(_join_extras "$have" "$extras")"
    if [ "$old" = "$hash" ] && [ "$have" = "$extras" ]; then
        return 0
    fi
    echo "installing into $venv${extras:+ with extras $extras} (the first time this downloads PyTorch)"
    rm -f "$stamp"
    "$PYTHON" -m pip install --disable-pip-version-check --quiet \
        -c "$root/constraints.txt" -e "$root${extras:+[$extras]}" || return 1
    printf '%s\n%s\n' "$hash" "$extras" >"$stamp"
}
