# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Pictures: written once each, kept as they are where they can be, else made plain; others referenced in place."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy
import pytest
from PIL import Image

from importers.case import picture
from resonance.importers.images import Media
from resonance.importers.spec import Skip


def media(tmp_path: Path, **settings: object) -> Media:
    return Media(tmp_path / "out" / "set_images", tmp_path / "out", **settings)  # type: ignore[arg-type]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(tmp_path: Path, path: str) -> Image.Image:
    return Image.open(tmp_path / "out" / path)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (picture(1, "JPEG"), ".jpg"),
        (picture(1, "JPEG", "L"), ".jpg"),
        (picture(1, "PNG"), ".png"),
        (picture(1, "PNG", "P"), ".png"),
        (picture(1, "PNG", "RGBA"), ".png"),
        (saved(Image.new("RGB", (30, 30)), "MPO", save_all=True, append_images=[Image.new("RGB", (30, 30))]), ".jpg"),
    ],
    ids=["jpeg", "grey jpeg", "png", "palette", "rgba", "mpo"],
)
def test_jpeg_and_png_stay_as_they_are(data: bytes, suffix: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(data).hexdigest()[:24]
    path = media(tmp_path).image({"bytes": data, "path": "x.tiff"}, None)
    assert path == f"set_images/{digest[:2]}/{digest}{suffix}"
    assert (tmp_path / "out" / path).read_bytes() == data


@pytest.mark.parametrize(
    ("data", "kind", "mode"),
    [
        (picture(1, "JPEG", "CMYK"), "JPEG", "RGB"),
        (picture(1, "WEBP"), "JPEG", "RGB"),
        (picture(1, "GIF", "P"), "PNG", "RGB"),
        (picture(1, "BMP"), "PNG", "RGB"),
        (picture(1, "TIFF", "CMYK"), "PNG", "RGB"),
        (picture(1, "TIFF", "1"), "PNG", "L"),
        (picture(1, "PNG", "I;16"), "PNG", "L"),
    ],
    ids=["cmyk jpeg", "webp", "gif", "bmp", "cmyk tiff", "black and white tiff", "16 bits"],
)
def test_others_are_made_plain(data: bytes, kind: str, mode: str, tmp_path: Path) -> None:
    with opened(tmp_path, media(tmp_path).image(data, None)) as image:
        assert (image.format, image.mode, image.size) == (kind, mode, (56, 56))


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    data = saved(Image.new("RGB", (56, 56), (200, 30, 60)).convert("CMYK"), "JPEG")
    with opened(tmp_path, media(tmp_path).image(data, None)) as image:
        assert numpy.abs(numpy.asarray(image).astype(int) - (200, 30, 60)).max() <= 6


def test_16_bits_keep_their_range(tmp_path: Path) -> None:
    values = numpy.linspace(0, 65535, 256).astype("uint16").reshape(16, 16)
    with opened(tmp_path, media(tmp_path).image(saved(Image.fromarray(values), "PNG"), None)) as image:
        assert (numpy.asarray(image) == values // 256).all()


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with opened(tmp_path, media(tmp_path).image(data, None)) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("PNG", 1)
        assert image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_format_that_was_asked_for(kind: str, tmp_path: Path) -> None:
    store = media(tmp_path, format=kind)
    clear = saved(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG")
    paths = [store.image(data, None) for data in (picture(1, "PNG"), picture(1, "JPEG"), clear)]
    for path in paths:
        with opened(tmp_path, path) as image:
            assert image.format == kind.upper()
    with opened(tmp_path, paths[2]) as image:  # what is transparent is white, not the black below
        assert (image.mode, image.getpixel((3, 3))) == ("RGB", (255,) * 3)


def test_a_format_that_was_asked_for_holds_for_files_too(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture(1))
    with opened(tmp_path, media(tmp_path, format="jpeg").image("1.png", tmp_path)) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize("data", [picture(1, "JPEG"), picture(1, "WEBP")], ids=["kept", "made plain"])
def test_one_picture_is_written_once(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out" / media(tmp_path).image(data, None)
    before = path.stat().st_mtime_ns
    assert media(tmp_path).image(data, None) == path.relative_to(tmp_path / "out").as_posix()
    assert path.stat().st_mtime_ns == before
    assert len(list((tmp_path / "out").rglob("*.*"))) == 1


def test_half_of_a_picture_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "out" / media(tmp_path).image(picture(1), None)
    path.write_bytes(picture(1)[:20])
    media(tmp_path).image(picture(1), None)
    assert path.read_bytes() == picture(1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_embedded_pictures_that_are_cut_short(kind: str, tmp_path: Path) -> None:
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8"))
    data = saved(noise, kind)
    with pytest.raises(Skip) as skip:
        media(tmp_path).image(data[: len(data) * 2 // 3], None)
    assert skip.value.reason == "image cannot be opened"
    assert not (tmp_path / "out").exists()


def test_references_in_place(tmp_path: Path) -> None:
    inside, outside = tmp_path / "out" / "pictures" / "1.png", tmp_path / "raw" / "1.png"
    for path in (inside, outside):
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(1))
    assert media(tmp_path).image("pictures/1.png", tmp_path / "out") == "pictures/1.png"
    assert media(tmp_path).image("1.png", tmp_path / "raw") == str(outside)
    assert media(tmp_path).image({"bytes": None, "path": "1.png"}, tmp_path / "raw") == str(outside)
    assert media(tmp_path).image(str(outside), tmp_path / "raw") == str(outside)
    assert media(tmp_path, root=tmp_path).image("raw\\1.png", None) == str(outside)
    assert media(tmp_path, root=tmp_path).image(str(outside), None) == str(outside)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pictures"]


def test_missing_files_that_are_allowed(tmp_path: Path) -> None:
    store = media(tmp_path, root=tmp_path / "later", allow_missing=True)
    assert store.image("a/1.png", None) == str(tmp_path / "later" / "a" / "1.png")
    assert store.video("a/1.mp4", None) == str(tmp_path / "later" / "a" / "1.mp4")
    with pytest.raises(Skip, match="climbs out"):
        store.image("../1.png", None)


def test_a_path_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Skip, match="the row has a path, not the image itself.*--image-root"):
        media(tmp_path).image("1.png", None)


def test_videos(tmp_path: Path) -> None:
    for name in ("1.mp4", "f1.png", "f2.png"):
        (tmp_path / name).write_bytes(picture(1))
    store = media(tmp_path)
    assert store.video("1.mp4", tmp_path) == str(tmp_path / "1.mp4")
    assert store.video(["f1.png", "f2.png"], tmp_path) == [str(tmp_path / "f1.png"), str(tmp_path / "f2.png")]
    for bad, reason in (
        ([], "without frames"),
        (3, "neither a path"),
        ("2.mp4", "video missing"),
        (["x.png"], "image m"),
    ):
        with pytest.raises(Skip, match=reason):
            store.video(bad, tmp_path)


SIGN = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
SIGN.paste((0, 0, 0, 255), (0, 0, 20, 20))
RED_PART = Image.new("RGB", (40, 20), "red")
RED_PART.paste((0, 0, 255), (0, 0, 20, 20))
TURNED = Image.Exif()
TURNED[0x0112] = 6
ONE_PICTURE = {
    "rgba": saved(SIGN, "PNG"),
    "la": saved(SIGN.convert("LA"), "PNG"),
    "palette": saved(SIGN.convert("P"), "PNG", transparency=SIGN.convert("P").getpixel((30, 10))),
    "webp": saved(SIGN, "WEBP", lossless=True),
    "opaque": saved(RED_PART.convert("RGBA"), "PNG"),
    "turned": saved(RED_PART, "JPEG", quality=95, exif=TURNED),
    "cmyk": saved(RED_PART.convert("CMYK"), "JPEG", quality=95),
    "16 bit": saved(Image.new("I;16", (40, 20), 40_000), "PNG"),
}


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_a_picture_is_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    """Up to JPEG's loss, training sees the same pixels whatever `--image-format` is."""
    seen = {}
    for kind in ("keep", "png", "jpeg"):
        path = media(tmp_path / kind, format=kind, copy=True).image(ONE_PICTURE[name], None)
        with opened(tmp_path / kind, path) as image:
            seen[kind] = numpy.asarray(image.convert("RGB"), dtype=int)
    for kind in ("png", "jpeg"):
        assert seen[kind].shape == seen["keep"].shape
        away = abs(seen[kind] - seen["keep"])[2:-2, [3, 8, 30, 36]]  # from the edge between the two colours
        assert away.max() <= (0 if kind == "png" and name not in ("turned", "cmyk", "webp") else 4)
    if name in ("rgba", "la", "palette", "webp"):
        assert seen["keep"][10, 30].min() > 250 and seen["keep"][10, 5].max() < 5


def test_only_the_formats_of_pictures_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript on an EPS file, whatever it is called."""
    from PIL import EpsImagePlugin

    def started(*arguments: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    data = saved(RED_PART, "EPS")
    (tmp_path / "a.png").write_bytes(data)
    for store in (media(tmp_path), media(tmp_path, copy=True), media(tmp_path, format="png")):
        for reference in (data, "a.png"):
            with pytest.raises(Skip, match="image cannot be opened"):
                store.image(reference, tmp_path)
