# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance validate`: what it tells of broken recipes, of sound ones, and of those that come with the package."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from checks.broken_recipes import BROKEN, Broken, table
from conftest import DATA, MODEL, base_recipe
from resonance.arguments.reader import read_recipe
from resonance.checks.recipe import dry_run, extras, rows, steps, values
from resonance.checks.recipe.entry import Options, imports_of, validate
from resonance.checks.recipe.verdict import Verdict
from resonance.cli.main import main
from resonance.reward_model.settings import FILE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
ABSENT = ("liger_kernel", "swanlab")  # whatever is installed where the tests run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, pairs and entries that are each wrong in one way."""
    monkeypatch.chdir(tmp_path)
    installed = extras.is_installed
    monkeypatch.setattr(extras, "is_installed", lambda module: module not in ABSENT and installed(module))
    (tmp_path / "model").symlink_to(MODEL)
    info = json.loads((DATA / "dataset_info.json").read_text())["pairs"] | {"file_name": "pairs.json"}
    rows = json.loads((DATA / "pairs.json").read_text())[:4]
    for row in rows:
        row["score_chosen"], row["score_rejected"] = 4.0, 2.0
    rows[0]["score_chosen"] = 2.0
    rows[0]["score_rejected"] = 1.0
    columns = info["columns"]
    bare = {key: name for key, name in columns.items() if not key.startswith("score_")}
    entries = {
        "mine": info,
        "unscored": info | {"columns": bare},
        "misnamed": info | {"columns": columns | {"score_chosen": "chosen_scroe"}},
        "swapped": info | {"columns": columns | {"score_chosen": "score_rejected", "score_rejected": "score_chosen"}},
        "answers": {"file_name": "pairs.json", "columns": {"prompt": "instruction", "response": "chosen"}},
        "gone": info | {"file_name": "gone.json"},
        "pictureless": info | {"file_name": "pictureless.json"},
    }
    data = tmp_path / "mydata"
    data.mkdir()
    (data / "dataset_info.json").write_text(json.dumps(entries))
    (data / "pairs.json").write_text(json.dumps(rows))
    (data / "pictureless.json").write_text(json.dumps([rows[0], rows[1] | {"images": ["none.png"]}, *rows[2:]]))
    offload = {"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}
    (tmp_path / "offload.json").write_text(json.dumps(offload))
    return tmp_path


@pytest.fixture
def judged(folder: Path) -> Callable[..., Verdict]:
    def judge(changes: dict[str, Any], **options: Any) -> Verdict:
        mine = {"model_name_or_path": "model", "dataset": "mine", "dataset_dir": "mydata", "media_dir": str(DATA)}
        loss = {"pref_loss": "uni_dpo", "uni_dpo_tau_good": 3, "output_dir": "out"}
        given = base_recipe(**{**mine, **loss, **changes})
        (folder / "recipe.yaml").write_text(yaml.safe_dump(given))
        return validate([Path("recipe.yaml")], Options(**options))[0]

    return judge


@pytest.mark.parametrize("broken", BROKEN, ids=[str(broken.recipe)[:50] for broken in BROKEN])
def test_a_broken_recipe(judged: Callable[..., Verdict], broken: Broken) -> None:
    verdict = judged(broken.recipe)
    found = verdict.errors if broken.kind == "error" else verdict.warnings
    assert sum(broken.message in message for message in found) == 1, verdict
    assert len(verdict.errors) == (broken.kind == "error"), verdict.errors


def test_thirty_recipes_are_shown_in_the_docs() -> None:
    assert len(BROKEN) >= 30
    assert table() in (ROOT / "docs" / "validate.md").read_text(encoding="utf-8")


def test_all_mistakes_of_a_recipe_are_told_at_once(judged: Callable[..., Verdict]) -> None:
    verdict = judged(
        {"uni_dpo_tau_godd": 1, "template": "llava", "dataset": "gone", "optim": "none", "bf16": "no way"}
    )
    assert {message.partition(":")[0] for message in verdict.errors} == {
        "uni_dpo_tau_godd", "template", "dataset", "optim", "bf16",
    }  # fmt: skip


def test_a_sound_recipe_is_told_in_facts_and_commands(judged: Callable[..., Verdict]) -> None:
    verdict = judged({"num_train_epochs": 3, "per_device_train_batch_size": 2}, gpus=2, overrides=["pref_beta=2.5"])
    assert verdict.ok and not verdict.warnings, verdict
    loss, batches = verdict.facts
    assert "pref_loss: uni_dpo (beta 2.5," in loss and "reference: a copy of the model" in loss
    assert batches == "4 rows; 2 x 1 accumulated x 2 processes = 4 rows a step, 1 steps an epoch, 3 in all"
    assert verdict.commands == {
        "CPU:": "llamafactory-cli train recipe.yaml pref_beta=2.5",
        "CPU, 2 processes:": "FORCE_TORCHRUN=1 NPROC_PER_NODE=2 llamafactory-cli train recipe.yaml pref_beta=2.5",
    }


def test_commands_of_gpus_and_nodes(judged: Callable[..., Verdict]) -> None:
    verdict = judged(
        {"use_cpu": None, "deepspeed": str(ROOT / "examples/deepspeed/ds_z2_config.json")}, gpus=4, nodes=3
    )
    one, node, nodes = verdict.commands.values()
    assert one == "FORCE_TORCHRUN=1 NPROC_PER_NODE=1 llamafactory-cli train recipe.yaml"
    assert node == "FORCE_TORCHRUN=1 NPROC_PER_NODE=4 llamafactory-cli train recipe.yaml"
    assert nodes.startswith("NNODES=3 NODE_RANK=0 MASTER_ADDR=") and node in nodes
    assert list(verdict.commands)[2] == "3 x 4 GPUs, 48 rows a step:"
    assert list(judged({"use_cpu": None, "ray_num_workers": 4}).commands.values()) == [
        "USE_RAY=1 llamafactory-cli train recipe.yaml"
    ]


def test_memory_of_a_gpu(judged: Callable[..., Verdict]) -> None:
    verdict = judged({"use_cpu": None}, gpu="H100")
    assert verdict.facts[2].startswith("memory: about ") and "of 79.6 on a GPU" in verdict.facts[2]
    few = judged({"use_cpu": None, "per_device_train_batch_size": 64}, gpu_memory=0.001)
    assert any("0.001 are there" in message for message in few.warnings), few


def test_a_recipe_that_cannot_be_read_is_told_without_llamafactory(folder, capsys, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llamafactory.hparams", None)  # an import fails
    Path("tab.yaml").write_text("a:\t1\n\tb")
    assert main(["validate", "tab.yaml", "gone.yaml"]) == 1
    told = capsys.readouterr().out
    assert "tab.yaml: is not YAML" in told and "gone.yaml: No such file or directory" in told
    assert told.endswith("Next: correct what is wrong, then resonance validate tab.yaml gone.yaml\n")


def test_exit_codes_and_json(judged, capsys) -> None:
    assert judged({}).ok
    assert main(["validate", "recipe.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["recipes"][0]["commands"]["CPU:"] == "llamafactory-cli train recipe.yaml"
    assert main(["validate", "recipe.yaml", "pref_beta=-1"]) == 1
    told = capsys.readouterr().out
    assert "1 recipe: 1 error and 0 warnings" in told
    assert told.endswith("Next: correct what is wrong, then resonance validate recipe.yaml pref_beta=-1\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pref_beta=2"], "give a recipe (.yaml, .yml or .json)"),
        (["recipe.yaml", "--gpus", "0"], "--gpus and --nodes are whole numbers from 1"),
        (["recipe.yaml", "--gpu", "H1000"], "--gpu: 'H1000' is not known; nearest: H100"),
        (["recipe.yaml", "--gpu-memory", "-1"], "--gpu-memory: -1.0; allowed: GiB, above 0"),
        (["recipe.yaml", "--nodes", "2", "--dry-run"], "--dry-run trains on this machine; leave --nodes out"),
    ],
)
def test_a_wrong_call(capsys, words: list[str], message: str) -> None:
    assert main(["validate", *words]) == 2
    told = capsys.readouterr().err
    assert f"resonance validate: {message}" in told and told.endswith("Next: resonance validate --help\n")


@pytest.mark.parametrize(
    ("files", "changes", "kind", "message"),
    [
        ({"checkpoint-3/trainer_state.json": "{}"}, {}, "notes", "output_dir: the run goes on from out/checkpoint-3"),
        ({"checkpoint-3/trainer_state.json": "{"}, {}, "warnings", "output_dir: out/checkpoint-3 was cut off"),
        (
            {"checkpoint-3/trainer_state.json": "{}", "train_results.json": "{}"},
            {},
            "warnings",
            "output_dir: out is finished",
        ),
        (
            {"checkpoint-3/trainer_state.json": "{}", "resonance_recipe.yaml": "a: [1"},
            {},
            "warnings",
            "the recipe of the run before cannot be read, nor compared: out/resonance_recipe.yaml",
        ),
        (
            {"checkpoint-3/trainer_state.json": "{}", "resonance_recipe.yaml": "pref_loss: sigmoid\npref_beta: 0.1"},
            {"pref_beta": 2.0, "num_train_epochs": 2},
            "errors",
            "is of another recipe: pref_loss 'sigmoid', now 'uni_dpo'; pref_beta 0.1, now 2.0",
        ),
        (
            {"README.md": "---\nlibrary_name: peft\n---"},
            {},
            "errors",
            "output_dir: out holds the adapter of an earlier run",
        ),
    ],
)
def test_what_the_output_folder_holds(judged, folder, files, changes, kind, message) -> None:
    for name, text in files.items():
        path = folder / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    verdict = judged(changes)
    assert any(message in each for each in getattr(verdict, kind)), verdict


def test_a_column_that_comes_late_is_no_error(tmp_path: Path) -> None:
    row = {"instruction": "a", "chosen": "b", "rejected": "c"}
    late = [*[row] * rows.SCORED, row | {"score_chosen": 2, "score_rejected": 1}]
    (tmp_path / "late.jsonl").write_text("".join(json.dumps(each) + "\n" for each in late))
    columns = {"prompt": "instruction"} | {
        name: name for name in ("chosen", "rejected", "score_chosen", "score_rejected")
    }
    entry = {"file_name": "late.jsonl", "ranking": True, "columns": columns}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"late": entry}))
    (look,) = rows.look_at_sets({"dataset": "late", "dataset_dir": str(tmp_path), "stage": "dpo"}, {}, [])
    assert not look.errors
    assert all("of the first 2000 rows" in told and "no row has it" in told for told in look.warnings)
    assert len(look.warnings) == 2


def test_a_public_set_that_is_not_here_is_a_note_with_the_command_that_imports_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    recipe = yaml.safe_load((ROOT / "examples/qwen2_5_vl_7b/uni_dpo.yaml").read_text())
    recipe = {key: value for key, value in recipe.items() if not key.startswith(("uni_dpo_", "deepspeed"))}
    recipe |= {"pref_loss": "sigmoid", "dataset": "uni_dpo_multimodal,rlhfv"}
    header = "# Data: `resonance data import uni_dpo --name uni_dpo_multimodal --image-root MM-RLHF --out data`\n"
    (tmp_path / "mine.yaml").write_text(header + yaml.safe_dump(recipe))
    notes = "\n".join(validate([Path("mine.yaml")], Options())[0].notes)
    assert "import uni_dpo --name uni_dpo_multimodal --image-root MM-RLHF --out data" in notes
    assert "dataset: rlhfv is not here yet (data/rlhfv.json): resonance data import rlhfv --out data" in notes
    assert imports_of(Path("mine.yaml"), "my sets")["rlhfv"] == "resonance data import rlhfv --out 'my sets'"


@pytest.mark.parametrize(
    ("recipe", "zero", "message"),
    [
        ({"quantization_bit": 8}, {"stage": 3}, "quantization_bit: 8 with bnb does not go with ZeRO-3"),
        ({"quantization_bit": 4}, {"stage": 3}, ""),
        ({"quantization_bit": 4, "quantization_method": "hqq"}, {"stage": 3}, "4 with hqq does not go with ZeRO-3"),
        ({"pure_bf16": True}, {"stage": 3}, "pure_bf16: does not go with ZeRO-3"),
        ({}, {"stage": 0, "offload_optimizer": {"device": "cpu"}}, "offload_optimizer works with stage: 1, 2 or 3"),
        ({}, {"stage": 2, "offload_optimizer": {"device": "cpu"}}, ""),
        ({"deepspeed": "ds.json"}, {}, "deepspeed: the file has no `zero_optimization`"),
    ],
)
def test_what_goes_with_a_zero_stage(recipe: dict[str, Any], zero: dict[str, Any], message: str) -> None:
    found = extras.zero_problems(recipe, zero)
    assert len(found) == bool(message) and message in "".join(found)


def test_values_of_no_kind_are_left_to_the_check_of_types() -> None:
    assert not extras.package_problems({"optim": ["adamw_8bit"], "flash_attn": {"fa2": True}})
    assert not extras.zero_problems({}, {"stage": 2, "offload_optimizer": "cpu"})
    (problem,) = extras.zero_problems({}, {"stage": "auto"})
    assert problem.startswith("deepspeed: the file has stage: 'auto'")


def test_a_value_that_is_a_file_is_no_recipe(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=1.yaml").write_text("[")
    assert main(["validate", "lr=1.yaml", "deepspeed=ds.json", "--json"]) == 1
    assert [found["recipe"] for found in json.loads(capsys.readouterr().out)["recipes"]] == ["lr=1.yaml"]


def test_rewards_that_compare_expressions_want_math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = {"rewards": [{"name": "numeric"}, {"name": "length"}]}
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "math_verify")
    assert "rewards: numeric: math_verify is not installed" in extras.package_warnings(rewards)[0]
    assert not extras.package_warnings({"rewards": [{"name": "length"}]})
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    assert not extras.package_warnings(rewards)


def test_what_to_do_about_rows_is_printed_once_a_kind(tmp_path: Path) -> None:
    pair = {"q": "What is it?", "a": "A cup.", "b": "A dog.", "images": ["none.png"]}
    (tmp_path / "pairs.json").write_text(json.dumps([pair] * 3))
    columns = {"prompt": "q", "chosen": "a", "rejected": "b", "images": "images"}
    info = {"pairs": {"file_name": "pairs.json", "ranking": True, "columns": columns}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    (look,) = rows.look_at_sets({"stage": "dpo", "dataset": "pairs", "dataset_dir": str(tmp_path)}, {}, [])
    assert len(look.errors) == 4  # of the first rows
    text = "\n".join(look.errors)
    assert text.count("To do (image missing): ") == text.count("To do (placeholder count): ") == 1


@pytest.mark.parametrize("kind", ["json", "indented", "escaped", "jsonl", "csv"])
def test_rows_of_a_large_file_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    found = [{"text": "x\u00e9\u4e2d" * (90 + number % 20), "images": ["a.png"] * 3} for number in range(2000)]
    path = tmp_path / f"rows.{kind if kind in ('jsonl', 'csv') else 'json'}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in found))
    elif kind == "csv":
        path.write_text("text,images\n" + "".join(f'{row["text"]},"{row["images"]}"\n' for row in found))
    else:
        path.write_text(json.dumps(found, indent=4 if kind == "indented" else None, ensure_ascii=kind == "escaped"))
    assert rows.count_rows(path) == 2000
    monkeypatch.setattr(rows, "COUNTED", 0)
    assert rows.count_rows(path) == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_rows_of_a_table_with_pictures_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table, path = pa.table({"image": [b"\x89PNG"] * 700}), tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    monkeypatch.setattr(rows, "COUNTED", 0)
    assert rows.count_rows(path) == 700


@pytest.mark.parametrize(
    ("given", "entry", "counted"),
    [
        ({}, {}, (10, 2)),
        ({"dataloader_drop_last": True}, {}, (10, 2)),
        ({"dataloader_drop_last": True, "per_device_train_batch_size": 6}, {}, (10, 1)),
        ({}, {"num_samples": 25}, (25, 5)),
        ({"mix_strategy": "interleave_over"}, {}, (None, None)),
        ({"stage": "sft", "packing": True}, {}, (None, None)),
    ],
)
def test_steps_of_an_epoch(tmp_path: Path, given: dict[str, Any], entry: dict[str, Any], counted: tuple) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "a", "input": "", "output": "b"}] * 10))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.json"} | entry}))
    whole = {"stage": "sft", "dataset": "mine", "dataset_dir": str(tmp_path), "per_device_train_batch_size": 3}
    whole |= {"gradient_accumulation_steps": 2} | given
    found = steps.steps_of(whole, rows.look_at_sets(whole, {}, []), 1)
    assert (found.rows, found.epoch) == counted


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        ("1e-4", float, True), (1, float, True), (True, float, False), ("ten", float, False), (1.5, int, False),
        (True, int, False), ("yes", bool, False), (None, int | None, True), ("2", int | None, False),
        ("a", Literal["a", "b"], True), ("c", Literal["a", "b"] | None, False), (["a"], str, True), ({}, str, False),
        ({"k": 1}, dict | str | None, True),
    ],
)  # fmt: skip
def test_which_values_fit_a_type(value: Any, kind: Any, right: bool) -> None:
    assert values.fits(value, kind) is right


def stand_in(model: Path) -> None:
    """A folder in the place of a model that an earlier recipe makes."""
    model.mkdir(parents=True, exist_ok=True)
    template = '{"data": {"template": "qwen2_vl"}}'
    for file, text in {"config.json": "{}", "value_head.safetensors": "", FILE: template}.items():
        (model / file).write_text(text)


def test_every_recipe_of_the_package_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    for name in ("data", "examples"):  # recipes name data and DeepSpeed files from the top
        (tmp_path / name).symlink_to(ROOT / name)
    for path in EXAMPLES:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        rewarding = [entry["model"] for entry in recipe.get("rewards", ()) if "model" in entry]
        for name in filter(lambda name: name.startswith("saves/"), (recipe["model_name_or_path"], *rewarding)):
            stand_in(tmp_path / name)
    paths = [path.relative_to(ROOT) for path in EXAMPLES]
    for verdict in validate(paths, Options(gpus=8)):
        # the authors' own sampling
        unexpected = [warning for warning in verdict.warnings if not warning.startswith("top_p: 0.99: rollouts are")]
        assert verdict.ok and not unexpected, verdict.as_text()
        assert all(
            "is not here yet" in note or "is loaded from" in note or "goes on" in note for note in verdict.notes
        )


def test_a_dry_run_trains_the_longest_rows_and_leaves_the_output_folder_alone(judged, folder, train) -> None:
    rows = [{"instruction": "<image>What is it?", "chosen": f"{number} is it.", "rejected": "No.", "images": ["0.png"]}
            for number in range(12)]  # fmt: skip
    rows = [row | {"score_chosen": 4.0, "score_rejected": 1.0} for row in rows]
    for number in (3, 7):
        rows[number]["chosen"] = "A long answer. " * (number + 1)
    picture = json.loads((DATA / "pairs.json").read_text())[0]["images"][0]
    rows = [row | {"images": [picture]} for row in rows]
    (folder / "mydata" / "pairs.json").write_text(json.dumps(rows))
    (folder / "out").mkdir()
    changes = {"per_device_train_batch_size": 1, "save_strategy": "steps", "report_to": "wandb", "run_name": "x"}
    assert judged({**changes, "val_size": 4, "eval_strategy": "epoch"}).ok
    (folder / "dry").mkdir()
    path = dry_run.prepare(read_recipe("recipe.yaml"), 1, folder / "dry")
    copied = json.loads((folder / "dry" / "rows.json").read_text())
    assert [row["chosen"] for row in copied] == ["A long answer. " * 8, "A long answer. " * 4]
    run = train(json.loads(path.read_text()))
    assert run.output_dir == folder / "dry" / "out" and run.state["global_step"] == dry_run.STEPS
    assert not list((folder / "out").iterdir())
    line = dry_run.told(run.output_dir, 3 * 2**30)
    tokens = run.state["num_input_tokens_seen"] // 2
    assert line.startswith(f"dry run: 2 steps of the longest rows, {tokens:,} tokens a step") and tokens > 50
    assert "3.0 GiB on a process at the peak" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "ppo"}, "--dry-run: not for stage: ppo"),
        ({"dataset": "gone"}, "gone: its file mydata/gone.json is not there"),
        ({"dataset": "mine,unscored"}, "--dry-run: copies rows of sets of one layout"),
    ],
)
def test_what_a_dry_run_cannot_try(judged, folder, changes, message) -> None:
    judged(changes)
    with pytest.raises(ValueError, match=message):
        dry_run.prepare(read_recipe("recipe.yaml"), 1, folder)


def test_memory_of_a_dry_run_is_its_own() -> None:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (100 << 20)  # a child begins with its parent's
    large = dry_run.ended([sys.executable, "-SIc", f"print(len(b'x' * {size}))"], {})
    small = dry_run.ended([sys.executable, "-SIc", "import sys; sys.stdout.buffer.write(b'\\xff'); sys.exit(3)"], {})
    assert large[:2] == (0, f"{size}\n") and large[2] > size
    assert small[:2] == (3, "\ufffd") and small[2] < size


def test_a_dry_run_that_fails_shows_the_last_lines(judged, monkeypatch, capsys) -> None:
    assert judged({}).ok
    ended = 1, "a traceback\nRuntimeError: no memory\n", 0
    seen: list[Any] = []
    monkeypatch.setattr(dry_run, "ended", lambda command, env: seen.append((command, env)) or ended)
    assert main(["validate", "recipe.yaml", "--dry-run", "--gpus", "2"]) == 1
    command, env = seen[0]
    assert command[1:5] == ["-P", "-m", "llamafactory.cli", "train"] and env["NPROC_PER_NODE"] == "2"
    assert "dry run: ended with 1; its last lines:\n           a traceback" in capsys.readouterr().out
