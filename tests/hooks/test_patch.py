# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The patch mechanism against stub modules: promises kept without the framework."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from resonance.hooks.patch import Patch, Registry, parameter_names

# The stub distribution is pytest itself: installed wherever this runs, with a version to compare.
DISTRIBUTION, SUPPORTED = "pytest", ">=1"


def greet(name="you"):
    return f"hello {name}"


def louder(original):
    """Replacement of scope "always": takes the original."""

    def wrapper(name="you"):
        return original(name).upper()

    return wrapper


def broken(original):
    raise RuntimeError("no replacement today")


def shout(name="you"):
    """Replacement during a run."""
    return f"HEY {name}"


def patch(name: str, replacement: str, scope: str = "always", **changes) -> Patch:
    declared = {"parameters": ("name",), "why": "a test", "versions": ("1.0",), "remove_when": "never"}
    return Patch(f"stub_upstream.{name}", f"{__name__}:{replacement}", scope, **{**declared, **changes})


@pytest.fixture
def upstream(monkeypatch):
    module = ModuleType("stub_upstream")
    module.greet, module.other = greet, greet
    monkeypatch.setitem(sys.modules, "stub_upstream", module)
    return module


def state(registry: Registry) -> dict[str, str]:
    return {row["target"].rpartition(".")[2]: row["state"] for row in registry.status()}


def test_always_patch_wraps_the_original_once(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "louder")])
    assert registry.targets() == {"stub_upstream"}
    assert state(registry) == {"greet": "pending"}
    registry.apply(upstream)
    first = upstream.greet
    registry.apply(upstream)
    assert upstream.greet is first and upstream.greet("a") == "HELLO A" and upstream.other is greet
    assert state(registry) == {"greet": "applied"}


def test_a_reloaded_module_is_patched_again(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "louder")])
    registry.apply(upstream)
    upstream.greet = greet  # what importlib.reload does
    registry.apply(upstream)
    assert upstream.greet("a") == "HELLO A"


def test_a_module_without_patches_is_left_alone(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "louder")])
    stranger = ModuleType("stub_stranger")
    stranger.greet = greet
    registry.apply(stranger)
    assert stranger.greet is greet


def test_missing_symbol_leaves_upstream_usable_and_names_path_and_versions(upstream, capsys):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("moved", "louder"), patch("greet", "louder")])
    registry.apply(upstream)
    assert upstream.greet("a") == "HELLO A", "the other patch of the module is applied all the same"
    assert "stub_upstream.moved does not exist in pytest" in capsys.readouterr().err
    with pytest.raises(ImportError) as caught:
        registry.require()
    assert "stub_upstream.moved" in str(caught.value)
    assert registry.found_version in str(caught.value) and "seen in 1.0" in str(caught.value)


def test_unsupported_version_applies_nothing_but_the_guard(upstream, capsys):
    patches = [patch("greet", "louder"), patch("other", "louder", any_version=True)]
    registry = Registry(DISTRIBUTION, "<1", patches)
    registry.apply(upstream)
    assert upstream.greet is greet and upstream.other("a") == "HELLO A"
    assert "outside the supported range <1" in capsys.readouterr().err
    with pytest.raises(ImportError, match="outside the supported range <1"):
        registry.require()


def test_a_replacement_that_raises_is_reported_not_raised(upstream, capsys):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "broken")])
    registry.apply(upstream)
    assert upstream.greet is greet
    assert "no replacement today" in capsys.readouterr().err
    assert state(registry) == {"greet": "failed"}
    with pytest.raises(ImportError, match="no replacement today"):
        registry.require()


def test_run_patch_holds_inside_the_block_only_also_after_an_error(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "shout", "run")])
    assert state(registry) == {"greet": "ready"}
    with registry.rebound("run"):
        assert upstream.greet is shout
    assert upstream.greet is greet
    with pytest.raises(KeyError), registry.rebound("run"):
        raise KeyError("inside")
    assert upstream.greet is greet


def test_run_refuses_to_start_when_a_name_moved(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "shout", "run"), patch("gone", "shout", "run")])
    with pytest.raises(ImportError, match="stub_upstream.gone"), registry.rebound("run"):
        pytest.fail("the block must not run")
    assert upstream.greet is greet


def test_require_reports_every_problem_at_once(upstream):
    patches = [patch("gone", "shout", "run"), patch("lost", "shout", "run"), patch("greet", "louder")]
    with pytest.raises(ImportError) as caught:
        Registry(DISTRIBUTION, SUPPORTED, patches).require()
    text = str(caught.value)
    assert "stub_upstream.gone" in text and "stub_upstream.lost" in text
    assert "stub_upstream.greet was imported before the start-up hook" in text
    assert "resonance doctor" in text


def test_two_patches_of_one_target_conflict():
    with pytest.raises(ValueError, match="two patches rebind stub_upstream.greet"):
        Registry(DISTRIBUTION, SUPPORTED, [patch("greet", "louder"), patch("greet", "shout", "run")])


def test_an_absent_distribution_is_outside_any_range(upstream):
    registry = Registry("no-such-distribution", ">=0", [patch("greet", "louder")])
    assert registry.found_version == "not installed" and not registry.version_supported()


def test_parameter_names_skip_self():
    class Thing:
        def __init__(self, first, second=None):
            pass

    assert parameter_names(Thing) == ("first", "second")
    assert parameter_names(greet) == ("name",)
