# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Checks of a whole recipe before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import fields, make_dataclass
from types import SimpleNamespace

import pytest
from llamafactory.hparams import get_train_args, parser

from resonance.arguments import names, preference, recipe


@pytest.fixture
def folder(tmp_path):
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    scores = {"score_chosen": "sc", "score_rejected": "sr"}
    info = {
        "scored": {"file_name": "a.json", "ranking": True, "columns": columns | scores},
        "unscored": {"file_name": "b.json", "ranking": True, "columns": columns},
        "half": {"file_name": "c.json", "ranking": True, "columns": columns | {"score_chosen": "sc"}},
        "chat": {"file_name": "d.json"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def uni_dpo(folder, **changes):
    base = {"stage": "dpo", "pref_loss": "uni_dpo", "dataset": "scored", "do_train": True}
    return {**base, "dataset_dir": str(folder), "output_dir": str(folder / "out"), **changes}


def problems(given):
    with pytest.raises(ValueError) as caught:
        recipe.check(given, parser)
    return str(caught.value)


def test_a_good_recipe_passes(folder):
    recipe.check(uni_dpo(folder), parser)
    assert not (folder / "out").exists(), "a check makes nothing"


def test_everything_wrong_is_reported_at_once(folder):
    text = problems(
        uni_dpo(
            folder, pref_beta=-1, dataset="scored,unscoerd,chat", eval_dataset="half", uni_dpo_tau_reff=1, use_kt=True
        )
    )
    assert text.startswith("the recipe has 6 problems:")
    assert "uni_dpo_tau_reff: no such key" in text and "did you mean uni_dpo_tau_ref" in text
    assert "pref_beta: " in text
    assert "'unscoerd' is not in" in text and text.index("unscored") > 0
    assert "'chat'" in text and '"ranking": true' in text
    assert "'half' declares no score_rejected" in text
    assert "use_kt" in text


def test_nearest_data_set_comes_first(folder):
    text = problems(uni_dpo(folder, dataset="scord"))
    assert text.index("scored") < text.index("chat")


def test_unscored_set_with_a_loss_that_needs_scores_says_what_to_add(folder):
    text = problems(uni_dpo(folder, dataset="scored,unscored"))
    assert "'unscored' declares no score_chosen and score_rejected" in text
    assert '"score_chosen": "score_chosen", "score_rejected": "score_rejected"' in text
    assert text.endswith("if its rows have no scores, take a loss that needs none (`pref_loss: sigmoid`)")
    recipe.check(uni_dpo(folder, dataset="scored,unscored", pref_loss="hinge"), parser)


def test_unreadable_dataset_info(folder):
    (folder / "dataset_info.json").write_text("{")
    assert "cannot read" in problems(uni_dpo(folder))
    assert "cannot read" in problems(uni_dpo(folder, dataset_dir=str(folder / "nowhere")))


def test_inline_online_and_tokenised_sets_are_not_looked_up(folder):
    inline = {"scored": {"hf_hub_url": "some/where", "ranking": True, "columns": {"score_chosen": "a"}}}
    assert "declares no score_rejected" in problems(uni_dpo(folder, dataset_dir=inline))
    recipe.check(uni_dpo(folder, dataset_dir="ONLINE", dataset="org/set"), parser)
    recipe.check(uni_dpo(folder, dataset="gone", tokenized_path=str(folder)), parser)


def test_output_that_cannot_be_written(folder):
    (folder / "file").write_text("")
    text = problems(uni_dpo(folder, output_dir=str(folder / "file" / "out")))
    assert "output_dir: cannot write to" in text and "Not a directory" in text


def test_evaluation_only_needs_a_reference(folder):
    given = uni_dpo(folder, do_train=False, do_eval=True, eval_dataset="scored", finetuning_type="full")
    assert "ref_model: evaluating pref_loss: uni_dpo without training needs a reference" in problems(given)
    recipe.check({**given, "ref_model": "somewhere"}, parser)
    assert "needs a reference model" in problems({**given, "finetuning_type": "lora"})
    recipe.check({**given, "pref_loss": "simpo", "pref_engine": "resonance"}, parser)


def test_stock_recipes_are_only_checked_for_unknown_keys(folder):
    stock = {"stage": "dpo", "pref_beta": -1, "dataset": "nowhere", "output_dir": "/proc/none"}
    recipe.check(stock, parser)
    text = problems({**stock, "pref_bta": 1})
    assert "pref_bta: no such key (not used by the HfArgumentParser); did you mean pref_beta" in text


def parsed_values(**changes):
    return SimpleNamespace(**{**preference.DEFAULTS, **changes})


def test_our_keys_outside_the_dpo_stage():
    with pytest.raises(ValueError, match="uni_dpo_tau_ref: has a meaning in stage: dpo only"):
        recipe.check_parsed({}, None, None, parsed_values(stage="sft", uni_dpo_tau_ref=1.0))
    recipe.check_parsed({}, None, None, parsed_values(stage="sft"))


def test_our_keys_beside_a_loss_that_llamafactory_trains(caplog):
    with caplog.at_level("WARNING", logger="llamafactory"):
        recipe.check_parsed({}, None, None, parsed_values(stage="dpo", uni_dpo_tau_ref=9.0, pref_loss_params={"a": 1}))
    assert "pref_loss_params, uni_dpo_tau_ref: no effect" in caplog.text and "pref_engine: resonance" in caplog.text


@pytest.mark.parametrize("key", ["pref_speedups", "group_prompts"])
def test_a_default_that_asks_for_something_is_not_ignored_in_silence(key, caplog):
    given = {key: "auto"}
    with caplog.at_level("WARNING", logger="llamafactory"):
        recipe.check_parsed({}, None, None, parsed_values(stage="dpo", image_feature_cache=False, **{key: False}))
        assert not caplog.text
        recipe.check_parsed(given, None, None, parsed_values(stage="dpo"))
    assert f"{key}: no effect" in caplog.text and "pref_engine: resonance" in caplog.text
    with pytest.raises(ValueError, match=f"{key}: has a meaning in stage: dpo only"):
        recipe.check_parsed(given, None, None, parsed_values(stage="rm"))


def test_a_key_that_transformers_has_renamed(folder):
    known = {field.name for field in fields(parser.TrainingArguments)}
    if "group_by_length" in known:  # Transformers 4: the key as it always was
        recipe.check(uni_dpo(folder) | {"group_by_length": True}, parser)
    else:
        assert "it is `train_sampling_strategy: group_by_length`" in problems({"group_by_length": True})


@pytest.mark.parametrize(
    "switch",
    ["ALLOW_EXTRA_ARGS", "USE_MCA", "USE_MEGATRON_BRIDGE", "USE_HYPER_PARALLEL", "USE_KT", "USE_V1", "USE_NEXT_ONE"],
)
def test_keys_of_a_back_end_are_left_to_llamafactory(monkeypatch, switch):
    stock = {"stage": "sft", "tensor_model_parallel_size": 2}
    assert "tensor_model_parallel_size: no such key" in problems(stock)
    monkeypatch.setenv(switch, "1")
    recipe.check(stock, parser)
    monkeypatch.setenv(switch, "0")
    assert "tensor_model_parallel_size: no such key" in problems(stock)


@pytest.mark.parametrize("switch", ["USE_RAY", "USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB"])
def test_other_switches_bring_no_keys(monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    assert "pref_bta: no such key" in problems({"stage": "dpo", "pref_bta": 1})


def test_keys_are_those_of_the_classes_that_the_installed_parser_fills():
    known = names.known_keys(parser)
    assert {"stage", "dataset", "output_dir", "model_name_or_path", "top_p", "uni_dpo_tau_ref", "data_ratio"} <= known
    more = SimpleNamespace(_TRAIN_ARGS=[*parser._TRAIN_ARGS, make_dataclass("Next", [("of_the_next_release", int)])])
    recipe.check({"stage": "sft", "of_the_next_release": 1}, more)


def test_an_argument_class_that_moved_leaves_stock_recipes_alone():
    recipe.check({"stage": "sft", "anything": 1}, SimpleNamespace(ModelArguments=parser.ModelArguments))


def test_another_back_end_is_refused(folder, monkeypatch):
    monkeypatch.setenv("USE_MCA", "True")
    assert "USE_MCA: pref_loss: uni_dpo runs on Resonance's trainer" in problems(uni_dpo(folder))


# keys that not every LlamaFactory has
LATER = make_dataclass("Later", [("use_hyper_parallel", bool), ("use_megatron_bridge", bool)])
NEXT = SimpleNamespace(_TRAIN_ARGS=[*parser._TRAIN_ARGS, LATER])
MCA, BRIDGE, HYPER = {"USE_MCA": "1"}, {"USE_MEGATRON_BRIDGE": "1"}, {}


@pytest.mark.parametrize(
    ("environment", "given", "switch"),
    [
        (MCA, {"stage": "sft", "data_ratio": 0.5}, "USE_MCA"),
        (MCA, {"stage": "pt", "data_ratio": 0.5}, "USE_MCA"),
        (MCA, {"stage": "dpo", "data_ratio": 0.5}, "USE_MCA"),
        (BRIDGE, {"stage": "sft", "data_ratio": 0.5}, "USE_MEGATRON_BRIDGE"),
        (BRIDGE, {"data_ratio": 0.5}, "USE_MEGATRON_BRIDGE"),
        (HYPER, {"stage": "sft", "data_ratio": 0.5, "use_hyper_parallel": True}, "use_hyper_parallel"),
    ],
)
def test_data_keys_are_refused_by_name_where_a_back_end_takes_another_road(monkeypatch, environment, given, switch):
    recipe.check({**given, "data_ratio": 1.0, "image_root": "pictures"}, NEXT)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as caught:
        recipe.check(given, NEXT)
    cure = f"remove {switch}" if "hyper" in switch else f"unset {switch}"
    assert f"data_ratio: is not read by the trainers of {switch}; {cure}, or remove the key" in str(caught.value)
    recipe.check({**given, "data_ratio": 1.0, "image_root": "pictures"}, NEXT)


def test_keys_of_preference_training_are_refused_there_too(monkeypatch):
    monkeypatch.setenv("USE_MCA", "1")
    with pytest.raises(ValueError) as caught:
        recipe.check({"stage": "dpo", "overlong": "drop", "pref_speedups": "auto", "uni_dpo_tau_ref": 1.0}, NEXT)
    for key in ("overlong", "pref_speedups", "uni_dpo_tau_ref"):
        assert f"{key}: is not read by the trainers of USE_MCA" in str(caught.value)
    # the reward stage goes the usual way under it
    recipe.check({"stage": "rm", "overlong": "drop", "dataset_dir": "ONLINE"}, NEXT)


def test_a_switch_of_a_back_end_that_this_llamafactory_does_not_know_changes_nothing(monkeypatch):
    monkeypatch.setenv("USE_MEGATRON_BRIDGE", "1")
    if "use_megatron_bridge" not in names.known_keys(parser):
        recipe.check({"stage": "sft", "data_ratio": 0.5}, parser)


def test_flags_are_refused_there_too(monkeypatch):
    data_args = SimpleNamespace(dataset=["a"], eval_dataset=None, data_ratio=0.5)
    training_args = SimpleNamespace(do_train=True, do_eval=False, output_dir="", resume_from_checkpoint=None)
    parsed = parsed_values(stage="sft", use_mca=True)
    recipe.check_parsed([], data_args, training_args, parsed)
    monkeypatch.setenv("USE_MCA", "1")
    with pytest.raises(ValueError, match="data_ratio: is not read by the trainers of USE_MCA"):
        recipe.check_parsed([], data_args, training_args, parsed)


def test_under_v1_our_keys_are_refused_by_name_and_others_left_alone():
    from llamafactory.v1.config import arg_parser

    with pytest.raises(ValueError, match="overlong: USE_V1=1 runs LlamaFactory's v1 trainers.*unset USE_V1"):
        arg_parser.get_args({"model": "m", "overlong": "drop"})
    with pytest.raises(ValueError, match="pref_loss: USE_V1=1"):
        arg_parser.get_args({"stage": "dpo", "pref_loss": "uni_dpo"})
    with pytest.raises(ValueError, match="data_ratio: USE_V1=1"):
        arg_parser.get_args(["--data_ratio", "0.5"])
    with pytest.raises(ValueError, match="not used by the HfArgumentParser"):
        arg_parser.get_args({"model": "m", "of_nobody": 1})


def test_what_needs_us():
    assert recipe.needs_resonance({"stage": "dpo", "pref_loss": "hinge"})
    assert recipe.needs_resonance({"stage": "sft", "uni_dpo_tau_ref": 1.0})
    assert not recipe.needs_resonance({"stage": "dpo", "pref_loss": "orpo"}) and not recipe.needs_resonance({})


def test_the_strict_parser_takes_our_keys(folder, recipe_of=uni_dpo):
    given = recipe_of(folder, model_name_or_path="m", use_cpu=True, report_to="none", uni_dpo_qual_eta=0.1)
    finetuning_args = get_train_args(given)[3]
    assert finetuning_args.uni_dpo_qual_eta == 0.1 and finetuning_args.use_ref_model


def test_flags_are_checked_after_parsing(folder):
    data_args = SimpleNamespace(dataset=["gone"], eval_dataset=None, dataset_dir=str(folder), tokenized_path=None)
    training_args = SimpleNamespace(do_train=True, do_eval=False, output_dir="", resume_from_checkpoint=None)
    with pytest.raises(ValueError, match="'gone' is not in"):
        recipe.check_parsed([], data_args, training_args, parsed_values(stage="dpo", pref_loss="uni_dpo"))


def test_read_takes_files_and_flags(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("stage: dpo\npref_loss: sigmoid\n")
    assert recipe.read([str(path), "pref_loss=uni_dpo"]) == {"stage": "dpo", "pref_loss": "uni_dpo"}
    flags = ["--stage", "dpo", "--pref-loss=uni_dpo", "--do_train"]
    assert recipe.read(flags) == {"stage": "dpo", "pref_loss": "uni_dpo", "do_train": ""}
    assert recipe.read([str(tmp_path / "missing.yaml")]) == recipe.read([]) == {}
    path.write_text("stage: [")
    assert recipe.read([str(path)]) == {}


@pytest.mark.parametrize("key", ["torch_compile", "torch_compile_backend"])
def test_torch_compile_is_refused_by_name(folder, key):
    assert f"{key}: Resonance's trainer puts its own functions" in problems(uni_dpo(folder, **{key: True}))
    recipe.check(uni_dpo(folder, torch_compile=False), parser)


def test_new_tokens_where_they_would_fail_late(folder):
    lora = uni_dpo(folder, model_name_or_path=str(folder))
    (folder / "config.json").write_text('{"vocab_size": 9}')
    recipe.check({**lora, "resize_vocab": True}, parser)
    (folder / "config.json").write_text('{"text_config": {"vocab_size": 9}}')
    assert "resize_vocab: PEFT cannot save" in problems({**lora, "resize_vocab": True})
    assert "add_special_tokens: PEFT cannot save" in problems({**lora, "add_special_tokens": "<a>"})
    full = {**lora, "finetuning_type": "full"}
    assert "add_tokens: LlamaFactory cannot load the reference" in problems({**full, "add_tokens": "<a>"})
    recipe.check({**full, "resize_vocab": True}, parser)


def test_a_whole_model_into_the_folder_of_an_adapter(folder):
    (folder / "out").mkdir()
    (folder / "out" / "README.md").write_text("---\nlibrary_name: peft\n---\n")
    recipe.check(uni_dpo(folder), parser)
    full = uni_dpo(folder, finetuning_type="full")
    assert "holds the adapter of an earlier run" in problems(full)
    (folder / "out" / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
    recipe.check(full, parser)
