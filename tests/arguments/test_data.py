# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys about data: values, where they hold, and that they change nothing where they are not given."""

from __future__ import annotations

import json

import pytest
from llamafactory.hparams import DataArguments, get_train_args, parser

from resonance.arguments import data, preference, recipe

DPO = {"stage": "dpo", "pref_loss": "hinge"}


def problems(**changes):
    return data.problems({**DPO, **changes})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"overlong": "shrink"}, "overlong: 'shrink' is not one of error, drop, shrink_image, cut_text; did you mean"),
        ({"overlong": 3}, "overlong: 3 is not one of"),
        ({"data_ratio": 0}, "data_ratio: 0 is not allowed, it must be a number above 0 and at most 1"),
        ({"data_ratio": 1.5}, "data_ratio: 1.5 is not allowed"),
        ({"data_ratio": "half"}, "data_ratio: 'half' is not allowed"),
        ({"data_ratio": True}, "data_ratio: True is not allowed"),
        ({"score_margin": float("nan")}, "score_margin: nan is not allowed, it must be a finite number"),
        ({"score_margin": "-1"}, "score_margin: '-1' is not allowed"),
        ({"max_prompt_length": 0}, "max_prompt_length: 0 is not allowed, it must be a whole number of tokens"),
        ({"max_target_length": 12.5}, "max_target_length: 12.5 is not allowed"),
        (
            {"max_prompt_length": 512, "cutoff_len": 512},
            "max_prompt_length: 512 leaves no room for a response in cutoff_len: 512",
        ),
        ({"max_target_length": 4096}, "max_target_length: 4096 leaves no room for a prompt in cutoff_len: 2048"),
        ({"image_root": "a", "media_dir": "b"}, "image_root: 'a' and media_dir: 'b' are the same key"),
        ({"streaming": True, "data_ratio": 0.5}, "data_ratio: the rows of a stream cannot be counted"),
        ({"streaming": True, "score_margin": -1}, "score_margin: -1 compares all pairs of a prompt"),
        ({"max_length": 1024}, "max_length: is the length of generated text.* did you mean cutoff_len?"),
        (
            {"stage": "pt", "overlong": "drop"},
            "overlong: has no meaning in stage: pt; .* stage: dpo, rm, kto, ppo, sft",
        ),
        (
            {"stage": "sft", "max_prompt_length": 9},
            "max_prompt_length: has no meaning in stage: sft; .* dpo, rm, kto, ppo",
        ),
        ({"stage": "sft", "overlong": "drop", "packing": True}, "packing: LlamaFactory packs conversations that it"),
        ({"stage": "sft", "overlong": "drop", "neat_packing": True}, "neat_packing: LlamaFactory packs conversations"),
        (
            {"stage": "sft", "overlong": "drop", "predict_with_generate": True},
            "predict_with_generate: LlamaFactory cuts the prompts that it generates from at cutoff_len; remove the",
        ),
        (
            {"stage": "kto", "score_margin": 1},
            "score_margin: has no meaning in stage: kto; it holds in stage: dpo, rm",
        ),
        (
            {"stage": "ppo", "score_margin": 1},
            "score_margin: has no meaning in stage: ppo; it holds in stage: dpo, rm",
        ),
    ],
)
def test_each_wrong_value_is_told(given, told):
    import re

    (message,) = problems(**given)
    assert re.match(told.replace("?", "[?]"), message), message


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"overlong": "cut_text", "max_prompt_length": 100, "max_target_length": 100, "cutoff_len": 150},
        {"data_ratio": 0.5, "score_margin": -1},
        {"score_margin": -0.5, "streaming": True},
        {"image_root": "a", "media_dir": "a"},
        {"stage": "sft", "data_ratio": 0.1, "image_root": "a"},
        {"max_length": 1024, "cutoff_len": 2048},
        {"stage": "sft", "max_length": 1024},
        {"overlong": None, "score_margin": None, "data_ratio": 1},
    ],
)
def test_good_values_pass(given):
    assert problems(**given) == []


def test_all_problems_come_with_the_rest_of_the_recipe(tmp_path):
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {"file_name": "a.json", "ranking": True}}))
    given = {**DPO, "pref_beta": -1, "overlong": "cut", "data_ratio": 2, "dataset": "b", "dataset_dir": str(tmp_path)}
    with pytest.raises(ValueError) as caught:
        recipe.check({**given, "max_prompt_len": 3, "output_dir": str(tmp_path / "out")}, parser)
    text = str(caught.value)
    assert text.startswith("the recipe has 5 problems:")
    for part in ("pref_beta: ", "overlong: ", "data_ratio: ", "'b' is not in", "did you mean max_prompt_length"):
        assert part in text


@pytest.mark.parametrize("stage", ["dpo", "rm"])
def test_a_margin_needs_declared_scores_of_the_training_set_only(tmp_path, stage):
    entry = {"file_name": "a.json", "ranking": True}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": entry}))
    given = {"stage": stage, "dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "score_margin": 1.0}
    with pytest.raises(ValueError, match="dataset: score_margin needs scores, but 'a' declares no score_chosen and"):
        recipe.check({**given, "dataset": "a"}, parser)
    recipe.check({**given, "eval_dataset": "a"}, parser)


def test_weights_and_margins_have_to_be_declared(tmp_path):
    scores = {"score_chosen": "a", "score_rejected": "b"}
    entries = {"a": {"file_name": "a.json", "ranking": True, "columns": scores}}
    entries["b"] = {**entries["a"], "columns": scores | {"weight": "w", "margin": "m"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    given = {"stage": "dpo", "dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "sample_weights": True}
    given["pref_loss"] = ["odpo", "uni_dpo"]
    with pytest.raises(ValueError) as caught:
        recipe.check({**given, "dataset": "a"}, parser)
    text = str(caught.value)
    assert "dataset: sample_weights needs weights, but 'a' declares no weight; add to its" in text
    assert "margin; add to its" in text and "2 problems" in text
    recipe.check({**given, "dataset": "b"}, parser)
    with pytest.raises(ValueError, match="eval_dataset: pref_loss: .* needs margins"):
        recipe.check({**given, "eval_dataset": "a"}, parser)


def test_which_runs_use_our_rows():
    assert not data.uses_rows({"stage": "dpo"}) and not data.uses_rows({"stage": "rm", "image_root": "a"})
    for key, value in (("overlong", "error"), ("data_ratio", 0.5), ("score_margin", 0.0), ("max_target_length", 9)):
        assert data.uses_rows({"stage": "rm", key: value}) and data.uses_rows({"stage": "dpo", key: value})
        assert not data.uses_rows({"stage": "sft", key: value})
    assert data.uses_selection({"data_ratio": 0.5}) and not data.uses_selection({"data_ratio": 1.0})
    assert not preference.runs_on_resonance({"stage": "dpo", "overlong": "drop"}), "the trainer is another matter"


def test_conversations_are_ours_where_overlong_is_given(tmp_path):
    assert data.uses_answers({"stage": "sft", "overlong": "error"}) and data.uses_answers({"overlong": "drop"})
    assert not any(data.uses_answers({"stage": "sft", **keys}) for keys in ({}, {"data_ratio": 0.5}))
    assert not data.uses_answers({"stage": "dpo", "overlong": "drop"})
    (tmp_path / "dataset_info.json").write_text(json.dumps({"pairs": {"file_name": "p.json", "ranking": True}}))
    given = {"stage": "sft", "dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "dataset": "pairs,no"}
    with pytest.raises(ValueError) as caught:
        recipe.check({**given, "template": "qwen2vl", "overlong": "drop", "packing": True}, parser)
    text = str(caught.value)
    assert "4 problems" in text and "has pairs; stage: sft takes answers, without `ranking`" in text
    assert "dataset: 'no' is not in" in text and "template: LlamaFactory has no 'qwen2vl'; nearest: qwen2_vl" in text


def test_image_root_is_media_dir():
    assert DataArguments(image_root="pictures").media_dir == "pictures"
    assert DataArguments(dataset_dir="somewhere").media_dir == "somewhere"
    with pytest.raises(ValueError, match="are the same key"):
        DataArguments(image_root="pictures", media_dir="photos")


def flags(*more):
    given = [
        "--stage",
        "dpo",
        "--model_name_or_path",
        "m",
        "--output_dir",
        "o",
        "--dataset",
        "d",
        "--do_train",
        "true",
    ]
    return [*given, "--template", "qwen2_vl", "--use_cpu", "true", *more]


def test_flags():
    given = flags("--overlong", "drop", "--data_ratio", "0.5", "--dataset_dir", "ONLINE", "--score_margin", "-1")
    _, data_args, *_ = get_train_args(given)
    assert (data_args.overlong, data_args.data_ratio, data_args.score_margin) == ("drop", 0.5, -1.0)
    assert data_args.max_prompt_length is None
    with pytest.raises(ValueError, match="data_ratio: the rows of a stream"):
        get_train_args(flags("--data_ratio", "0.5", "--streaming", "true", "--max_steps", "1"))


def test_a_stock_recipe_keeps_the_defaults(tmp_path):
    _, data_args, *_ = get_train_args(
        {"stage": "rm", "model_name_or_path": "m", "output_dir": str(tmp_path), "dataset": "d", "template": "qwen2_vl"}
    )
    assert {key: getattr(data_args, key) for key in data.KEYS} == data.DEFAULTS
    assert data_args.media_dir == "data"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("s.json", "is 's.json', but an object with a file_name is needed"),
        ({"file_name": "s.json", "columns": ["prompt"]}, "its columns are ['prompt'], but an object is needed"),
        ({"file_name": "s.json", "tags": None}, "its tags are None, but an object is needed"),
        ({"ranking": True}, "its file_name is None, but the name of a file or folder is needed"),
        ({"file_name": ["a.json"]}, "its file_name is ['a.json'], but the name of a file or folder is needed"),
    ],
)
def test_an_entry_of_the_wrong_shape_is_a_problem_of_the_recipe(entry, told):
    from resonance.arguments.places import dataset_problems

    (problem,) = dataset_problems({"dataset": "bad", "dataset_dir": {"bad": entry}})
    assert problem.startswith("dataset: 'bad' in dataset_dir: ") and told in problem


def test_a_list_of_sets_in_another_encoding_is_a_problem_of_the_recipe(tmp_path):
    from resonance.arguments.places import dataset_problems

    for content, told in (('{"é": {}}'.encode("latin-1"), "cannot read"), (b"[]", "is no JSON object")):
        (tmp_path / "dataset_info.json").write_bytes(content)
        (problem,) = dataset_problems({"dataset": "set", "dataset_dir": str(tmp_path)})
        assert told in problem and "dataset_info.json" in problem
