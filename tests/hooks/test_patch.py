# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The patch mechanism against stub modules: promises kept without the framework."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from resonance.hooks.patch import Patch, parameter_names, takes
from resonance.hooks.registry import Registry

# The stub distribution is pytest itself: installed wherever this runs, with a version to compare.
DISTRIBUTION, SUPPORTED, TESTED = "pytest", ">=1", ("9999",)


def greet(name="you"):
    return f"hello {name}"


def louder(original):
    """Replacement that is always in force: takes the original."""

    def wrapper(name="you"):
        return original(name).upper()

    return wrapper


def broken(original):
    raise RuntimeError("no replacement today")


def shout(name="you"):
    """Replacement during a run."""
    return f"HEY {name}"


def patch(name: str, replacement: str, scope: str = "arguments", **changes) -> Patch:
    """A patch; of the scope that the tests use for what is always in force, it is so."""
    declared = {"parameters": ("name",), "why": "a test", "versions": ("1.0",), "remove_when": "never"}
    declared["always"] = scope == "arguments"
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
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "louder")])
    assert registry.targets() == {"stub_upstream"}
    assert state(registry) == {"greet": "pending"}
    registry.apply(upstream)
    first = upstream.greet
    registry.apply(upstream)
    assert upstream.greet is first and upstream.greet("a") == "HELLO A" and upstream.other is greet
    assert state(registry) == {"greet": "applied"}


def test_a_reloaded_module_is_patched_again(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "louder")])
    registry.apply(upstream)
    upstream.greet = greet  # what importlib.reload does
    registry.apply(upstream)
    assert upstream.greet("a") == "HELLO A"


def test_a_module_without_patches_is_left_alone(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "louder")])
    stranger = ModuleType("stub_stranger")
    stranger.greet = greet
    registry.apply(stranger)
    assert stranger.greet is greet


def test_missing_symbol_leaves_upstream_usable_and_names_path_and_versions(upstream, capsys):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("moved", "louder"), patch("greet", "louder")])
    registry.apply(upstream)
    assert upstream.greet("a") == "HELLO A", "the other patch of the module is applied all the same"
    assert "stub_upstream.moved does not exist in pytest" in capsys.readouterr().err
    with pytest.raises(ImportError) as caught:
        registry.require("arguments")
    assert "stub_upstream.moved" in str(caught.value)
    assert registry.found_version in str(caught.value) and "seen in 1.0" in str(caught.value)


def test_unsupported_version_applies_nothing_but_the_guard(upstream, capsys):
    patches = [patch("greet", "louder"), patch("other", "louder", any_version=True)]
    registry = Registry(DISTRIBUTION, "<1", TESTED, patches)
    registry.apply(upstream)
    assert upstream.greet is greet and upstream.other("a") == "HELLO A"
    assert "outside the supported range <1" in capsys.readouterr().err
    assert not registry.holds("arguments")
    with pytest.raises(ImportError, match="outside the supported range <1"):
        registry.require("arguments")


def test_what_all_patches_fail_of_is_printed_once(upstream, capsys):
    registry = Registry(DISTRIBUTION, "<1", TESTED, [patch("greet", "louder"), patch("other", "louder")])
    registry.apply(upstream)
    registry.apply(upstream)
    assert capsys.readouterr().err.count("[resonance] patch not applied: ") == 1
    assert state(registry) == {"greet": "failed", "other": "failed"}


def test_a_replacement_that_raises_is_reported_not_raised(upstream, capsys):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "broken")])
    registry.apply(upstream)
    assert upstream.greet is greet
    assert "no replacement today" in capsys.readouterr().err
    assert state(registry) == {"greet": "failed"}
    with pytest.raises(ImportError, match="no replacement today"):
        registry.require("arguments")


def test_run_patch_holds_inside_the_block_only_also_after_an_error(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "shout", "rows")])
    assert state(registry) == {"greet": "ready"}
    with registry.rebound("rows"):
        assert upstream.greet is shout
    assert upstream.greet is greet
    with pytest.raises(KeyError), registry.rebound("rows"):
        raise KeyError("inside")
    assert upstream.greet is greet


def test_run_refuses_to_start_when_a_name_moved(upstream):
    registry = Registry(
        DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "shout", "rows"), patch("gone", "shout", "rows")]
    )
    with pytest.raises(ImportError, match="stub_upstream.gone"), registry.rebound("rows"):
        pytest.fail("the block must not run")
    assert upstream.greet is greet


def test_require_reports_every_problem_at_once(upstream):
    patches = [patch("gone", "shout", "rows"), patch("lost", "shout", "rows"), patch("greet", "louder")]
    with pytest.raises(ImportError) as caught:
        Registry(DISTRIBUTION, SUPPORTED, TESTED, patches).require("arguments", "rows")
    text = str(caught.value)
    assert "stub_upstream.gone" in text and "stub_upstream.lost" in text
    assert "stub_upstream.greet was imported before the start-up hook" in text
    assert "resonance doctor" in text


def test_only_the_scopes_of_a_run_have_to_hold(upstream):
    registry = Registry(
        DISTRIBUTION, SUPPORTED, TESTED, [patch("gone", "shout", "trainer"), patch("greet", "shout", "rows")]
    )
    with registry.rebound("rows"):
        assert upstream.greet is shout
    with pytest.raises(ImportError, match="stub_upstream.gone"):
        registry.require("rows", "trainer")


def test_a_run_goes_without_an_optional_patch_and_warns_once(upstream):
    patches = [patch("gone", "shout", "rows", optional=True), patch("greet", "shout", "rows")]
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, patches)
    with registry.rebound("rows"):
        assert upstream.greet is shout and not hasattr(upstream, "gone")
    (warning,) = registry.warnings("rows")
    assert warning.startswith("stub_upstream.gone does not exist in pytest")
    assert warning.endswith("The run goes without this: a test.")
    assert registry.warnings("arguments") == []


def other(first, name="you"):
    return name


class Thing:
    def __init__(self, name, size=1):
        pass


class OtherThing:
    def __init__(self, size, name):
        pass


@pytest.mark.parametrize(("found", "shown"), [(other, "(first, name)"), (OtherThing, "(size, name)")])
@pytest.mark.parametrize("scope", ["arguments", "rows"])
def test_another_signature_is_a_failed_patch_with_both_in_the_message(upstream, capsys, found, shown, scope):
    upstream.greet = found
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "louder", scope)])
    registry.apply(upstream)
    assert upstream.greet is found
    with pytest.raises(ImportError) as caught:
        registry.require(scope)
    assert f"stub_upstream.greet takes {shown} in pytest" in str(caught.value)
    assert "where (name) was seen in 1.0" in str(caught.value)
    assert state(registry) == {"greet": "failed"}


def test_further_parameters_and_wrappers_of_others_are_taken(upstream):
    assert takes(greet, ("name",)) and takes(Thing, ("name",)) and takes(Thing, ())
    assert takes(lambda *args, **kwargs: None, ("name",))
    assert takes(lambda name, *args: None, ("name", "size"))
    assert not takes(lambda first, *args: None, ("name",)) and not takes(greet, ("name", "size"))


def test_an_unknown_scope_is_an_error(upstream):
    registry = Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "shout", "rows")])
    with pytest.raises(ValueError, match="'row' is not a scope of patches; scopes: arguments, launcher"):
        registry.require("row")
    with pytest.raises(ValueError, match="'row' is not a scope"), registry.rebound("row"):
        pytest.fail("the block must not run")
    with pytest.raises(ValueError, match="'run' is not a scope"):
        Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "shout", "run")])


@pytest.mark.parametrize(
    ("found", "newer"), [("0.9.5", False), ("0.9.6.dev0", True), ("0.9.4", False), ("0.9.10", True)]
)
def test_an_upstream_newer_than_tested_is_named_in_one_warning(upstream, monkeypatch, found, newer):
    monkeypatch.setattr("resonance.hooks.registry.version", lambda name: found)
    registry = Registry("llamafactory", ">=0.9.4", ("0.9.4", "0.9.5"), [patch("greet", "shout", "rows")])
    assert bool(registry.untested()) is newer
    assert len(registry.warnings("rows")) == newer
    if newer:
        assert (
            f"llamafactory {found} is newer than what Resonance was tested with (0.9.4, 0.9.5)" in registry.untested()
        )
    with registry.rebound("rows"):  # it runs all the same
        assert upstream.greet is shout


def test_two_patches_of_one_target_conflict():
    with pytest.raises(ValueError, match="two patches rebind stub_upstream.greet"):
        Registry(DISTRIBUTION, SUPPORTED, TESTED, [patch("greet", "louder"), patch("greet", "shout", "rows")])


def test_an_absent_distribution_is_outside_any_range(upstream):
    registry = Registry("no-such-distribution", ">=0", TESTED, [patch("greet", "louder")])
    assert registry.found_version == "not installed" and not registry.version_supported()


def test_parameter_names_skip_self():
    class Thing:
        def __init__(self, first, second=None):
            pass

    assert parameter_names(Thing) == ("first", "second")
    assert parameter_names(greet) == ("name",)
