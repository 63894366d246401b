# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A run goes on from the newest checkpoint that is whole."""

from __future__ import annotations

import pytest

from resonance.arguments.resume import resume_point


@pytest.fixture
def output_dir(tmp_path):
    """Two whole checkpoints, one with a state file cut off, one without."""
    for step, text in ((5, "{}"), (10, "{}"), (15, '{"log_hist'), (20, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    return tmp_path


@pytest.mark.parametrize("chosen", ["checkpoint-20", "checkpoint-15"])
def test_one_cut_off_while_saving_is_passed_over(output_dir, chosen):
    found, warning = resume_point(None, str(output_dir / chosen), str(output_dir))
    assert found == str(output_dir / "checkpoint-10")
    assert chosen in warning and "resuming from" in warning and "checkpoint-10" in warning


def test_a_whole_one_is_taken_as_it_is(output_dir):
    chosen = str(output_dir / "checkpoint-5")
    assert resume_point(None, chosen, str(output_dir)) == (chosen, None)
    assert resume_point(chosen, chosen, str(output_dir)) == (chosen, None)
    assert resume_point(None, None, str(output_dir)) == (None, None)
    assert resume_point(False, False, str(output_dir)) == (None, None)


def test_true_means_the_newest_whole_one(output_dir, tmp_path):
    assert resume_point(True, True, str(output_dir)) == (str(output_dir / "checkpoint-10"), None)
    with pytest.raises(ValueError, match="has no complete checkpoint"):
        resume_point(True, True, str(tmp_path / "elsewhere"))


def test_the_one_the_recipe_names_is_never_exchanged(output_dir):
    asked = str(output_dir / "checkpoint-15")
    with pytest.raises(ValueError, match=r"checkpoint-15 is no complete checkpoint(.|\n)*checkpoint-10"):
        resume_point(asked, asked, str(output_dir))
    with pytest.raises(ValueError, match="nowhere is no complete checkpoint"):
        resume_point("nowhere", "nowhere", str(output_dir))


def test_without_any_whole_one_the_run_starts_anew(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    found, warning = resume_point(None, str(tmp_path / "checkpoint-5"), str(tmp_path))
    assert found is None and "starting anew" in warning
