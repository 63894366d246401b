# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Messages counted from sizes are those that LlamaFactory makes from pixels: families, backends, limits, shapes."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import transformers
from PIL import Image, ImageFile

from resonance.rows.vision.counter import counting_from_headers, make_counter

from .conftest import SMALL, Case, make_case, outcome

FAMILIES = list(SMALL)
# (image_max_pixels, image_min_pixels): LlamaFactory's own, and limits that most images below are over or under.
LIMITS = ((768 * 768, 32 * 32), (100 * 100, 32 * 32), (320 * 320, 200 * 200), (40 * 40, 30 * 30))
AWKWARD = (
    *((1, 1), (1, 2), (2, 1), (3, 3), (1, 500), (500, 1), (3, 700), (700, 3), (27, 29), (28, 28), (29, 27)),
    *((10000, 30), (30, 4000), (5601, 28), (5600, 28), (13, 997), (997, 13), (600000, 1), (767, 769), (769, 767)),
)
# Fast and Pil are other implementations of the same processor, under names that depend on Transformers' release.
BACKENDS = [None, "Pil" if int(transformers.__version__.partition(".")[0]) >= 5 else "Fast"]


def sizes(count: int, seed: int) -> list[tuple[int, int]]:
    """Random sizes of up to 600 pixels a side, more of them small than large."""
    chance = random.Random(seed)
    return [(round(600 ** chance.random()), round(600 ** chance.random())) for _ in range(count)]


def question(images: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "<image>" * images + "What is this?"}]


def blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size)


def set_limits(case: Case, limits: tuple[int, int]) -> None:
    case.processor.image_max_pixels, case.processor.image_min_pixels = limits


def counted(counter: Any, messages: Any, images: Any, videos: Any = ()) -> Any:
    return outcome(counter.process_messages, messages, images, videos, [])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_the_real_path_for_every_size(family: str, backend: str | None) -> None:
    case = make_case(family, backend)
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    compared = 0
    for limits in LIMITS:
        set_limits(case, limits)
        for size in [*AWKWARD, *sizes(40, seed=limits[0])]:
            image = blank(size)
            assert counted(counter, question(1), [image]) == case.real(question(1), [image]), (size, limits)
            compared += 1
    assert compared == len(LIMITS) * (len(AWKWARD) + 40) > 200


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_many_images_and_of_none(family: str) -> None:
    case = make_case(family)
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    chance = random.Random(family)
    for i in range(40):
        images = [blank(size) for size in sizes(i % 5, seed=i)]
        messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
        for j in range(len(images)):
            chance.choice(messages)["content"] += f" picture {j}: <image>\n"
        before = [dict(message) for message in messages]
        assert counted(counter, messages, images) == case.real(messages, images)
        assert messages == before


@pytest.mark.parametrize("family", FAMILIES)
def test_image_tokens_are_those_of_the_placeholder(family: str) -> None:
    case = make_case(family)
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    for limits in LIMITS[:2]:  # the counter remembers sizes, but not under other limits
        set_limits(case, limits)
        for size in [(200, 100), (1, 500), (500, 1), (64, 64)]:
            expanded = case.real([{"role": "user", "content": "<image>"}], [blank(size)])
            if isinstance(expanded, type):
                with pytest.raises(expanded):
                    counter.image_tokens(size)
                continue
            text = expanded[0]["content"]
            assert counter.image_tokens(size) == len(case.processor.tokenizer(text)["input_ids"])


def test_image_tokens_of_a_worked_example(qwen: Case) -> None:
    counter = make_counter(qwen.plugin, qwen.processor)
    assert counter is not None
    # 640 x 480 -> 644 x 476 -> 46 x 34 patches of 14 -> 23 x 17 after merging 2 x 2, and a start and an end token
    assert counter.image_tokens((640, 480)) == 23 * 17 + 2


@pytest.mark.parametrize("crop_to_patches", [False, True])
@pytest.mark.parametrize("by_recipe", [False, True])
def test_tiles_as_recipe_and_processor_ask(crop_to_patches: bool, by_recipe: bool) -> None:
    case = make_case("intern_vl", crop_to_patches=crop_to_patches)
    case.processor.crop_to_patches = by_recipe
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    for size in [(32, 32), (300, 100), (100, 300), (640, 480)]:
        assert counted(counter, question(1), [blank(size)]) == case.real(question(1), [blank(size)])
    assert (counter.image_tokens((300, 100)) > 2 + 256) == (crop_to_patches or by_recipe)


@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("family", ["llava", "llava_next"])
def test_feature_selection(family: str, strategy: str) -> None:
    case = make_case(family)
    case.processor.vision_feature_select_strategy = strategy
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    assert counted(counter, question(2), [blank((90, 40))] * 2) == case.real(question(2), [blank((90, 40))] * 2)
    if family == "llava":
        assert counter.image_tokens((90, 40)) == 16 + (strategy == "full")


def test_llava_with_siglip_whose_images_are_squeezed_not_cropped() -> None:
    case = make_case("llava")
    case.processor.image_processor = transformers.SiglipImageProcessor(size={"height": 56, "width": 84})
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None
    assert counted(counter, question(1), [blank((90, 40))]) == case.real(question(1), [blank((90, 40))])


def test_a_row_with_videos_goes_the_real_way(qwen: Case, tmp_path: Path) -> None:
    frames = []
    for i in range(3):
        blank((60, 60)).save(tmp_path / f"{i}.png")
        frames.append(str(tmp_path / f"{i}.png"))
    counter = make_counter(qwen.plugin, qwen.processor)
    assert counter is not None
    messages = [{"role": "user", "content": "<image><video>What moves?"}]
    real = qwen.real(messages, [blank((80, 60))], [frames])
    assert "<|video_pad|>" in real[0]["content"]
    assert counted(counter, messages, [blank((80, 60))], [frames]) == real


def test_messages_without_the_right_placeholders_are_refused_as_ever(qwen: Case) -> None:
    counter = make_counter(qwen.plugin, qwen.processor)
    assert counter is not None
    with pytest.raises(ValueError, match="number of images does not match"):
        counter.process_messages(question(2), [blank((80, 60))], [], [])
    with pytest.raises(ValueError, match="Expect input is a list of images"):
        counter.process_messages(question(1), [7], [], [])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_decoded(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(family)
    paths = []
    for name in ("a.jpg", "b.png", "c.webp"):
        blank((640, 480)).save(tmp_path / name)
        paths.append(str(tmp_path / name))
    expected = case.real(question(3), paths)
    counter = make_counter(case.plugin, case.processor)
    assert counter is not None

    def refuse(image: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{image} is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    if family != "gemma3":  # which looks at no image, whatever its size
        with pytest.raises(AssertionError):
            case.plugin.process_messages(question(3), paths, [], [], case.processor)
    assert counter.process_messages(question(3), paths, [], []) == expected


def test_another_processor_than_the_counters_is_used_in_its_own_way(qwen: Case) -> None:
    other = make_case("qwen2_5_vl")
    set_limits(other, (100 * 100, 32 * 32))
    counter = make_counter(qwen.plugin, qwen.processor)
    assert counter is not None
    messages = counter.process_messages(question(1), [blank((640, 480))], [], [], other.processor)
    assert messages == other.real(question(1), [blank((640, 480))])
    assert messages != qwen.real(question(1), [blank((640, 480))])


def test_only_within_the_block(qwen: Case) -> None:
    image = blank((640, 480))
    expected = qwen.real(question(1), [image])
    with pytest.raises(KeyError):
        with counting_from_headers(qwen.plugin, qwen.processor) as counter:
            with counting_from_headers(qwen.plugin, qwen.processor) as again:
                assert again is counter
            assert qwen.plugin.process_messages.__self__ is counter
            assert qwen.plugin.process_messages(question(1), [image], [], [], qwen.processor) == expected
            raise KeyError
    assert "process_messages" not in vars(qwen.plugin)
    assert qwen.plugin.process_messages(question(1), [image], [], [], qwen.processor) == expected


def test_a_counter_travels_to_another_process(qwen: Case) -> None:
    counter = make_counter(qwen.plugin, qwen.processor)
    assert counter is not None
    counter.image_tokens((640, 480))
    assert pickle.loads(pickle.dumps(counter)).image_tokens((640, 480)) == counter.image_tokens((640, 480))


def wrong_count(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    method = "get_number_of_image_patches"
    monkeypatch.setattr(case.processor.image_processor, method, lambda height, width, kwargs: 4)


def no_count(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(case.processor.image_processor), "get_number_of_image_patches")


def no_resize(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case.processor.image_processor, "do_resize", False)


@pytest.mark.parametrize(
    ("spoil", "told"), [(wrong_count, "characters instead of"), (no_count, "AttributeError"), (no_resize, "Error")]
)
def test_who_disagrees_is_named_once_and_goes_the_real_way(
    spoil: Any, told: str, qwen: Case, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    spoil(qwen, monkeypatch)
    assert make_counter(qwen.plugin, qwen.processor) is None
    assert make_counter(qwen.plugin, qwen.processor) is None
    with counting_from_headers(qwen.plugin, qwen.processor) as counter:
        assert counter is None and "process_messages" not in vars(qwen.plugin)
    [warning] = [message for message in warnings if "Counting image tokens" in message]
    assert "off for Qwen2VLPlugin with Qwen2VLImageProcessor" in warning and told in warning


def test_sizes_that_depend_on_the_image_are_not_guessed(warnings: list[str]) -> None:
    case = make_case("llava", do_center_crop=False)
    assert make_counter(case.plugin, case.processor) is None
    assert any("off for LlavaPlugin" in message for message in warnings)


def test_families_without_a_counter_are_left_alone(warnings: list[str]) -> None:
    """No warning: nothing is wrong with them."""
    from llamafactory.data.template import TEMPLATES

    case = make_case("qwen2_vl")
    for template in ("qwen", "paligemma", "pixtral"):
        assert make_counter(TEMPLATES[template], case.processor) is None
    assert make_counter(TEMPLATES["qwen2_vl"], None) is None

    class Derived(type(case.plugin)):  # type: ignore[misc]
        """May count in a way of its own."""

    derived = Derived(case.plugin.image_token, case.plugin.video_token, None)
    assert make_counter(derived, case.processor) is None
    assert warnings == []


def test_pan_and_scan_gives_what_the_real_path_gives() -> None:
    case = make_case("gemma3")
    case.processor.image_do_pan_and_scan = True
    with counting_from_headers(case.plugin, case.processor):
        ours = outcome(case.plugin.process_messages, question(1), [blank((600, 200))], [], [], case.processor)
    assert ours == case.real(question(1), [blank((600, 200))])
