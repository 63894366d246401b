# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/commands.md and docs/keys.md are what the parsers and the argument classes have.

python tests/test_docs_reference.py    # writes both
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from resonance.arguments import (
    beyond,
    chat,
    curriculum,
    data,
    extend,
    feedback,
    policy,
    policy_checks,
    preference,
    rates,
    reference,
    resume,
    reward_model,
    tracking,
    weights,
)
from resonance.cli.commands import COMMANDS, GROUPS, inner
from resonance.cli.help import HelpFormatter
from resonance.cli.main import build_parser

DOCS = Path(__file__).parents[1] / "docs"
WRITE = "Written by `python tests/test_docs_reference.py`; a test compares it with the code."

BLOCKS_TESTED = "<!-- test: tests/cli/test_help.py::test_every_example_can_be_typed -->"
INTRODUCTION = (
    "`resonance --help` lists the commands, `resonance COMMAND --help` prints one with examples.",
    "`python -m resonance` is the same where the script is not on PATH.",
    "",
    "- Exit codes: 0 all is well, 1 something is wrong with what was looked at, 2 called wrongly. After an error, a",
    "  line that starts with `Next:` has the command to type.",
    "- `--json` prints one JSON document on standard output; messages go to standard error.",
    "- Tab completes commands, options, and names of recipes, data sets and losses:",
    '  `eval "$(resonance completion bash)"`; `resonance completion --help` has the lines for zsh, fish and every new',
    "  shell.",
    "- What takes more than two seconds prints how far it is, at a terminal only. Colours are off in pipes and with",
    "  `NO_COLOR`; `FORCE_COLOR` keeps them on.",
)

# Heading, stages, class. Of keys about data the stages are told key by key; some of dpo are read elsewhere too.
TOPICS: tuple[tuple[str, str, type], ...] = (
    ("Preference losses", "dpo", preference.PreferenceArguments),
    ("Weights of losses and pairs", "dpo", weights.WeightKeys),
    ("Order of pairs and warm-up", "dpo", curriculum.CurriculumKeys),
    ("Changed images", "dpo", beyond.ImageKeys),
    ("Log-probabilities of the reference", "dpo", reference.ReferenceKeys),
    ("Reward models", "rm", reward_model.RewardModelKeys),
    ("Unpaired answers", "kto", feedback.FeedbackKeys),
    ("Reinforcement learning: what is optimised", "ppo", policy.ObjectiveKeys),
    ("Reinforcement learning: what holds the policy back", "ppo", policy.DivergenceKeys),
    ("Reinforcement learning: who generates, who judges", "ppo", policy.RolloutKeys),
    ("Reinforcement learning: servers that generate", "ppo", policy.ServerKeys),
    ("Data", "", data.DataKeys),
    ("Learning rates of parts", ", ".join(rates.STAGES), rates.RateKeys),
    ("Going on from a checkpoint", "dpo", resume.ResumeKeys),
    ("Trackers", "all", tracking.TrackingKeys),
    ("Chat", "none; chat and api", chat.ChatKeys),
)
OF_DATA = {
    "overlong": data.OVERLONG_STAGES,
    "max_prompt_length": data.LENGTH_STAGES,
    "max_target_length": data.ANSWER_STAGES,
    "score_margin": data.PAIR_STAGES,
}


def cell(text: str) -> str:
    """A cell of a table; what looks like a tag is code."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(cell, row))} |" for row in rows)


def commands() -> str:
    lines = [BLOCKS_TESTED, "# Commands", "", WRITE, "", *INTRODUCTION, ""]
    for group in GROUPS:
        lines += [f"## {group[0].upper()}{group[1:]}", ""]
        for name, command in COMMANDS.items():
            if command.group == group and not inner(name):
                lines += of_command(name, command.summary, command.load().EXAMPLES)
    return "\n".join(lines).rstrip() + "\n"


def of_command(name: str, summary: str, examples: Iterable[str]) -> Iterator[str]:
    yield from (f"### resonance {name}", "", summary, "", "```bash", *examples, "```", "")
    rows = [row_of(action) for action in actions(name) if action.help != argparse.SUPPRESS]
    if rows:
        yield from table(("argument", "what it is"), rows)
        yield ""


def actions(name: str) -> list[argparse.Action]:
    parser = build_parser(name.split())
    for word in name.split():
        (below,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
        parser = below.choices[word]
    return [each for each in parser._actions if each.dest != "help"]


def row_of(action: argparse.Action) -> tuple[str, str]:
    metavar = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    values = "" if action.nargs == 0 else " ".join(metavar) if isinstance(metavar, tuple) else str(metavar)
    typed = " ".join(filter(None, [", ".join(action.option_strings), values]))
    several = " ..." * (action.nargs in ("+", "*"))
    told = HelpFormatter("")._get_help_string(action) or ""
    return f"`{typed}{several}`", told % {"default": action.default, "prog": ""}


def keys() -> str:
    lines = ["# Recipe keys", "", WRITE, ""]
    lines += [
        "These stand in a recipe beside LlamaFactory's own keys, or behind the command as `key=value`. A recipe that",
        "uses none of them trains bit for bit as without this package.",
        "",
        "`pref_loss` is LlamaFactory's; with this package it takes every loss that `resonance losses` lists, your own",
        "as `package.module:function`, or several as a list.",
        "",
    ]
    for title, stages, owner in TOPICS:
        own = [each for each in fields(owner) if owner is topic_of(each.name)]
        hints = get_type_hints(owner)
        rows = (
            (f"`{f.name}`", kind(hints[f.name]), default(f), stages_of(f.name, stages), f.metadata["help"])
            for f in own
        )
        lines += [f"## {title}", "", *table(("key", "type", "default", "stages", "what it is"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def topic_of(key: str) -> type:
    """The smallest class that has a key."""
    owners = [owner for _, _, owner in TOPICS if key in {f.name for f in fields(owner)}]
    return min(owners, key=lambda owner: len(fields(owner)))


def stages_of(key: str, topic: str) -> str:
    """Where a key has a meaning, as the checks of recipes have it."""
    if topic != "dpo":
        return ", ".join(OF_DATA.get(key, data.RATIO_STAGES)) if topic == "" else topic
    others = {"kto": feedback.SHARED, "rm": reward_model.SHARED, "ppo": policy_checks.SHARED}
    return ", ".join(["dpo", *(stage for stage, shared in others.items() if key in shared)])


def kind(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(kind(each) for each in get_args(hint) if each is not type(None))
    return {bool: "true, false", int: "whole number", float: "number", str: "text"}.get(hint, hint.__name__)


def default(of: Field[Any]) -> str:
    value = of.default if of.default is not MISSING else of.default_factory()  # type: ignore[misc]
    return "unset" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


PAGES = {"commands.md": commands, "keys.md": keys}


def test_the_pages_are_what_the_code_has() -> None:
    for name, page in PAGES.items():
        there = (DOCS / name).read_text(encoding="utf-8")
        assert there == page(), f"python tests/test_docs_reference.py writes docs/{name} anew"


def test_every_key_of_ours_has_a_topic_and_a_meaning() -> None:
    listed = {f.name for _, _, owner in TOPICS for f in fields(owner)}
    ours = {f.name: f for owner in (extend.Keys, data.DataKeys) for f in fields(owner)}
    assert set(ours) == listed, "add its class to TOPICS"
    assert all(len(f.metadata.get("help", "")) > 10 for f in ours.values())


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
