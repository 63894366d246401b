# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipes are read as LlamaFactory reads them, and what cannot be read is explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from llamafactory.hparams import parser

from resonance.arguments.reader import read_recipe, read_words

TEXT = 'learning_rate: 1e-3\npref_beta: 2\nname: "2.0"\nsizes: [1, 2]\nempty:\nflag: off\n'
OVERRIDES = ["pref_beta=1e-1", "flag=true", "more=[a, b]", "none="]


def test_numbers_lists_and_overrides_are_those_of_llamafactory(monkeypatch, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path), *OVERRIDES])
    found = read_recipe(path, OVERRIDES)
    assert found == parser.read_args()
    assert found["learning_rate"] == 0.001 and found["pref_beta"] == 0.1 and found["name"] == "2.0"


def test_a_json_recipe_holds_the_same(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text('\ufeff{"learning_rate": 1e-3, "sizes": [1, 2], "flag": false}', encoding="utf-8")
    assert read_recipe(path, ["flag=true"]) == {"learning_rate": 0.001, "sizes": [1, 2], "flag": True}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.yaml", "a:\t1\n\tb", "is not YAML: .*line 2, column 1"),
        ("r.yaml", "a: 1\na: 2\n", "duplicate key a"),
        ("r.yaml", "- a\n", "this one holds a list"),
        ("r.json", '{"a": 1,}', "is not JSON: .*line 1 column"),
        ("r.json", "[1]", "this one holds a list"),
        ("README.md", "a: 1", "a recipe is a file that ends with .yaml, .yml, .json. `resonance ls`"),
    ],
)
def test_what_is_no_recipe(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"(?s){name}: .*{said}"):
        read_recipe(tmp_path / name)


def test_a_missing_recipe_names_the_folder_and_the_nearest(monkeypatch, tmp_path):
    (tmp_path / "uni_dpo.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        read_recipe(Path("uni_dop.yaml"))
    text = str(caught.value)
    assert text.startswith(f"uni_dop.yaml: No such file or directory in {tmp_path}; did you mean uni_dpo.yaml?")


def test_a_flag_behind_a_file_says_how_to_write_it(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("stage: dpo\n")
    with pytest.raises(ValueError, match="--pref_loss hinge: behind a recipe file write key=value"):
        read_words([str(path), "--pref_loss", "hinge"])
    assert read_words(["--stage", "dpo", "--do_train"]) == {"stage": "dpo", "do_train": ""}
