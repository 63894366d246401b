# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.

"""What LlamaBoard's preview, recipe and saved configuration hold of our keys; without a browser."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llamaboard import STOCK, Page, make_page
from resonance.arguments.preference import NAMES_OF_LLAMAFACTORY
from resonance.board.fields import Entry
from resonance.board.keys import KEYS, STAGES, shown
from resonance.board.runner import with_cause_first, with_our_keys
from resonance.board.words import CHINESE, PREFIX
from resonance.losses import LOSSES


@pytest.fixture(scope="module")
def module_patch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    from llamafactory.webui import locales

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        before = set(locales.LOCALES)
        yield patch
        for name in set(locales.LOCALES) - before:
            del locales.LOCALES[name]


@pytest.fixture(scope="module")
def page(module_patch: pytest.MonkeyPatch) -> Page:
    return make_page()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, cli_env: dict[str, str]) -> dict[str, Any]:
    """What the page is without us."""
    script = Path(__file__).parents[1] / "llamaboard.py"
    where, env = tmp_path_factory.mktemp("stock"), cli_env | {"RESONANCE_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=env, cwd=where, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def flags(preview: str) -> dict[str, str]:
    """The flags of a previewed command as a shell reads them."""
    words = shlex.split(preview.removeprefix("```bash\n").removesuffix("\n```").replace("\\\n", " "))
    assert words[:2] == ["llamafactory-cli", "train"]
    return {key.removeprefix("--"): value for key, value in zip(words[2::2], words[3::2], strict=True)}


@pytest.fixture
def our(page: Page) -> Callable[..., dict[str, Any]]:
    return lambda **values: {f"train.{PREFIX}{name}": value for name, value in values.items()}


def test_a_page_without_our_values_is_as_without_us(page: Page, stock: dict[str, Any]) -> None:
    assert stock["runner"] == "llamafactory.webui.runner" and set(stock["losses"]) == set(NAMES_OF_LLAMAFACTORY)
    assert [name for name in stock["components"] if name.startswith(PREFIX)] == []
    assert [page.preview(**given) for given in STOCK] == stock["previews"]
    assert [page.recipe(**given) for given in STOCK] == stock["recipes"]
    page.engine.runner.save_args(page.data(**{"train.config_path": "plain.yaml"}))
    assert Path("llamaboard_config/plain.yaml").read_text() == stock["configuration"] and stock["loaded"] > 50


def test_the_dropdown_has_every_loss_and_beta_goes_to_ten(page: Page) -> None:
    loss, beta = (page.manager.get_elem_by_id(f"train.{name}") for name in ("pref_loss", "pref_beta"))
    for found in (loss.choices, loss.constructor_args["choices"]):
        assert {name for name, _ in found} == set(LOSSES)
    assert loss.allow_custom_value and beta.maximum == beta.constructor_args["maximum"] == 10
    assert beta.step == 0.01 and beta.value == 0.1


def test_values_of_the_fold_are_of_their_types_and_defaults_are_left_out(page: Page, our) -> None:
    given = our(
        uni_dpo_tau_good="3.5", uni_dpo_qual_eta="0.7", dpo_average_log_prob="false", overlong="drop",
        max_prompt_length="64", vision_lr="1e-6", sample_weights=True, rollout_url="http://of.another.stage",
    )  # fmt: skip
    given |= {"train.training_stage": "DPO", "train.pref_loss": "uni_dpo", "train.pref_beta": 2}
    recipe = page.recipe(**given)
    expected = {
        "pref_loss": "uni_dpo", "pref_beta": 2, "uni_dpo_tau_good": 3.5, "dpo_average_log_prob": False,
        "sample_weights": True, "overlong": "drop", "max_prompt_length": 64, "vision_lr": 1e-6,
    }  # fmt: skip
    assert {key: value for key, value in recipe.items() if key in KEYS or key in expected} == expected
    assert {key: flags(page.preview(**given))[key] for key in expected} == {k: str(v) for k, v in expected.items()}


def test_what_belongs_to_another_loss_is_not_written(page: Page, our) -> None:
    given = our(uni_dpo_tau_good="3.5", simpo_gamma="1.5") | {"train.training_stage": "DPO"}
    for loss, keys in {"uni_dpo": {"uni_dpo_tau_good"}, "simpo": {"simpo_gamma"}, "hinge": set()}.items():
        assert set(page.recipe(**given, **{"train.pref_loss": loss})) & set(KEYS) == keys
    assert "pref_loss" not in page.recipe(**{"train.training_stage": "KTO", "train.pref_loss": "uni_dpo"})


def test_extra_arguments_win_over_every_widget(page: Page, our) -> None:
    extra = '{"pref_loss": "uni_dpo", "uni_dpo_tau_good": 4, "lora_rank": 4, "packing": true, "plot_loss": false}'
    given = our(uni_dpo_tau_good="3.5", uni_dpo_tau_ref="1") | {
        "train.training_stage": "DPO",
        "train.extra_args": extra,
    }
    recipe, shown_flags = page.recipe(**given), flags(page.preview(**given))
    expected = {**yaml.safe_load(extra), "uni_dpo_tau_ref": 1.0}
    for key, value in expected.items():
        assert recipe[key] == value and shown_flags[key] == str(value)


def test_rewards_become_entries_and_replace_what_llamafactory_asks_of_ppo(page: Page, our) -> None:
    entry = '{"name": "length", "max_length": 6, "weight": 0.5}'
    names = ["exact", "mine.rewards:polite", "http://judge:1/score", entry]
    ppo = {"train.training_stage": "PPO"}
    given = ppo | our(rewards=names, ppo_variant="grpo", num_generations="4", advantage_scale="false", vf_coef="0.2")
    recipe = page.recipe(**given)
    rewards = [
        {"name": "exact"}, {"function": "mine.rewards:polite"}, {"url": "http://judge:1/score"}, yaml.safe_load(entry),
    ]  # fmt: skip
    assert recipe["rewards"] == rewards and yaml.safe_load(flags(page.preview(**given))["rewards"]) == rewards
    assert (recipe["ppo_variant"], recipe["num_generations"], recipe["advantage_scale"]) == ("grpo", 4, False)
    assert not {"reward_model", "reward_model_type", "top_p", "top_k", "vf_coef"} & set(recipe), "no critic in GRPO"
    given = ppo | our(rewards=["exact"], temperature="0.95", ppo_epochs="4")
    assert (page.recipe(**given)["temperature"], page.recipe(**given)["ppo_epochs"]) == (0.95, 4), (
        "presets have others"
    )
    for kind in ("lora", "full"):
        given = ppo | {"train.reward_model": ["judge"], "top.finetuning_type": kind}
        assert page.recipe(**given)["rewards"] == [{"model": f"saves/Custom/{kind}/judge"}]
    assert "PPO needs `rewards`" in page.preview(**ppo)
    assert "PPO 需要奖励" in page.preview(**ppo, **{"top.lang": "zh"})


def test_what_is_no_value_is_refused_with_its_key(page: Page, our) -> None:
    dpo = {"train.training_stage": "DPO", "train.pref_loss": "uni_dpo"}
    text = page.preview(**dpo, **our(uni_dpo_tau_good="high", max_prompt_length="1.5"))
    assert "uni_dpo_tau_good: 'high' is not a number" in text and "max_prompt_length: '1.5' is not a whole" in text
    assert "policy_params: '{x' is not JSON" in page.preview(
        **{"train.training_stage": "PPO"}, **our(policy_params="{x", rewards=["exact"])
    )
    assert "give an object" in page.preview(**dpo, **{"train.extra_args": "[1]"})
    assert "`output_dir` has a field of its own" in page.preview(**dpo, **{"train.extra_args": '{"output_dir": "x"}'})


def test_a_configuration_keeps_our_keys_and_nothing_of_ours_that_is_untouched(page: Page, our) -> None:
    given = {"train.training_stage": "DPO", "train.pref_loss": "uni_dpo", **our(uni_dpo_tau_good="3.5")}
    runner, box = page.engine.runner, page.manager.get_elem_by_id("train.output_box")
    assert "mine.yaml" in runner.save_args(page.data(**given))[box]
    saved = yaml.safe_load(Path("llamaboard_config/mine.yaml").read_text())
    assert {key for key in saved if PREFIX in key} == {f"train.{PREFIX}uni_dpo_tau_good"}
    loaded = {
        page.manager.get_id_by_elem(element): value for element, value in runner.load_args("en", "mine.yaml").items()
    }
    assert loaded[f"train.{PREFIX}uni_dpo_tau_good"] == "3.5" and loaded["train.pref_loss"] == "uni_dpo"
    assert loaded[f"train.{PREFIX}uni_dpo_tau_ref"] == "" and loaded[f"train.{PREFIX}rewards"] == []
    assert set(runner.load_args("en", "nothing.yaml")) == {box}


def test_each_component_has_words_in_every_language(page: Page) -> None:
    from llamafactory.webui.locales import LOCALES

    assert set(CHINESE) == set(KEYS)
    assert len({label for label, _ in CHINESE.values()}) >= len(CHINESE) - 3, "three engines share a label"
    ours = [name for name, _ in page.manager.get_elem_iter() if name.startswith(PREFIX)]
    assert len(ours) == len(KEYS) + 1
    for name in ours:
        assert set(LOCALES[name]) == set(LOCALES["pref_loss"]) and LOCALES[name]["ja"] == LOCALES[name]["en"]
    tau = LOCALES[f"{PREFIX}uni_dpo_tau_good"]
    assert tau["zh"]["label"] == "优质阈值 τ_good (uni_dpo_tau_good)" and tau["en"]["info"].startswith(
        "Uni-DPO: tau_good"
    )
    for language in LOCALES["pref_loss"]:
        page.engine.change_lang(language)


def test_the_fold_has_what_belongs_to_stage_loss_and_variant() -> None:
    def dpo(loss: str) -> set[str]:
        return set(shown({"stage": "dpo", "pref_loss": loss}))

    assert {"uni_dpo_tau_good", "pref_speedups"} <= dpo("uni_dpo") and "pref_engine" not in dpo("uni_dpo")
    assert {"pref_engine", "dpo_label_smoothing"} <= dpo("sigmoid") and "pref_speedups" not in dpo("sigmoid")
    assert "pref_speedups" in shown({"stage": "dpo", "pref_loss": "sigmoid", "pref_engine": "resonance"})
    assert "pref_loss_weights" in dpo("sigmoid,sft") and "mdpo_image" in dpo("mdpo")
    assert "pref_loss_params" in dpo("discopop") and "pref_loss_params" not in dpo("uni_dpo")
    assert "simpo_gamma" not in dpo("my.module:that_is_not_there")
    ppo = {"stage": "ppo", "pref_loss": "sigmoid"}
    assert "critic" in shown(ppo) and "critic" not in shown({**ppo, "ppo_variant": "grpo"})
    assert "rollout_url" in shown({**ppo, "rollout_backend": "vllm"}) and "rollout_url" not in shown(ppo)
    assert "rm_weight_eta" in shown({"stage": "rm", "pref_loss": "sigmoid", "rm_weight": "score"})
    assert shown({"stage": "sft", "pref_loss": "sigmoid"}) == list(STAGES["sft"])
    assert set(KEYS) == {key for keys in STAGES.values() for key in keys}


def test_pairs_with_scores_are_among_the_data_sets_of_dpo(tmp_path: Path) -> None:
    from llamafactory.webui.control import list_datasets

    (tmp_path / "dataset_info.json").write_text(
        '{"scored": {"file_name": "a.json", "ranking": true, "columns": {"score_chosen": "s"}}, "told": {}}'
    )
    assert [name for name, _ in list_datasets(str(tmp_path), "DPO").choices] == ["scored"]
    assert [name for name, _ in list_datasets(str(tmp_path), "PPO").choices] == ["told"]


def test_the_cause_of_a_failure_comes_first() -> None:
    log = "loading\nWarning: x\nValueError: rows: no scores\n  - row 3\n\n```\n"
    found = with_cause_first(f"Failed. Exit code: 1\n\n```\n{log}", "en")
    cause = "What stopped it:\n\n```\nValueError: rows: no scores\n  - row 3\n```"
    assert found == f"Failed. Exit code: 1\n\n{cause}\n\n```\n{log}"
    ranks = (
        "[rank1]: x\nRuntimeError: gloo\nChildFailedError: \n\nRank 0 was stopped by:\nValueError: no\n  - key\n```\n"
    )
    assert "```\nRank 0 was stopped by:\nValueError: no\n  - key\n```" in with_cause_first(
        f"F. Exit code: 1\n\n```\n{ranks}", "zh"
    )
    for text in (
        "Finished.\n\n```\nValueError: in the log\n```\n",
        "Failed. Exit code: 1\n\n```\nValueError: a\n\n```\n",
    ):
        assert with_cause_first(text, "en") == text


def test_the_figure_has_the_reward_where_one_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib
    from llamafactory.webui import control

    backend = matplotlib.get_backend()
    try:
        lines = [{"current_steps": step, "loss": 1.0 / step} for step in (1, 2, 3)]
        assert len(control.gen_loss_plot(lines).axes) == 1
        figure = control.gen_loss_plot([{**line, "reward": 2.0 * line["current_steps"]} for line in lines])
        assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "reward"]
        assert list(figure.axes[1].lines[0].get_ydata()) == [2.0, 4.0, 6.0]
        boxes = [axes.get_position() for axes in figure.axes]
        assert boxes[0].y0 > boxes[1].y1, "one above the other"
    finally:
        matplotlib.pyplot.switch_backend(backend)


def test_another_runner_than_the_one_we_know_is_refused() -> None:
    class Runner:
        def _initialize(self, data: Any, do_train: bool) -> str:
            return ""

    with pytest.raises(TypeError, match=r"Runner._initialize takes \(self, data, do_train\), not"):
        with_our_keys(Runner, {})


def test_a_default_that_is_written_down_is_left_out() -> None:
    entry = Entry("x", "float", 1.0, "")
    assert entry.read("1") is None and entry.read("") is None and entry.read(" 2 ") == 2.0
    assert Entry("x", "switch", None, "").read("false") is False
