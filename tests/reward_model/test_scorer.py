# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rewards of a saved model are those of the stage that trained it; the way to it is a folder."""

from __future__ import annotations

import json
import math
import shutil
import threading

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.integrations import deepspeed

from conftest import DATA, MODEL
from resonance.cli.main import main
from resonance.reward_model.accuracy import margin_bin, summary
from resonance.reward_model.head import add_head, split_state, write_head
from resonance.reward_model.scorer import _outside_zero3, load
from resonance.reward_model.settings import HEAD_FILE, Settings, write_settings
from resonance.rewards import Completions, make_rewards, reward_problems, score
from training.test_reward_model_exactness import llamafactory, parts  # noqa: F401 (a fixture)

SETTINGS = Settings(None, [], {"template": "qwen2_vl", "cutoff_len": 512})


def head_of(model):
    torch.manual_seed(0)
    add_head(model)
    return split_state(model.state_dict())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A whole reward model in a folder of its own, with the tokenizer and the processor."""
    folder = tmp_path_factory.mktemp("rm")
    rest, head = head_of(model := AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32))
    del model._modules["v_head"]
    model.save_pretrained(folder, state_dict=rest)
    write_head(head, str(folder))
    for file in MODEL.iterdir():
        if not (folder / file.name).exists() and file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    write_settings(SETTINGS, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def pairs():
    found = json.loads((DATA / "pairs.json").read_text())[:6]
    conversations = [[{"role": "user", "content": pair["instruction"]}] for pair in found]
    return found, conversations, [[str(DATA / name) for name in pair["images"]] for pair in found]


@pytest.fixture(scope="module")
def scorer(saved):
    return load(saved, batch_size=4)


def test_rewards_are_llamafactorys(scorer, pairs, parts):  # noqa: F811
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
    head_of(model)
    _, theirs, _ = llamafactory(model, parts)
    rows, conversations, images = pairs
    for side, other in zip(("chosen", "rejected"), theirs, strict=True):
        found = scorer(conversations, [row[side] for row in rows], images)
        assert found == pytest.approx(other.tolist(), abs=1e-5)
    assert scorer._forward.on, "and the speed-ups agree with the plain path"


def test_batches_and_neighbours_make_no_difference(scorer, saved, pairs):
    rows, conversations, images = pairs
    answers = [row["chosen"] for row in rows]
    together = scorer(conversations, answers, images)
    alone = [scorer(*([each[i]] for each in (conversations, answers, images)))[0] for i in range(len(rows))]
    assert together == pytest.approx(alone, abs=1e-5)
    assert scorer([], [], []) == []


def test_threads_share_a_scorer(scorer, pairs):
    rows, conversations, images = pairs
    expected = {side: scorer(conversations, [row[side] for row in rows], images) for side in ("chosen", "rejected")}
    found: dict[str, list[float]] = {}

    def run(name, side):
        found[name] = scorer(conversations, [row[side] for row in rows], images)

    threads = [threading.Thread(target=run, args=(f"{side}{i}", side)) for i in range(3) for side in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(found[name] == pytest.approx(expected[name[:-1]], abs=1e-6) for name in found)


def test_placeholders_that_a_policy_writes_are_text(scorer, pairs):
    _, conversations, images = pairs
    found = scorer(
        conversations[:1] * 3, ["It is <image>.", "It is < image>.", "<|image_pad|><|vision_start|>"], images[:1] * 3
    )
    assert found[0] == pytest.approx(found[1], abs=1e-6) and len(found) == 3


def test_an_adapter_and_text_without_images(tmp_path, saved):
    base = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
    torch.manual_seed(1)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    _, head = head_of(model)
    del model.get_base_model()._modules["v_head"]
    model.save_pretrained(tmp_path)
    write_head(head, str(tmp_path))
    given = {"base": str(MODEL), "template": "qwen2_vl"}
    AutoTokenizer.from_pretrained(MODEL).save_pretrained(tmp_path)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}]
    (adapter,) = load(str(tmp_path), **given)([messages], ["A digit."])
    (whole,) = load(saved)([messages], ["A digit."])
    assert abs(adapter - whole) > 1e-3, "the adapter is in the model"


def test_a_head_of_another_model_is_refused(tmp_path, saved):
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(f"{saved}/{name}")
    write_settings(SETTINGS, str(tmp_path))
    write_head({"v_head.summary.weight": torch.zeros(1, 7), "v_head.summary.bias": torch.zeros(1)}, str(tmp_path))
    with pytest.raises(ValueError, match=r"\(1, 7\).*It is of another model"):
        load(str(tmp_path))


def test_a_reward_of_a_recipe(scorer, saved, pairs):
    rows, conversations, images = pairs
    answers = [row["chosen"] for row in rows]
    rewards = make_rewards([{"model": saved, "weight": 2.0}, {"name": "length", "max_length": 6, "weight": 0}])
    batch = Completions(answers, ["?"] * len(rows), images, [[1]] * len(rows), messages=conversations)
    found = score(rewards, batch)
    assert found.totals == pytest.approx([2 * value for value in scorer(conversations, answers, images)], abs=1e-4)
    with pytest.raises(ValueError, match=r"rewards\[0\] .*needs the conversation of each prompt"):
        score(rewards, Completions(answers, ["?"] * len(rows), images, [[1]] * len(rows)))


def test_what_is_wrong_with_an_entry(saved):
    (line,) = reward_problems([{"model": "saves/none"}])
    assert line.startswith("rewards[0] (saves/none): there is no folder")
    lines = reward_problems(
        [{"model": saved, "templat": "qwen2_vl", "batch_size": 0, "cutoff_len": -1, "dtype": "half"}]
    )
    assert len(lines) == 4 and "no key 'templat' (nearest: template" in lines[0]
    (line,) = reward_problems([{"model": saved, "template": "qwen2vl"}])
    assert "LlamaFactory has no template 'qwen2vl' (nearest: qwen2_vl" in line


def test_eval_pairs(saved, capsys):
    command = ["eval-pairs", "--rm", saved, "pairs", "--dataset-dir", str(DATA), "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["pairs"]
    assert found["all"]["pairs"] == 32 == found[str(DATA / "pairs.json")]["pairs"]
    assert sum(of["pairs"] for name, of in found.items() if name.startswith("margin")) == 32
    assert main(command) == 0
    assert f"{found['all']['accuracy']:.1%}" in capsys.readouterr().out
    assert main(["eval-pairs", "--rm", "saves/none", "pairs"]) == 2
    assert "there is no folder 'saves/none'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            lambda head: save_file({name: value * math.nan for name, value in load_file(head).items()}, head),
            "64 of 64",
        ),
        (lambda head: head.write_bytes(head.read_bytes()[:50]), f"{HEAD_FILE} cannot be read: "),
    ],
    ids=["nan", "cut"],
)
def test_a_broken_head_gives_no_accuracy(saved, tmp_path, capsys, broken, said):
    folder = shutil.copytree(saved, tmp_path / "rm")
    broken(folder / HEAD_FILE)
    assert main(["eval-pairs", "--rm", str(folder), "pairs", "--dataset-dir", str(DATA), "--device", "cpu"]) == 2
    assert said in capsys.readouterr().err


def test_scores_of_a_data_set_are_the_rewards_of_eval_pairs(saved, tmp_path, capsys):
    where = ["--dataset-dir", str(tmp_path / "data")]
    shutil.copytree(DATA, tmp_path / "data")
    score_by = ["score", "pairs", "-o", str(tmp_path / "data" / "out.json"), "--judge", "rm", "--set", "device=cpu"]
    assert main([*score_by, *where, "--rm", saved, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    assert main(["eval-pairs", "--rm", saved, "pairs", "--device", "cpu", *where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["pairs"]["all"]
    assert [found["mean_chosen"], found["mean_rejected"]] == pytest.approx(
        [told["chosen"], told["rejected"]], abs=1e-5
    )
    rows = json.loads((tmp_path / "data" / "out.json").read_text())
    conversations = [[{"role": "user", "content": row["instruction"]}] for row in rows]
    images = [[str(DATA / name) for name in row["images"]] for row in rows]
    for side in ("chosen", "rejected"):
        rewards = load(saved)(conversations, [row[side] for row in rows], images)
        assert [row[f"score_{side}"] for row in rows] == pytest.approx(rewards, abs=1e-5)
    broken = shutil.copytree(saved, tmp_path / "rm")
    (broken / HEAD_FILE).write_bytes((broken / HEAD_FILE).read_bytes()[:50])
    assert main([*score_by, *where, "--rm", str(broken), "--force"]) == 1
    error = capsys.readouterr().err
    assert f"{HEAD_FILE} cannot be read" in error and "without scores" not in error, "told once, not for each row"


def test_a_policy_under_zero3_does_not_spread_it_over_ranks():
    config = deepspeed.HfTrainerDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    deepspeed.set_hf_deepspeed_config(config)
    try:
        assert deepspeed.is_deepspeed_zero3_enabled()
        with _outside_zero3():
            assert not deepspeed.is_deepspeed_zero3_enabled()
        assert deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    load(saved)
    assert torch.get_rng_state().equal(before)


def test_bins_and_summary():
    assert [margin_bin(gap) for gap in (-1, 0, 0.3 - 0.1 - 0.2, 0.5, 0.7, 4, 4.1)] == [
        "margin<=0", "margin<=0", "margin<=0", "margin<=0.5", "margin<=1", "margin<=4", "margin>4"
    ]  # fmt: skip
    rows = [{"_source": "a"}, {"_source": "b", "score_chosen": 3.0, "score_rejected": 1.0}]
    found = summary(rows, [(1.0, 2.0), (2.0, 0.0)])
    assert list(found) == ["all", "a", "b", "margin<=2"]
    assert found["all"] == {"pairs": 2, "accuracy": 0.5, "chosen": 1.5, "rejected": 1.0, "margin": 0.5}
