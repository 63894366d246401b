# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Log lines of runs: reading, panels, thinning, running means."""

from __future__ import annotations

import json
import math
import os

import pytest
from PIL import Image

from report.runs import preference_log, run_of, write_run
from resonance.report.figure import draw, look
from resonance.report.metrics import split_of
from resonance.report.plots import curves
from resonance.report.run import read_run, read_runs, shorten_names
from resonance.report.series import panels_of, running_mean, thinned
from resonance.report.tables import differences, last_values, write_csv


def test_every_logged_metric_is_in_one_panel(tmp_path):
    run = read_run(str(write_run(tmp_path / "a", preference_log())))
    main, rest = panels_of([run])
    shown = [one.key for drawn in main + rest for one in drawn.series]
    logged = {key for line in run.log for key in line} - {"step", "epoch", "train_runtime", "train_loss"}
    assert sorted(shown) == sorted(logged)
    assert [drawn.panel.title for drawn in rest] == ["my/own"]
    assert all(one.steps for drawn in main for one in drawn.series), "none is empty"


@pytest.mark.parametrize(
    "key, metric, split",
    [
        ("loss", "loss", "train"),
        ("eval_loss", "loss", "eval"),
        ("eval_my_set_loss", "loss", "eval my_set"),
        ("eval_value_loss", "value_loss", "eval"),
        ("eval_my_set_rewards/accuracies", "rewards/accuracies", "eval my_set"),
        ("eval_reward/exact", "reward/exact", "eval"),
        ("eval_digits_reward/exact", "reward/exact", "eval digits"),
        ("eval_other", "other", "eval"),
        ("eval_sft_loss", "sft_loss", "eval"),
        ("eval_my_set_odds_ratio_loss", "odds_ratio_loss", "eval my_set"),
        ("eval_accuracy/my_reward", "accuracy/my_reward", "eval"),
        ("eval_digits_reward/token_kl", "reward/token_kl", "eval digits"),
    ],
)
def test_the_metric_and_the_split_of_a_name(key, metric, split):
    assert split_of(key) == (metric, split)


def test_thinning_keeps_ends_and_spikes():
    values = [0.0] * 100_000
    values[51_234], values[7] = 9.0, math.nan
    steps, kept = thinned(range(100_000), values)
    assert 500 <= len(steps) <= 1002 and steps[0] == 0 and steps[-1] == 99_999
    assert (51_234, 9.0) in list(zip(steps, kept, strict=True))
    assert thinned([1, 2], [3.0, math.nan])[0] == [1, 2]


def test_a_running_mean_does_not_lie():
    assert running_mean([2.0] * 50) == pytest.approx([2.0] * 50)
    line = [float(i) for i in range(50)]
    assert running_mean(line) == pytest.approx(line), "it does not lag behind a slope"
    assert running_mean([1.0] * 10) is None
    assert math.isfinite((running_mean([1.0] * 20 + [math.nan] + [1.0] * 20) or [])[20])


def test_a_killed_run_is_read_from_its_newest_checkpoint(tmp_path):
    write_run(tmp_path / "a" / "checkpoint-10", preference_log(10), pref_loss="uni_dpo")
    write_run(tmp_path / "a" / "checkpoint-20", preference_log(20), pref_loss="uni_dpo")
    broken = tmp_path / "a" / "checkpoint-30"
    broken.mkdir()
    (broken / "trainer_state.json").write_text('{"log_history": [{"st')
    run = read_run(str(tmp_path / "a"))
    assert run.source == "checkpoint-20/trainer_state.json" and max(run.curve("loss")[0]) == 20
    assert run.settings == {"pref_loss": "uni_dpo"}


def test_a_run_that_went_on_and_was_killed_is_read_from_its_checkpoint(tmp_path):
    write_run(tmp_path / "checkpoint-20", preference_log(20))
    state = write_run(tmp_path, preference_log(10)) / "trainer_state.json"
    assert read_run(str(tmp_path)).source == "trainer_state.json", "the checkpoint is of an earlier, longer run"
    os.utime(state, (1, 1))
    assert read_run(str(tmp_path)).source == "checkpoint-20/trainer_state.json"
    write_run(tmp_path, preference_log(20))
    os.utime(state, (1, 1))
    assert read_run(str(tmp_path)).source == "trainer_state.json"


def test_a_log_of_llamafactory_alone_is_read(tmp_path):
    lines = [
        {"current_steps": s, "total_steps": 40, "loss": 1.0, "lr": 1e-6, "accuracy": 0.5, "throughput": 900.0,
         "vram_allocated": 3.5, "elapsed_time": f"0:00:{s + 10}", "percentage": 1.0} for s in (10, 20, 30)
    ]  # fmt: skip
    folder = tmp_path / "stock"
    folder.mkdir()
    (folder / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"current_st')
    run = read_run(str(folder))
    assert run.source == "trainer_log.jsonl"
    assert run.curve("rewards/accuracies") == ([10, 20, 30], [0.5] * 3)
    assert run.curve("learning_rate")[1] == [1e-6] * 3
    assert run.curve("throughput") == ([10, 20, 30], [900.0] * 3), "once, though both logs may have it"
    assert run.curve("vram_allocated")[1] == [3.5] * 3 and run.curve("seconds_per_step") == ([10, 20, 30], [2, 1, 1])


def test_what_a_resumed_run_logs_again_counts_once(tmp_path):
    """LlamaFactory appends to the log of the run that was killed."""
    steps = [
        (10, "loss"),
        (20, "loss"),
        (20, "eval_loss"),
        (30, "loss"),
        (20, "loss"),
        (20, "eval_loss"),
        (30, "loss"),
    ]
    lines = [{"current_steps": step, key: float(at), "throughput": 9.0} for at, (step, key) in enumerate(steps)]
    (tmp_path / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[-1]]))
    run = read_run(str(tmp_path))
    assert run.curve("loss") == ([10, 20, 30], [0.0, 4.0, 6.0]) and run.curve("eval_loss") == ([20], [5.0])
    assert run.curve("throughput")[0] == [10, 20, 30]


def test_values_that_are_not_finite_are_read(tmp_path):
    run = read_run(str(write_run(tmp_path / "a", [{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}])))
    assert math.isnan(run.curve("loss")[1][0])
    draw(tmp_path / "curves.png", [run])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_curves_of_several_runs_can_be_told_apart(tmp_path):
    names = [f"{split}reward{part}" for split in ("", "eval_") for part in ("", "/exact", "/length", "/format")]
    runs = [run_of(*({"step": step, **dict.fromkeys(names, 1.0)} for step in (1, 2)), folder=name) for name in "ab"]
    panel = next(drawn for drawn in panels_of(runs)[0] if drawn.panel.title == "Reward of completions")
    assert len({look(panel, one, "ab")[:2] for one in panel.series}) == 16
    dashes = [trace["line"]["dash"] for trace in curves(panel, runs)["data"]]
    assert len(set(dashes)) == 8
    draw(tmp_path / "curves.png", runs)


def test_a_picture_of_very_many_metrics_has_a_limit(tmp_path):
    line = {f"accuracy/file{number}": 0.5 for number in range(9)} | {f"own/{number}": 1.0 for number in range(400)}
    draw(tmp_path / "curves.png", [run_of({"step": 1, **line}, {"step": 2, **line})])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.height < 10_000


def test_a_name_is_no_formula(tmp_path):
    run = run_of({"step": 1, "$x_$": 1.0}, {"step": 2, "$x_$": 2.0}, {"step": 2, "_hidden$\\frac$": 2.0})
    run.name = "$\\broken"
    draw(tmp_path / "curves.png", [run, run], run.name)


def test_all_that_is_no_run_is_named_at_once(tmp_path):
    write_run(tmp_path / "good", preference_log(2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError) as caught:
        read_runs([str(tmp_path / name) for name in ("god", "good", "empty")])
    assert "god/trainer_state.json: No such file or directory; runs beside it: good" in str(caught.value)
    assert "nor a checkpoint with one, nor a trainer_log.jsonl that has lines" in str(caught.value)


def test_where_recipes_differ(tmp_path):
    model = {"name": "qwen", "content": "ab12"}
    common = {"model_name_or_path": model, "template": "qwen2_vl", "uni_dpo_tau_ref": 2.0}
    one = write_run(
        tmp_path / "a", preference_log(3), **common, pref_loss="uni_dpo", learning_rate=1e-6, output_dir="a"
    )
    other = write_run(tmp_path / "b", preference_log(3), **common, pref_loss="sigmoid", learning_rate=1e-5, odd=1)
    stock = write_run(tmp_path / "c", preference_log(3))
    runs = read_runs([str(one), str(other)])
    assert differences(runs) == [
        ("pref_loss", "uni_dpo", "sigmoid"), ("learning_rate", "1e-06", "1e-05"), ("odd", "-", "1")
    ]  # fmt: skip
    assert differences(read_runs([str(one), str(other), str(stock)]))[0] == (
        "pref_loss",
        "uni_dpo",
        "sigmoid",
        "unknown",
    )
    assert differences(read_runs([str(one), str(stock)])) == []
    shorten_names(runs)
    assert [run.name for run in runs] == ["a", "b"]
    write_csv(tmp_path / "all.csv", runs)
    assert (tmp_path / "all.csv").read_text().splitlines()[1].startswith("a,1,")
    assert last_values(runs)[0][:3] == ("loss", "0.29", "0.29")
