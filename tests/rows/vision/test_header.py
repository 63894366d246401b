# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Sizes from headers: every kind of source and format, files that change, and files that are not whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resonance.rows.vision.header import SizedImage, SizedImages, image_size

from .conftest import Case, outcome

WIDTH, HEIGHT = SIZE = 90, 61


def noise(mode: str = "RGB") -> Image.Image:
    """An image that compresses badly, so that half a file is half an image."""
    chance = random.Random(0)
    return Image.frombytes("RGB", SIZE, chance.randbytes(WIDTH * HEIGHT * 3)).convert(mode)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    noise().save(path, exif=exif)


# file name -> how it is written
FILES: dict[str, Callable[[Path], None]] = {
    "plain.jpg": lambda path: noise().save(path),
    "progressive.jpg": lambda path: noise().save(path, progressive=True),
    "cmyk.jpg": lambda path: noise("CMYK").save(path),
    "grey.jpg": lambda path: noise("L").save(path),
    "turned.jpg": turned,
    "padded.jpg": lambda path: (noise().save(path), path.write_bytes(path.read_bytes() + bytes(100)))[0],
    "two.mpo": lambda path: noise().save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))]),
    "plain.png": lambda path: noise().save(path),
    "palette.png": lambda path: noise("P").save(path),
    "see_through.png": lambda path: noise("RGBA").save(path),
    "deep.png": lambda path: Image.frombytes("I;16", SIZE, noise().tobytes()[: 2 * WIDTH * HEIGHT]).save(path),
    "bits.png": lambda path: noise("1").save(path),
    "animated.png": lambda path: noise().save(path, save_all=True, append_images=[noise(), noise()]),
    "animated.gif": lambda path: noise("P").save(path, save_all=True, append_images=[noise("P")]),
    "plain.webp": lambda path: noise().save(path),
    "animated.webp": lambda path: noise().save(path, save_all=True, append_images=[noise()]),
    "plain.bmp": lambda path: noise().save(path),
    "plain.tiff": lambda path: noise().save(path),
    "squeezed.tiff": lambda path: noise().save(path, compression="tiff_lzw"),
    "icon.ico": lambda path: noise().save(path, sizes=[(16, 16), (48, 32)]),
    "a jpeg named.png": lambda path: noise().save(path, "JPEG"),
}
QUESTION = [{"role": "user", "content": "<image>What is this?"}]


def decoded_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.convert("RGB").size


@pytest.mark.parametrize("name", FILES)
def test_size_is_that_of_the_decoded_image(name: str, tmp_path: Path, shared: Case, counter: Any) -> None:
    path = tmp_path / name
    FILES[name](path)
    whole = path.read_bytes()
    expected = decoded_size(path)
    with Image.open(path) as opened:
        for source in (str(path), whole, {"bytes": whole, "path": None}, {"bytes": None, "path": str(path)}, opened):
            assert image_size(source) == expected
    assert expected == SIZE or name == "icon.ico"
    assert counter.process_messages(QUESTION, [str(path)], [], []) == shared.real(QUESTION, [str(path)])


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("padded.jpg", "a jpeg named.png")])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_that_ends_early_raises_what_decoding_raises(
    name: str, part: float, tmp_path: Path, shared: Case, counter: Any
) -> None:
    path = tmp_path / name
    FILES[name](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    for source in (str(path), path.read_bytes()):
        expected = shared.real(QUESTION, [source])
        assert outcome(counter.process_messages, QUESTION, [source], [], []) == expected
        if name.startswith("plain"):
            assert isinstance(expected, type) and issubclass(expected, Exception)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory"),
        (b"", "cannot identify image file"),
        (b"<html>Not found</html>", "cannot identify image file"),
        (b"\xff\xd8\xff", "cannot identify image file"),
        (b"\x89PNG\r\n\x1a\n", "cannot identify image file"),
    ],
)
def test_no_image_raises_as_the_real_path_and_names_the_file(
    content: bytes | None, told: str, tmp_path: Path, shared: Case, counter: Any
) -> None:
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    for source in (str(path), {"bytes": None, "path": str(path)}):
        with pytest.raises(OSError, match=f"{told}.*image.png") as ours:
            counter.process_messages(QUESTION, [source], [], [])
        assert type(ours.value) is shared.real(QUESTION, [source])


@pytest.mark.parametrize("image", [None, 3, {}, {"path": "x.png"}, {"bytes": None, "path": None}, ["a.png"]])
def test_what_is_no_image_at_all_is_refused_as_ever(image: Any, shared: Case, counter: Any) -> None:
    expected = shared.real(QUESTION, [image])
    assert isinstance(expected, type)
    assert outcome(counter.process_messages, QUESTION, [image], [], []) is expected


def test_a_file_is_opened_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.png"
    noise().save(path)
    opened = []
    monkeypatch.setattr(
        Image, "open", lambda source, opener=Image.open, **more: opened.append(source) or opener(source, **more)
    )
    assert [image_size(str(path)) for _ in range(3)] == [SIZE] * 3
    assert opened == [str(path)]
    Image.new("RGB", (7, 5)).save(path)
    assert image_size(str(path)) == (7, 5)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="image.png"):
        image_size(str(path))


def test_an_open_image_can_still_be_decoded(tmp_path: Path) -> None:
    noise().save(tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as image:
        assert image_size(image) == SIZE
        assert image.convert("RGB").tobytes() == noise().tobytes()
        assert image_size(image) == SIZE


def test_a_sized_image_has_a_size_and_no_pixels() -> None:
    image = SizedImage((30, 20))
    assert (image.width, image.height, image.size, image.mode) == (30, 20, (30, 20), "RGB")
    assert image.resize((60, 5)).size == (60, 5)
    with pytest.raises(ValueError, match="must be > 0") as ours:
        image.resize((0, 20))
    with pytest.raises(type(ours.value), match=str(ours.value)):
        Image.new("RGB", (30, 20)).resize((0, 20))
    images = SizedImages([noise(), noise()])
    assert len(images) == 2 and images[1].size == SIZE and [image.size for image in images] == [SIZE] * 2
