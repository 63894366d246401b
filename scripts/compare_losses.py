# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Preference losses from one SFT start: held-out accuracy over seeds, on handwritten digits and on photographs.

    python scripts/compare_losses.py --json rows.jsonl                       # all of it; an interrupted call goes on
    python scripts/compare_losses.py --only uni_dpo --only sigmoid --sets digits --seeds 0,1

All runs of a set differ in the loss and the seed alone: same start, pairs, steps, batch, learning rate and trainer.
The parameters of each loss are those of its paper or LlamaFactory's, as the table names them; none was tuned here, but
for `uni_dpo, nll 0.2`, which is examples/quickstart/uni_dpo.yaml. Columns, in per cent of held-out pairs or pictures:

    policy     the chosen answer has the higher mean log-probability a token
    reference  that log-probability has risen more than the rejected one's, from the SFT start
    greedy     the answer that the model generates names the right class

Numbers are means over seeds +- the standard deviation of a sample. Makes saves/compare_losses; CPU only, one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from benchmarks.runs import train

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "examples" / "quickstart"
WORK = ROOT / "saves" / "compare_losses"
START = "SFT start"
OVERRIDES = {"num_train_epochs": 3.0}
MEASURES = ("policy", "reference", "greedy")
UNI_DPO = {
    "pref_loss": "uni_dpo", "pref_beta": 2.0, "uni_dpo_qual_eta": 0.7, "uni_dpo_tau_ref": 2.0,
    "uni_dpo_perf_gamma": 3.0, "uni_dpo_nll_lambda": 0.001, "uni_dpo_tau_good": 2.5,
}  # fmt: skip

Row = dict[str, Any]


class Loss(NamedTuple):
    """Keys of a recipe, and where their values come from."""

    keys: Mapping[str, Any]
    parameters: str


class PictureSet(NamedTuple):
    """Data of an SFT start and of pairs, and what a right answer is."""

    data: Path
    classes: str  # regular expression of one


def of(name: str, beta: float, parameters: str, **keys: Any) -> Loss:
    """A loss under our trainer, whatever its name."""
    return Loss({"pref_loss": name, "pref_beta": beta, "pref_engine": "resonance", **keys}, parameters)


LOSSES = {
    "uni_dpo": Loss(UNI_DPO, "beta 2, eta 0.7, tau_ref 2, gamma 3, nll 0.001: paper, multimodal"),
    "uni_dpo, nll 0.2": Loss(
        UNI_DPO | {"uni_dpo_nll_lambda": 0.2}, "beta 2, eta 0.7, tau_ref 2, gamma 3, nll 0.2: quickstart"
    ),
    "sigmoid": of("sigmoid", 0.1, "beta 0.1: LlamaFactory"),
    "simpo": of("simpo", 2.0, "beta 2, gamma 1: paper", simpo_gamma=1.0),
    "hinge": of("hinge", 0.1, "beta 0.1: LlamaFactory"),
    "ipo": of("ipo", 0.1, "beta 0.1: LlamaFactory"),
    "orpo": of("orpo", 0.1, "beta 0.1: paper"),
    "mm_dpo": of("mm_dpo", 0.1, "beta 0.1, w 0.5, k 0.5: paper"),
    "sft": of("sft", 0.1, "none: SFT of the chosen answers"),
}
SETS = {
    "digits": PictureSet(ROOT / "data", r"\d"),
    "patches": PictureSet(WORK / "patches", "brick|grass|gravel|coins|cat|coffee|woman|rocket|tissue|moon"),
}


def recipe_of(name: str, keys: Mapping[str, Any], folder: Path) -> Path:
    """A recipe of examples/quickstart with other keys, None for without, written to a folder."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    path = folder / f"{name}.yaml"
    merged = {key: value for key, value in {**recipe, "plot_loss": False, **keys}.items() if value is not None}
    path.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
    return path


def data_keys(name: str, kinds: Mapping[str, str]) -> Row:
    """What a recipe reads of a set."""
    folder = str(SETS[name].data)
    return {"dataset_dir": folder, "media_dir": folder} | {key: f"{name}_{kind}" for key, kind in kinds.items()}


def make_start(name: str, folder: Path) -> Path:
    """The SFT start of a set, made the first time."""
    start = WORK / f"{name}_sft"
    if (start / "trainer_state.json").is_file():
        return start
    from make_patches_data import main as make_patches
    from make_tiny_model import main as make_model

    if not (WORK / "model").is_dir():
        make_model([str(WORK / "model")])
    if not (SETS[name].data / "dataset_info.json").is_file():  # is written last
        make_patches([str(SETS[name].data)])
    keys = {"model_name_or_path": str(WORK / "model"), **data_keys(name, {"dataset": "sft"})}
    train(recipe_of("sft", keys, folder), {}, start)
    return start


def measured(name: str, model: Path, start: Path, folder: Path) -> Row:
    """The three measures of a model, whatever it was trained with."""
    common = {"model_name_or_path": str(model), "do_train": False, "do_eval": True, "dataset": None}
    pairs = {"pref_loss": "sigmoid", "ref_model": str(start), **data_keys(name, {"eval_dataset": "heldout"})}
    by_pairs = train(recipe_of("eval_after", common | pairs, folder), {}, folder / "pairs")
    rule = {"name": "exact", "answer": "answer", "extract": SETS[name].classes}
    greedy = {"rewards": [rule], "eval_strategy": "no", **data_keys(name, {"eval_dataset": "heldout_prompts"})}
    by_answers = train(recipe_of("grpo", common | greedy, folder), {}, folder / "greedy")
    found = by_pairs.values("eval_accuracies/policy"), by_pairs.values("eval_accuracies/reference")
    return {"policy": found[0][-1], "reference": found[1][-1], "greedy": by_answers.values("eval_reward/exact")[-1]}


def run(name: str, loss: str, seed: int, overrides: Mapping[str, Any]) -> Row:
    """Train once and measure. `cpu_s` is of the training, with start-up."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = make_start(name, folder)
        model, cpu_s = start, 0.0
        if loss != START:
            model = folder / "trained"
            own = {key: None for key in UNI_DPO} | dict(LOSSES[loss].keys)
            own |= data_keys(name, {"dataset": "pref"}) | {"model_name_or_path": str(start), "seed": seed}
            own |= {"eval_dataset": None, "eval_strategy": None, "per_device_eval_batch_size": None, **overrides}
            cpu_s = train(recipe_of("uni_dpo", own, folder), {}, model).cpu_s
        return {
            "set": name,
            "loss": loss,
            "seed": seed,
            **measured(name, model, start, folder),
            "cpu_s": cpu_s,
            "overrides": overrides,
        }


def known_rows(file: Path) -> list[Row]:
    """Of the runs of earlier calls. Half a line, left by a call that was killed, is taken out of the file."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def rows(known: list[Row], wanted: Iterable[tuple[str, str, int]], overrides: Mapping[str, Any]) -> Iterator[Row]:
    """One a run, as soon as it is known; those that are known are not run again."""
    done = {(row["set"], row["loss"], row["seed"]) for row in known}
    for name, loss, seed in wanted:
        if (name, loss, seed) not in done:
            yield run(name, loss, seed, overrides)


def spread(values: list[float]) -> str:
    """Mean and standard deviation of shares, in per cent."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} +- {100 * statistics.stdev(values):.1f}"


def table(found: list[Row], name: str) -> str:
    """The markdown table of a set."""
    lines = [f"| loss | parameters | seeds | {' | '.join(MEASURES)} | CPU s |", "|---|---|---|---|---|---|---|"]
    for loss in (START, *LOSSES):
        own = [row for row in found if (row["set"], row["loss"]) == (name, loss)]
        if own:
            parameters = LOSSES[loss].parameters if loss in LOSSES else ""
            cells = [spread([row[measure] for row in own]) for measure in MEASURES]
            if loss == START:  # nothing has risen or fallen yet
                cells[MEASURES.index("reference")] = ""
            cpu_s = statistics.mean(row["cpu_s"] for row in own)
            lines.append(f"| {loss} | {parameters} | {len(own)} | {' | '.join(cells)} | {cpu_s:.0f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=LOSSES, action="append", help="a loss; may be given several times")
    parser.add_argument("--sets", choices=SETS, action="append", help="default: both")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--json", type=Path, help="a line a finished run; runs of the same overrides are not run again"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="keys of the recipe; default: three epochs")
    args = parser.parse_args(argv)
    names, losses, seeds = args.sets or list(SETS), args.only or list(LOSSES), args.seeds.split(",")
    overrides = OVERRIDES | {
        key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in args.overrides)
    }
    known = known_rows(args.json) if args.json else []
    found = [row for row in known if row.get("overrides", OVERRIDES) == overrides]
    wanted = [(name, START, 0) for name in names]
    wanted += [(name, loss, int(seed)) for seed in seeds for loss in losses for name in names]
    for row in rows(found, wanted, overrides):
        found.append(row)
        if args.json:
            with args.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)
    for name in names:
        print(f"{name}:\n\n{table(found, name)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
