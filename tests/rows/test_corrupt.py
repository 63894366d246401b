# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Corrupted images follow from seed and row alone, keep their size, and are the third block of a batch."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from resonance.rows.corrupt import _KEPT, Corrupter
from resonance.rows.fields import ROW, SOURCE
from resonance.rows.plan import CORRUPTIONS, RowPlan


def ramp(size=(60, 40)):
    """An image whose red channel is its column and whose green channel is its row."""
    image = Image.new("RGB", size)
    image.putdata([(x, y, 7) for y in range(size[1]) for x in range(size[0])])
    return image


def row(number, *images, source="pairs.json"):
    return {SOURCE: source, ROW: number, "images": list(images)}


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_the_same_for_a_row_and_another_for_others(how):
    corrupt = Corrupter(how, 3)
    (first,), (second,) = corrupt(row(0, ramp())), corrupt(row(1, ramp()))
    again = Corrupter(how, 3)
    again(row(5, ramp()))
    assert again(row(0, ramp()))[0].tobytes() == first.tobytes(), "whatever was drawn before"
    assert first.size == (60, 40) and first.mode == "RGB" and first.tobytes() != ramp().tobytes()
    others = [second, Corrupter(how, 4)(row(0, ramp()))[0], corrupt(row(0, ramp(), source="more.json"))[0]]
    assert all((other.tobytes() == first.tobytes()) is (how == "blank") for other in others)
    twice = corrupt(row(0, ramp(), ramp()))
    assert twice[0].tobytes() == first.tobytes() and (twice[1].tobytes() == first.tobytes()) is (how == "blank")


def test_a_crop_shows_up_to_a_fifth():
    shares = []
    for number in range(40):
        (image,) = Corrupter("crop", 0)(row(number, ramp()))
        red, green = (image.getchannel(channel).getextrema() for channel in "RG")
        shares.append((red[1] - red[0] + 1) * (green[1] - green[0] + 1) / 2400)
    assert max(shares) <= 0.22 and min(shares) < 0.05 and len({round(share, 3) for share in shares}) > 20
    (thin,) = Corrupter("crop", 0)(row(0, ramp((60, 1))))
    assert thin.size == (60, 1)


def test_noise_is_in_no_image_and_blank_is_black():
    (noise,), (blank,) = (Corrupter(how, 0)(row(0, ramp())) for how in ("noise", "blank"))
    assert len(set(noise.tobytes())) == 256 and set(blank.tobytes()) == {0}


def test_diffusion_leaves_an_image_under_noise():
    """By the schedule of CHiP's code, of which half of the steps leave 0.7448 of an image's variance."""
    assert pytest.approx(0.744799, abs=1e-6) == _KEPT
    (noisy,) = Corrupter("diffusion", 0)(row(0, Image.new("RGB", (200, 200), (140, 127, 110))))
    red = np.asarray(noisy)[..., 0]
    # the distance from CLIP's mean, 122.77, times sqrt(0.7448); noise of sqrt(0.2552) times CLIP's deviation, 68.5
    assert red.mean() == pytest.approx(122.77 + 0.86302 * 17.23, abs=0.7) and red.std() == pytest.approx(34.6, abs=0.7)


def test_images_in_every_form(tmp_path):
    ramp().save(tmp_path / "ramp.png")
    raw = (tmp_path / "ramp.png").read_bytes()
    forms = str(tmp_path / "ramp.png"), raw, {"bytes": raw, "path": None}, Image.open(io.BytesIO(raw))
    found = {Corrupter("crop", 0)(row(0, form))[0].tobytes() for form in forms}
    assert len(found) == 1


def test_the_third_block_is_the_chosen_one_beside_corrupted_images(data, load, make_pair, tokenizer_module):
    from resonance.rows.collate import PreferenceCollator

    for number in range(3):
        ramp((56, 84)).rotate(90 * number, expand=True).save(data.folder / "images" / f"{number}.png")
    data.write([make_pair(number) for number in range(3)])
    loaded = load(needs=("images",))
    settings = {"template": loaded.template, "pad_to_multiple_of": 8, **tokenizer_module}
    plain, ours = PreferenceCollator(**settings), PreferenceCollator(**settings)
    ours.corrupt = Corrupter("crop", 7)
    rows = list(loaded.train)
    batch, usual = ours(rows), plain(rows)
    for name in ("input_ids", "labels", "attention_mask"):
        assert torch.equal(batch[name][:6], usual[name]) and torch.equal(batch[name][6:], usual[name][:3]), name
    assert torch.equal(batch["image_grid_thw"][6:], usual["image_grid_thw"][:3])
    patches = len(usual["pixel_values"])
    assert torch.equal(batch["pixel_values"][:patches], usual["pixel_values"])
    changed = [{**each, "images": ours.corrupt(each)} for each in rows]
    assert torch.equal(batch["pixel_values"][patches:], plain(changed)["pixel_values"][: patches // 2])


def test_rows_without_an_image_are_named(data, load, make_pair):
    rows = [make_pair(number) for number in range(3)]
    rows[1] |= {"instruction": "Which colour?", "images": []}
    data.write(rows)
    with pytest.raises(ValueError, match=r"pairs.json, row 1: it has no image[\s\S]*leave such rows out"):
        load(needs=("images",))
    assert len(load().train) == 3


def test_a_text_only_template_shows_no_image(data, load, make_pair):
    data.write([make_pair(0) | {"instruction": "Which colour?"}])
    with pytest.raises(ValueError, match="row 0: its images are not shown by a text-only template"):
        load(needs=("images",), template="qwen")
    assert RowPlan(needs_scores=False, needs_images=True).for_evaluation().needs_images
