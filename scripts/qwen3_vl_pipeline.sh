#!/usr/bin/env bash
# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
#
# DPO of Qwen3-VL-4B-Instruct on topic-overwrite: the nine steps of the LlamaFactory pipeline that docs/from has.
#
#   bash scripts/qwen3_vl_pipeline.sh [KEY=VALUE ...]        # keys of the recipe, as max_steps=10
#
#   INPUT=FILE_OR_FOLDER     steps 1-3 read a download instead of the hub
#   PREPARED=FILE.json       steps 4-5: a data file that was prepared elsewhere (the pipeline's, from Google Drive), whose
#                            image paths are another machine's; steps 1-3 are left out
#   OLD=/content/data        where the paths of PREPARED start: Colab's
#   NEW=/kaggle/input/data   what they are to start with here: Kaggle's
#   LIMIT=N                  rows to read in step 1
#   OUT=data                 folder of the data set
#   RECIPE=FILE.yaml         the recipe of step 8
#   TRAIN=echo               show what step 9 would train with
#
# Each step can be given again: an import goes on where it stopped, a recipe that is there is kept.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
OUT="${OUT:-data}"
RECIPE="${RECIPE:-topic_overwrite.yaml}"

say() { printf '\n== %s\n' "$*"; }

say "6. dependencies: this checkout's environment (first, because all else needs it)"
source "$ROOT/scripts/env.sh"
ensure_venv "$ROOT"

if [ -z "${PREPARED:-}" ]; then
    say "1. load the data set, 2. write its images as JPEG, 3. ShareGPT pairs"
    "$PYTHON" -m resonance data import topic_overwrite ${INPUT:+"$INPUT"} --image-format jpeg --out "$OUT" \
        ${LIMIT:+--max-rows "$LIMIT"} --force
else
    say "4. data that was prepared elsewhere: $PREPARED"
    mkdir -p "$OUT"
    say "5. image paths: ${OLD:?where its paths start, as /content/data} -> ${NEW:?where they are here, as /kaggle/input/data}"
    "$PYTHON" -m resonance data fix-paths "$PREPARED" --from "$OLD" --to "$NEW" -o "$OUT/topic_overwrite.json" --force
fi

say "7. the entry in $OUT/dataset_info.json, which step 3 writes too"
"$PYTHON" -m resonance data register "$OUT/topic_overwrite.json" --name topic_overwrite --dataset-dir "$OUT" --force
"$PYTHON" -m resonance data check topic_overwrite --dataset-dir "$OUT"

say "8. the recipe: $RECIPE (template: qwen3_vl_nothink, because Instruct models have no thoughts)"
[ -e "$RECIPE" ] || "$PYTHON" -m resonance cp qwen3_vl_4b/dpo_lora "$RECIPE"

say "9. train"
${TRAIN:-llamafactory-cli train} "$RECIPE" dataset_dir="$OUT" "$@"
