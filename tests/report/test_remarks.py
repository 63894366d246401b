# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Remarks about runs, on made-up histories: each fires where it should, and a healthy run has none."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from report.runs import preference_log, run_of, write_run
from resonance.report.remarks import Material, remarks_of, tied_to_length
from resonance.report.remarks_policy import (
    from_symptoms,
    grows_with_the_reward,
    mostly_flat,
    one_answer_for_all,
    rises_without_the_others,
)
from resonance.report.remarks_preference import (
    below_chance,
    chosen_falls,
    gap,
    learned_at_once,
    no_weight,
    not_its_reference,
)
from resonance.report.remarks_training import not_finite, overfitted, spikes, still_warming_up
from resonance.report.run import Run, read_run


def ramp(start, end, count=20):
    return [start + (end - start) * i / (count - 1) for i in range(count)]


REFERENCE = {"step": 1, "logps/chosen": -50.0, "ref_logratios": 0.1}
FIRES = {
    "chosen": (
        chosen_falls,
        run_of(logps__chosen=ramp(-50, -70)),
        "warning",
        "-51.05 at the start, -68.95",
    ),
    "chosen far": (chosen_falls, run_of(logps__chosen=ramp(-50, -120)), "problem", "at step 20"),
    "at once": (learned_at_once, run_of(rewards__accuracies=[0.5, *[1.0] * 29]), "warning", "1 at step 2 of 30"),
    "weights": (no_weight, run_of(w_qual=[0.1] * 9, w_perf=[0.2] * 9), "problem", "0.02 at the start"),
    "weights late": (no_weight, run_of(w_qual=[1.0] * 20, w_perf=ramp(0.9, 0.001)), "note", "at the end"),
    "reference": (not_its_reference, run_of({**REFERENCE, "logits": 3.0}), "problem", "differ by 3 nats"),
    "coin": (below_chance, run_of(eval_rewards__accuracies=[0.5, 0.4, 0.4, 0.4]), "problem", "0.4 at the end"),
    "coin of a reward model": (
        below_chance,
        run_of(accuracy=[0.9] * 9, eval_accuracy=[0.4] * 9, rewards__margins=[1.0]),
        "problem",
        "eval_accuracy: 0.4 at the end",
    ),
    "a reward model at once": (
        learned_at_once,
        run_of(accuracy=[0.5, *[1.0] * 29], rewards__margins=[1.0]),
        "warning",
        "accuracy: 1 at step 2 of 30",
    ),
    "gap of a reward model": (
        gap,
        run_of(accuracy=[0.99] * 9, eval_accuracy=[0.7] * 9, rewards__margins=[1.0]),
        "note",
        "accuracy: 0.99, eval_accuracy: 0.7",
    ),
    "gap": (
        gap,
        run_of(rewards__accuracies=[0.99] * 9, eval_rewards__accuracies=[0.7] * 9),
        "note",
        "eval_rewards/accuracies: 0.7",
    ),
    "nan": (
        not_finite,
        run_of(loss=[1.0, math.nan, math.inf], eval_loss=[1.0]),
        "problem",
        "2 times, first",
    ),
    "overfitted": (
        overfitted,
        run_of(loss=ramp(0.7, 0.1), eval_loss=[*ramp(0.7, 0.5, 10), *ramp(0.5, 0.9, 10)]),
        "warning",
        "0.5 at step 10, 0.9 at step 20",
    ),
    "warm-up": (still_warming_up, run_of(learning_rate=ramp(1e-7, 1e-6)), "warning", "1e-06 at step 20, still rising"),
    "spike": (spikes, run_of(grad_norm=[*[1.0] * 15, 40.0]), "warning", "40 at step 16, the median is 1; 1 of 16"),
    "flat": (mostly_flat, run_of(frac_zero_std=ramp(0.1, 0.95)), "warning", "0.905 at step 20"),
    "hacked": (
        rises_without_the_others,
        run_of(reward=ramp(0, 1), eval_reward=ramp(0.6, 0.4)),
        "problem",
        "eval_reward 0.6 at step 1, 0.4 at step 20",
    ),
    "a part falls": (
        rises_without_the_others,
        run_of(reward=ramp(0, 1), reward__exact=ramp(0.6, 0.2)),
        "problem",
        "reward/exact 0.6",
    ),
    "longer": (
        grows_with_the_reward,
        run_of(reward=ramp(0, 1), completions__mean_length=ramp(10, 80)),
        "warning",
        "13.68 tokens at the start, 76.32 at step 20",
    ),
}
SILENT = {
    "chosen": (chosen_falls, run_of(logps__chosen=ramp(-50, -55))),
    "few": (chosen_falls, run_of(logps__chosen=[-50.0, -90.0])),
    "slowly": (learned_at_once, run_of(rewards__accuracies=ramp(0.5, 1.0, 40))),
    "weights": (no_weight, run_of(w_qual=[0.9] * 9, w_perf=[0.3] * 9)),
    "reference": (not_its_reference, run_of({**REFERENCE, "logits": 0.01})),
    "without a reference": (not_its_reference, run_of({"step": 1, "logps/chosen": -50.0, "logits": 3.0})),
    "later": (not_its_reference, run_of({**REFERENCE, "step": 5, "logits": 3.0})),
    "coin": (below_chance, run_of(rewards__accuracies=[0.0, *[0.6] * 9])),
    "tokens of SFT": (below_chance, run_of(eval_accuracy=[0.3] * 9)),
    "gap": (gap, run_of(rewards__accuracies=[0.8] * 9, eval_rewards__accuracies=[0.75] * 9)),
    "finite": (not_finite, run_of(loss=[1.0] * 9)),
    "still falling": (overfitted, run_of(loss=ramp(0.7, 0.1), eval_loss=ramp(0.7, 0.5))),
    "both rise": (overfitted, run_of(loss=ramp(0.1, 0.7), eval_loss=ramp(0.5, 0.9))),
    "constant rate": (still_warming_up, run_of(learning_rate=[1e-6] * 9)),
    "decay": (still_warming_up, run_of(learning_rate=[*ramp(0, 1e-6, 5), *ramp(1e-6, 0, 9)])),
    "no spike": (spikes, run_of(grad_norm=[1.0, 2.0, 5.0] * 9)),
    "flat": (mostly_flat, run_of(frac_zero_std=ramp(0.1, 0.6))),
    "held out rises": (rises_without_the_others, run_of(reward=ramp(0, 1), eval_reward=ramp(0.4, 0.6))),
    "all falls": (rises_without_the_others, run_of(reward=ramp(1, 0), eval_reward=ramp(0.6, 0.4))),
    "same length": (grows_with_the_reward, run_of(reward=ramp(0, 1), completions__mean_length=ramp(10, 15))),
    "longer for nothing": (grows_with_the_reward, run_of(reward=[1.0] * 20, completions__mean_length=ramp(10, 80))),
}


@pytest.mark.parametrize("name", FIRES)
def test_it_fires(name):
    make, run, severity, seen = FIRES[name]
    remark = make(run)
    assert remark is not None and remark.severity == severity and seen in remark.seen
    assert remark.why.endswith(".") and remark.cure.rstrip(")").endswith((".", ")")) and remark.title[0].isupper()


@pytest.mark.parametrize("name", SILENT)
def test_it_does_not_fire(name):
    make, run = SILENT[name]
    assert make(run) is None
    assert make(Run("empty", [])) is None


def test_the_offset_of_rewards_counts_where_beta_is_known(tmp_path):
    line = {**REFERENCE, "logits": 0.0, "rewards/chosen": 0.4}
    assert not_its_reference(read_run(str(write_run(tmp_path / "a", [line])))) is None
    remark = not_its_reference(read_run(str(write_run(tmp_path / "b", [line], pref_beta=0.1))))
    assert remark and "differ by 4 nats" in remark.seen


def test_the_document_has_every_remark_and_its_pictures():
    document = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    for make, run, *_ in FIRES.values():
        assert make(run).title.removesuffix(" from the start") in document
    for picture in re.findall(r"\]\((images/.*?)\)", document):
        assert (Path(__file__).parents[2] / "docs" / picture).is_file()


def test_symptoms_are_remarks_with_their_step():
    kl = [0.01, 0.02, 0.05, 0.1, 0.5, 1.5, 3.0]
    (remark,) = from_symptoms(run_of(kl=kl, reward=ramp(2.7, 5.1, 7)))
    assert remark.title == "Divergence" and remark.seen.endswith("(step 7)") and "kl_coef" in remark.cure
    (past,) = from_symptoms(run_of(frac_zero_std=[*[1.0] * 20, *[0.2] * 20]))
    assert past.severity == "note" and "later no more" in past.seen
    assert list(from_symptoms(run_of(kl=[0.01] * 9, reward=[1.0] * 9))) == []


def rollout(number, texts):
    return [{"rollout": number, "row": row, "completion": text} for row, text in enumerate(texts)]


def test_one_answer_for_all_prompts():
    before = rollout(0, "abcdefghij")
    remark = one_answer_for_all(before, rollout(9, "aaaaaaabcd"))
    assert remark and "'a' answers 70% of the prompts of rollout 9; in rollout 0" in remark.seen
    assert one_answer_for_all(before, rollout(9, "aaabcdefgh")) is None
    assert one_answer_for_all(rollout(0, "aaaaaabbbb"), rollout(9, "aaaaaaabcd")) is None, "it always was"
    assert one_answer_for_all(before, rollout(9, "aaa")) is None, "too few to say"


def pair(row, margin, longer, step=10, **more):
    place = {"step": step, "split": "eval", "dataset": "d", "row": row}
    return {**place, "reward_margin": margin, "len_chosen": 20 + longer, "len_rejected": 20, **more}


def test_a_margin_tied_to_length():
    remark = tied_to_length([pair(row, 0.1 * row, row) for row in range(40)])
    assert remark and "length difference 1.00, over 40 pairs at step 10" in remark.seen
    assert "longer answer" in remark.why
    assert tied_to_length([pair(row, 0.1 * row, -row) for row in range(40)]).why.count("shorter") == 1
    assert tied_to_length([pair(row, 0.1 * row, row % 3) for row in range(40)]) is None
    assert tied_to_length([pair(row, 0.1 * row, row) for row in range(9)]) is None
    assert tied_to_length([pair(row, 1.0, 0) for row in range(40)]) is None


def data_folder(folder, pictures):
    """Two sets with pictures of these contents."""
    info = {}
    for name, contents in pictures.items():
        rows = []
        for number, content in enumerate(contents):
            (folder / f"{name}{number}.png").write_bytes(content)
            rows.append({"images": [f"{name}{number}.png"]})
        (folder / f"{name}.json").write_text(json.dumps(rows))
        info[name] = {"file_name": f"{name}.json", "columns": {"images": "images"}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return {"dataset_dir": str(folder), "dataset": "train", "eval_dataset": "held"}


def test_evaluation_on_training_pictures(tmp_path):
    settings = data_folder(tmp_path, {"train": [b"one", b"two", b"three"], "held": [b"four", b"two", b"five"]})
    run = read_run(str(write_run(tmp_path / "run", preference_log(), **settings)))
    (remark,) = remarks_of(run, Material(run))
    assert (
        remark.severity == "warning"
        and "1 of 3 pictures of eval_dataset" in remark.seen
        and "held1.png" in remark.seen
    )
    settings = data_folder(tmp_path, {"train": [b"one"], "held": [b"four"]})
    run = read_run(str(write_run(tmp_path / "run", preference_log(), **settings)))
    assert remarks_of(run, Material(run)) == []


def test_the_worst_comes_first(tmp_path):
    log = preference_log()
    log[-1] = {"step": 41, "loss": math.nan, "learning_rate": 0.0}
    for line in log[:10]:
        line |= {"grad_norm": 0.01} if "loss" in line else {}
    run = read_run(str(write_run(tmp_path / "run", [*log, {"step": 42, "grad_norm": 1000.0}])))
    assert [remark.severity for remark in remarks_of(run, Material(run))] == ["problem", "warning"]
