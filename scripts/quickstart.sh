#!/usr/bin/env bash
# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
#
# From a fresh checkout to a vision-language model trained on real pictures:
#
#   bash scripts/quickstart.sh         # with Uni-DPO, on scored pairs
#   bash scripts/quickstart.sh grpo    # with GRPO, on answers of its own and a rule that rewards them; or ppo
#   bash scripts/quickstart.sh rm      # with PPO, on answers of its own and a reward model that it trains on pairs
#
# Makes .venv and installs (the first time), builds a tiny Qwen2-VL, warms it up, measures held-out preference accuracy,
# trains with Uni-DPO, measures again. With grpo, ppo or rm it takes the model that an earlier run has warmed up, if there is
# one, and measures how many held-out pictures it reads. CPU only; needs the network only to install. Writes to .venv and
# saves/quickstart, which a second run overwrites. RESONANCE_PYTHON=/path/to/python uses an environment that is there.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
OUT=saves/quickstart
METHOD="${1:-uni_dpo}"
case "$METHOD" in
uni_dpo | grpo | ppo | rm) ;;
*)
    echo "error: '$METHOD' is no method of the quickstart; allowed: uni_dpo, grpo, ppo, rm" >&2
    exit 2
    ;;
esac
cd "$ROOT"
source scripts/env.sh

export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# A model this small gains nothing from a second thread, and loses much where the cores are shared.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# The recipes use the CPU; hidden GPUs keep LlamaFactory from starting one process for each of them.
export CUDA_VISIBLE_DEVICES=""

# step NAME WHAT COMMAND...: run quietly with a log; on failure show its end.
step() {
    local name="$1" what="$2" log="$OUT/logs/$1.log" started=$SECONDS
    shift 2
    printf '%-58s' "$what"
    rm -rf "${OUT:?}/$name"
    if ! "$@" >"$log" 2>&1; then
        printf 'failed\n\n--- last lines of %s ---\n' "$ROOT/$log" >&2
        tail -n 40 "$log" >&2
        printf -- '--- failed: %s\n--- whole log: %s\n' "$*" "$ROOT/$log" >&2
        exit 1
    fi
    printf '%4d s\n' $((SECONDS - started))
}

train() {
    step "$1" "$2" llamafactory-cli train "examples/quickstart/$1.yaml"
}

ensure_venv "$ROOT"
mkdir -p "$OUT/logs"
SECONDS=0
if [ "$METHOD" = uni_dpo ] || [ ! -f "$OUT/sft/train_results.json" ]; then
    step model "build a tiny Qwen2-VL" "$PYTHON" scripts/make_tiny_model.py "$OUT/model"
    train sft "SFT warm-up on 240 pictures"
fi

KEY=eval_reward WHAT="rewarded by a rule"
if [ "$METHOD" = rm ]; then
    train rm "reward model on 3840 pairs"
    METHOD=ppo_rm KEY=eval_reward/exact WHAT="rewarded by that model"
fi
if [ "$METHOD" != uni_dpo ]; then
    train "$METHOD" "$([ "$METHOD" = grpo ] && echo GRPO || echo PPO) on 1397 pictures, $WHAT"
    "$PYTHON" - "$ROOT/$OUT/$METHOD" "${METHOD^^}" "$SECONDS" "$KEY" <<'PY'
import json
import pathlib
import sys

out, method, seconds = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
history = json.loads((out / "trainer_state.json").read_text())["log_history"]
accuracy = [entry[sys.argv[4]] for entry in history if sys.argv[4] in entry]
print(f"""
held-out accuracy (160 pictures never trained on, greedy answers)
  before {method:7s}   {accuracy[0]:6.1%}
  after {method:7s}    {accuracy[-1]:6.1%}
wall time          {seconds} s

model     {out}
answers   {out / "completions.html"}
curves    {out / "curves.png"}
numbers   {out}/trainer_log.jsonl, trainer_state.json, all_results.json
report    .venv/bin/resonance report {out}""")
PY
    exit 0
fi

train eval_before "held-out preference accuracy before"
train uni_dpo "Uni-DPO on 400 scored pairs"
train eval_after "held-out preference accuracy after"

"$PYTHON" - "$ROOT/$OUT" "$SECONDS" <<'PY'
import json
import pathlib
import sys

out, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
before, after = (
    json.loads((out / name / "all_results.json").read_text())["eval_rewards/accuracies"]
    for name in ("eval_before", "eval_after")
)
print(f"""
held-out preference accuracy (160 pairs, pictures never trained on)
  before Uni-DPO   {before:6.1%}
  after Uni-DPO    {after:6.1%}
(by mean log-prob a token; eval_rewards/accuracies in uni_dpo/all_results.json is against the reference model)
wall time          {seconds} s

model     {out / "uni_dpo"}
curves    {out / "uni_dpo" / "curves.png"}
numbers   {out / "uni_dpo"}/trainer_log.jsonl, trainer_state.json, all_results.json
report    .venv/bin/resonance report {out / "uni_dpo"}""")
PY
