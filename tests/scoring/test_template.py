# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The prompt of a chat judge: default ones, and all that is wrong with a user's own before anything is asked."""

from __future__ import annotations

import pytest

from resonance.scoring.template import VARIABLES, Template
from resonance.scoring.types import Ask

PAIR = {
    "messages": [{"role": "user", "content": "<image>Which digit?"}],
    "images": ["a.png"],
    "raw": {"answer": "5"},
}


def ask(*answers):
    return Ask(PAIR, answers, "a.json, row 0")


def test_the_picture_stands_where_the_prompt_has_it_and_not_where_an_answer_writes_of_one():
    parts = Template.of(None, "single", (0.0, 10.0)).parts(ask("It is an <image> of {{ low }}."))
    assert [part is None for part in parts] == [False, True, False]
    assert "It is an <image> of {{ low }}." in parts[2]
    assert parts[2].endswith('{"reason": "one sentence", "score": a number from 0 to 10 }')


def test_both_answers_at_once():
    text = "".join(part or "" for part in Template.of(None, "pair", (1.0, 5.0)).parts(ask("five", "six")))
    assert text.index("[answer A]\nfive") < text.index("[answer B]\nsix")
    assert "from 1 (wrong or useless) to 5" in text and '"score_b": a number from 1 to 5' in text


def test_a_template_of_ones_own(tmp_path):
    (file := tmp_path / "t.j2").write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %} {{ images }} {{ row.answer }} {{ answer }} "
        "{{ low }}-{{ high }}"
    )
    parts = Template.of(file, "single", (0.0, 1.0)).parts(ask("yes"))
    assert parts == ["user: ", None, "Which digit? 1 5 yes 0-1"]


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (
            "{{ prompt }} {{ answr }}",
            "single",
            ["{{ answr }}, which there is not in --mode single (nearest: answer", "not use"],
        ),
        ("{{ answer }}", "single", ["does not use {{ prompt }}"]),
        (
            "{{ prompt }} {{ answer }}",
            "pair",
            ["{{ answer }}, which there is not", "{{ answer_a }}", "{{ answer_b }}"],
        ),
        ("{{ prompt }", "single", ["is no Jinja template (line 1"]),
    ],
)
def test_all_that_is_wrong_with_one(tmp_path, text, mode, told):
    (file := tmp_path / "t.j2").write_text(text)
    with pytest.raises(ValueError, match="t.j2") as caught:
        Template.of(file, mode, (0.0, 10.0))
    assert [part for part in told if part not in str(caught.value)] == []


def test_a_row_without_a_column_is_named(tmp_path):
    (file := tmp_path / "t.j2").write_text("{{ prompt }} {{ answer }} {{ row.solution }}")
    with pytest.raises(ValueError, match=r"t.j2 fails on a.json, row 0: UndefinedError: .*solution"):
        Template.of(file, "single", (0.0, 10.0)).parts(ask("yes"))


def test_a_template_gets_at_nothing_else(tmp_path):
    (file := tmp_path / "t.j2").write_text("{{ prompt }} {{ answer.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="SecurityError"):
        Template.of(file, "single", (0.0, 10.0)).parts(ask("yes"))


def test_variables_are_documented():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text()
    assert [name for name in VARIABLES if f"| `{name}`" not in text] == []
