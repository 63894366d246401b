# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A user's own loss by "module:function": declared, plain, beside the recipe, and everything that can be wrong."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable

import pytest
import torch

from resonance.losses import check_params, get_loss, preference_loss

HEAD = (
    "import torch\nimport torch.nn.functional as F\nfrom resonance.losses import LossOutput, Pairs, Range, declare\n"
)


@pytest.fixture
def write(tmp_path, monkeypatch) -> Callable[[str], str]:
    """Write a module into the working directory, which is not on the import path; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    written = []

    def module(body: str) -> str:
        name = f"user_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(HEAD + body)
        written.append(name)
        return name

    yield module
    for name in written:
        sys.modules.pop(name, None)


PLAIN = (
    "def mine(pairs, *, beta=0.5, flip=False):\n    return -F.logsigmoid((-beta if flip else beta) * pairs.logits)\n"
)


def test_a_plain_function_from_the_working_directory(write, gold):
    name = f"{write(PLAIN)}:mine"
    spec = get_loss(name)
    assert (spec.name, spec.needs_reference, spec.needs_scores, spec.logps) == (name, True, False, "sum")
    assert spec.params == {"beta": 0.5, "flip": False}

    batch = gold("sum")
    output, same = preference_loss(name, **batch), preference_loss("sigmoid", **batch, beta=0.5)
    assert torch.equal(output.losses, same.losses)
    assert torch.equal(output.chosen_rewards, same.chosen_rewards) and not output.chosen_rewards.requires_grad
    assert output.stats.keys() == {"pi_logratios", "ref_logratios", "logits"}
    # rewards follow the beta that was passed
    doubled = preference_loss(name, **batch, beta=1.0)
    torch.testing.assert_close(doubled.rejected_rewards, 2 * output.rejected_rewards)


def test_without_beta_rewards_are_plain_log_ratios(write, gold):
    name = write("def mine(pairs):\n    return pairs.logits ** 2\n")
    batch = gold("sum")
    rewards = preference_loss(f"{name}:mine", **batch).chosen_rewards
    assert torch.equal(rewards, (batch["policy_chosen_logps"] - batch["reference_chosen_logps"]).detach())


def test_numbers_of_a_plain_function_are_checked_too(write):
    name = f"{write(PLAIN)}:mine"
    assert check_params(name, {"beta": -2, "flip": True}) == []  # no range is declared
    problems = check_params(name, {"beta": "big", "flip": 1, "bata": 1.0})
    assert len(problems) == 3
    assert "beta='big' is not allowed, it must be a finite number" in problems[0]
    assert "flip=1 is not allowed, it must be True or False" in problems[1]
    assert "no parameter 'bata' (nearest: beta" in problems[2]


def test_a_declared_function_brings_what_it_needs(write, pairs_of):
    body = """
@declare(paper="none", needs_reference=False, needs_scores=True, logps="mean", ranges={"scale": Range(low=0.0)})
def weighted(pairs: Pairs, *, scale: float = 1.0) -> LossOutput:
    \"\"\"Score difference times margin.\"\"\"
    weight = scale * (pairs.score_chosen - pairs.score_rejected)
    losses = -weight * pairs.pi_logratios
    return LossOutput(losses, pairs.policy_chosen_logps, pairs.policy_rejected_logps, {"weight": weight})
"""
    name = f"{write(body)}:weighted"
    spec = get_loss(name)
    assert (spec.name, spec.needs_reference, spec.needs_scores, spec.logps) == (name, False, True, "mean")
    batch = pairs_of(3)
    output = preference_loss(spec, **batch, scale=2.0)
    expected = 2 * (batch["score_chosen"] - batch["score_rejected"])
    assert torch.equal(output.stats["weight"], expected) and set(output.stats) == {"weight"}
    assert not output.chosen_rewards.requires_grad  # handed over with a gradient, detached at the door
    assert "scale=-1 is not allowed" in check_params(name, {"scale": -1})[0]
    with pytest.raises(ValueError, match="needs scores, score_chosen and|needs scores, score_chosen is None"):
        preference_loss(name, batch["policy_chosen_logps"], batch["policy_rejected_logps"], None, None)


def test_a_package_and_a_neighbour_imported_late(tmp_path, write, gold):
    write("")
    name = f"pkg_{uuid.uuid4().hex}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "inner.py").write_text(
        f"def mine(pairs, *, beta=0.1):\n    from {name}.late import half\n    return half(beta * pairs.logits)\n"
    )
    (tmp_path / name / "late.py").write_text("def half(x):\n    return x / 2\n")
    batch = gold("sum")
    output = preference_loss(f"{name}.inner:mine", **batch)
    torch.testing.assert_close(output.losses.detach(), 0.05 * output.stats["logits"])


def test_a_module_on_the_import_path_comes_before_the_working_directory(tmp_path, write):
    (tmp_path / "string.py").write_text("def mine(pairs):\n    return pairs.logits\n")
    write("")
    with pytest.raises(ValueError, match="module 'string' .* has no 'mine'"):
        get_loss("string:mine")


@pytest.mark.parametrize("name", ["a:b:c", ":f", "mod:", "my mod:f", "../mod:f", ".mod:f", "mod:f()"])
def test_a_name_of_another_form(name):
    with pytest.raises(ValueError, match="write it as 'package.module:function'"):
        get_loss(name)


def test_no_such_module_or_function(write, tmp_path):
    with pytest.raises(ValueError, match=r"no module named 'no_such_module' .*check the spelling"):
        get_loss("no_such_module:mine")
    with pytest.raises(ValueError, match=r"no module named 'torch.no_such' "):
        get_loss("torch.no_such:mine")
    name = write(PLAIN + "number = 3\n")
    with pytest.raises(ValueError, match=r"has no 'mime' \(nearest: mine"):
        get_loss(f"{name}:mime")
    with pytest.raises(ValueError, match="is int, which cannot be called"):
        get_loss(f"{name}:number")


def test_what_a_user_module_lacks_itself_is_shown_as_it_is(write):
    name = write("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        get_loss(f"{name}:mine")


def test_a_signature_that_cannot_be_called(write):
    name = write("def mine(pairs, alpha, /, *args, beta, **more):\n    return pairs.logits\n")
    with pytest.raises(ValueError) as error:
        get_loss(f"{name}:mine")
    for part in ("must be callable as fn(pairs,", "'alpha' cannot", "'*args' hides", "'beta' needs", "'**more' hides"):
        assert part in str(error.value)
    for builtin in ("os:system", "pickle:loads", "builtins:print"):
        with pytest.raises(ValueError, match=f"{builtin}' is not written in Python, so it is no function"):
            get_loss(builtin)
    name = write("def mine(*, beta=1.0):\n    return beta\n")
    with pytest.raises(ValueError, match="first parameter must take the Pairs batch by position"):
        get_loss(f"{name}:mine")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "return pairs.logits.mean()",
            r"mine' returned wrong shapes: losses: expected shape \(B,\) = \(8,\), got \(\)",
        ),
        ("return pairs.logits[:, None]", r"losses: expected shape \(B,\) = \(8,\), got \(8, 1\)"),
        ("return None", r"mine' returned NoneType; it must return a LossOutput or a tensor .* = \(8,\)"),
        (
            "z = pairs.logits; return LossOutput(z, z.sum(), z, {'w': z[:2], 'v': 1.0})",
            r"chosen_rewards: .* got \(\); stats\['w'\]: .* got \(2,\); stats\['v'\]: .* got float",
        ),
    ],
)
def test_a_wrong_result_names_the_function_and_the_shape(write, gold, body, expected):
    name = write(f"def mine(pairs):\n    {body}\n")
    with pytest.raises(ValueError, match=expected):
        preference_loss(f"{name}:mine", **gold("sum"))
