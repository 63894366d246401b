# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The page in a browser: keys, filters, order, flags, and data that would be markup elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser import opened
from resonance.cli.main import main
from resonance.datafiles.flags import flags_file, read_flags, swapped
from resonance.datafiles.write import write_rows
from view.conftest import pair

SCORED = {name: name for name in ("chosen", "rejected", "score_chosen", "score_rejected")}
UGLY = (
    "<script>window.hit=1</script><img src=x onerror='window.hit=1'> &lt;b&gt; &amp; [a](javascript:window.hit=1) "
    "![p](http://example.invalid/p.png) $$\\frac{a}{b}$$ **bold** </div></textarea>"
)


def at(page: Any, number: int) -> None:
    """Wait until a row is shown."""
    page.wait_for_selector(f"body[data-row='{number}']")


def told(page: Any, selector: str, text: str | re.Pattern[str]) -> None:
    """Wait until an element holds a text."""
    page.locator(selector, has_text=text).wait_for()


def test_keys_page_filter_sort_and_flag(pairs: Path, served: Any) -> None:
    flags = flags_file(pairs)
    with opened(served(pairs).url) as page:
        at(page, 0)
        assert page.inner_text("#count") == "1 of 12" and page.inner_text("#kind") == "12 pairs"
        for key, number in (("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0), ("End", 11), ("Home", 0)):
            page.keyboard.press(key)
            at(page, number)
        chosen = page.inner_text("#answers .chosen .text")
        assert chosen == pair(0)["chosen"]
        assert page.locator("#answers .chosen .only").all_inner_texts() == ["0", "large"]
        assert page.locator("#answers .rejected .only").all_inner_texts() == ["1", "small"]
        page.wait_for_selector("#media img.small")  # it is there, and so small that it is shown in blocks

        page.fill("#text", "TRULY. truly. truly. Truly. Truly. Truly. Truly. Truly. Truly.")
        page.keyboard.press("Enter")
        at(page, 9)
        assert page.inner_text("#count") == "1 of 3 (filtered from 12)"
        page.click("button[type=reset]")
        told(page, "#count", re.compile("of 12$"))
        page.select_option("#source", "odd")
        told(page, "#count", "of 6 (filtered from 12)")
        page.fill("#low", "3")
        page.keyboard.press("Enter")  # rows 5, 7 and 9
        told(page, "#count", "of 3 (filtered")
        page.click("button[type=reset]")
        told(page, "#count", re.compile("of 12$"))
        page.select_option("#sort", "length")
        page.check("#down")
        page.keyboard.press("Home")
        at(page, 11)

        page.keyboard.press("3")
        told(page, "#state", "swap on row 11; 1 in")
        assert [(flag.row, flag.flag) for flag in read_flags(flags).values()] == [(11, "swap")]
        page.fill("#jump", "4")
        page.keyboard.press("Enter")
        at(page, 4)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("f")
        page.wait_for_selector("[data-reason=bad_pair][aria-pressed=true]")
        page.keyboard.press("n")
        page.keyboard.type("both are wrong")
        page.keyboard.press("Enter")
        told(page, "#state", "2 in")
        page.keyboard.press("k")  # longest first
        page.keyboard.press("2")  # for the row to come, although it is not there yet
        at(page, 5)
        page.wait_for_selector("[data-reason=wrong_image][aria-pressed=true]")
        told(page, "#state", "wrong_image on row 5; 3 in")
        page.keyboard.press("u")
        page.wait_for_selector("[data-reason=wrong_image][aria-pressed=false]")
        page.select_option("#flagged", "any")
        told(page, "#count", "of 2 (filtered from 12)")
    found = {flag.row: (flag.flag, flag.note) for flag in read_flags(flags).values()}
    assert found == {11: ("swap", ""), 4: ("bad_pair", "both are wrong")}

    clean = pairs.with_name("clean.json")
    command = ["data", "check", str(pairs), "--dataset-dir", str(pairs.parent), "--fix", str(clean), "--flags"]
    assert main([*command, str(flags)]) == 0
    rows = [pair(number) for number in range(12) if number != 4]
    assert json.loads(clean.read_text()) == [*rows[:-1], swapped(rows[-1], SCORED)]


def test_markup_in_data_is_text_and_nothing_is_fetched(tmp_path: Path, served: Any) -> None:
    name = "<img src=x onerror=window.hit=1>.png"
    Image.new("RGB", (20, 20)).save(tmp_path / name)
    row = pair(0, instruction=UGLY, chosen=UGLY + " one", rejected=UGLY + " two", images=[name, UGLY], source=UGLY)
    write_rows(tmp_path / "<b>.json", [row | {UGLY: UGLY}, pair(1)])
    asked: list[str] = []
    server = served(tmp_path / "<b>.json", problems={0: [("bad score", UGLY)]})
    with opened("about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        at(page, 0)
        page.wait_for_selector(".placeholder")
        assert page.title() == "<b>.json" and page.inner_text("#name") == "<b>.json"
        assert page.locator("#turns .text").text_content() == UGLY
        assert page.locator("#answers .text").all_text_contents() == [UGLY + " one", UGLY + " two"]
        assert page.locator("#others td").all_text_contents() == ["source", UGLY, UGLY, UGLY]
        assert page.locator("#media figcaption").first.text_content() == name
        assert page.locator(".placeholder").text_content().startswith(UGLY)
        assert page.locator("#problems").text_content() == f"bad score: {UGLY}"
        assert UGLY in page.locator("#source option").all_text_contents()
        page.fill("#note", UGLY)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("f")
        page.wait_for_selector("[data-reason=bad_pair][aria-pressed=true]")
        assert page.evaluate("window.hit") is None
        assert page.evaluate("document.scripts.length") == 1
        assert page.locator("main b, main script, main a, main iframe").count() == 2  # the two scores
    assert asked and all(url.startswith(server.url) for url in asked)


def test_a_missing_picture_has_a_placeholder_with_its_path_and_the_cure(pairs: Path, served: Any) -> None:
    write_rows(pairs, [pair(0, images=["images/gone.png"]), pair(1, images=["http://example.invalid/a.png"])])
    with opened(served(pairs).url) as page:
        at(page, 0)
        text = page.inner_text(".placeholder")
        assert "images/gone.png: not there, neither below" in text and "--media-dir FOLDER" in text
        page.keyboard.press("j")
        at(page, 1)
        told(page, ".placeholder", "is an address")


def test_flags_without_a_row_are_named_and_can_be_forgotten(pairs: Path, served: Any) -> None:
    served(pairs).session.flag(3, "bad_pair", "")
    write_rows(pairs, [pair(number, chosen="Changed.") for number in range(4)])
    with opened(served(pairs).url) as page:
        at(page, 0)
        assert "1 flag without a row: row 3 (bad_pair)" in page.inner_text("#warning")
        page.click("#forget")
        page.wait_for_selector("#warning", state="hidden")
    assert read_flags(flags_file(pairs)) == {}


@pytest.mark.parametrize(
    ("rows", "kind", "shown"),
    [
        (
            [{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"},
              {"role": "assistant", "content": "4"}], "label": True}],
            "labelled answers", ["system", "Be brief.", "user", "2 + 2?", "answer", "4", "label good"],
        ),
        ([{"instruction": "2 + 2?", "output": "4"}], "answers", ["user", "2 + 2?", "answer", "4"]),
        ([{"prompt": "2 + 2?", "answer": "4", "source": "sums"}], "prompts", ["user", "2 + 2?", "4", "sums"]),
    ],
)  # fmt: skip
def test_other_kinds_of_sets(tmp_path: Path, served: Any, rows: list[Any], kind: str, shown: list[str]) -> None:
    write_rows(tmp_path / "set.jsonl", rows)
    with opened(served(tmp_path / "set.jsonl").url) as page:
        at(page, 0)
        assert page.inner_text("#kind") == f"1 {kind}"
        text = page.inner_text("#content")
        assert [part for part in shown if part not in text] == []
        assert page.locator("[data-reason=swap]").count() == 0 and not page.is_visible("#legend")
