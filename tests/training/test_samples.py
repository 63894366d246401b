# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`completions.jsonl` and the page beside it."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace

from PIL import Image

from resonance.report.completions import CHARACTERS, COMPLETIONS, PROMPTS, ROLLOUTS
from resonance.training.experience import ExperienceSource
from resonance.training.phases import Timer, UpdateTimer
from resonance.training.samples import PageWriter, SampleLog

EVIL = "<script>alert('x')</script> & <img src=x onerror=y>"


def records(rollout, prompts=2, count=2, text="It is {}."):
    return [
        {
            "step": rollout * 4,
            "rollout": rollout,
            "row": row,
            "prompt": f"Question {row}?",
            "completion": text.format(f"{rollout}-{row}-{i}"),
            "reward": 0.5 * i,
            "rewards": {"exact": float(i), "short": None},
            "advantage": i - 0.5,
            "tokens": 5,
            "finish_reason": "length" if i else "stop",
        }
        for row in range(prompts)
        for i in range(count)
    ]


def page(log, images=lambda row: []):
    log.write_page(images)
    return log.path.with_name("completions.html").read_text(encoding="utf-8")


def started(folder):
    log = SampleLog(str(folder))
    log.start(0)
    return log


def test_the_page_shows_pictures_prompts_completions_rewards_and_advantages(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    log = started(tmp_path)
    log.add(records(3))
    pictures = {0: [str(tmp_path / "red.png")], 1: [str(tmp_path / "gone.png")]}
    text = page(log, pictures.__getitem__)
    assert text.count('src="data:image/jpeg;base64,') == 1, "one that cannot be read is left out"
    for shown in ("Rollout 3, sampled after 12 optimizer steps", "Question 0?", "It is 3-1-1.", "(cut off)"):
        assert shown in text
    assert re.search(r"<th>completion<th class=\"n\">reward<th class=\"n\">exact<th class=\"n\">short", text)
    assert re.search(r"It is 3-1-0\.<td class=\"n\">0<td class=\"n\">0<td class=\"n\">none<td class=\"n\">-0.5", text)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text), "it needs no other file"


def test_the_page_shows_what_judges_said(tmp_path):
    log = started(tmp_path)
    rows = records(0)
    rows[1]["reasons"] = {"judge": f"It is a 5. {EVIL}"}
    log.add(rows)
    text = page(log)
    assert text.count('<div class="muted">judge: It is a 5. &lt;script&gt;') == 1


def test_every_text_is_escaped(tmp_path):
    log = started(tmp_path)
    rows = records(0, text=EVIL)
    rows[0] |= {"prompt": EVIL, "rewards": {EVIL: 1.0}}
    log.add(rows)
    text = page(log)
    assert "<script>" not in text and "<img src=x" not in text and text.count("&lt;script&gt;") >= 4


def test_the_page_is_bounded_and_has_the_newest_first(tmp_path):
    log = started(tmp_path)
    for rollout in range(ROLLOUTS + 3):
        log.add(records(rollout, PROMPTS + 5, COMPLETIONS + 3, text="{} " + "x" * 10 * CHARACTERS))
    text = page(log)
    found = [int(number) for number in re.findall(r"<h2>Rollout (\d+)", text)]
    assert found == list(range(ROLLOUTS + 2, 2, -1))
    assert text.count("<h2>") == ROLLOUTS and text.count('class="card"') == ROLLOUTS * PROMPTS
    assert text.count("<tr><td") == ROLLOUTS * PROMPTS * COMPLETIONS
    assert len(text) < ROLLOUTS * PROMPTS * COMPLETIONS * (CHARACTERS + 500)
    lines = log.path.read_text().splitlines()
    assert len(lines) == (ROLLOUTS + 3) * (PROMPTS + 5) * (COMPLETIONS + 3), "the file has all of them, whole"
    assert len(json.loads(lines[0])["completion"]) > 10 * CHARACTERS


def test_after_a_resume_it_shows_the_rollouts_before_the_checkpoint_too(tmp_path):
    log = started(tmp_path)
    for rollout in range(3):
        log.add(records(rollout))
    with log.path.open("a") as file:
        file.write('{"rollout": 3, "half a li')
    again = SampleLog(str(tmp_path))
    again.start(2)
    again.add(records(2, text="Again {}."))
    assert re.findall(r"<h2>Rollout (\d+)", page(again)) == ["2", "1", "0"]
    kept = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert [record["rollout"] for record in kept] == [0] * 4 + [1] * 4 + [2] * 4
    assert kept[-1]["completion"] == "Again 2-1-1."


def test_no_page_without_a_rollout(tmp_path):
    log = started(tmp_path)
    PageWriter(log, lambda row: []).on_train_end(None, None, None)
    assert not (tmp_path / "completions.html").exists()
    log.add(records(0))
    PageWriter(log, lambda row: []).on_save(None, None, None)
    assert (tmp_path / "completions.html").exists()


def test_the_time_of_an_update_is_that_of_its_steps_without_the_other_phases(monkeypatch):
    now, logged, last = [100.0], [], [False]
    monkeypatch.setattr("resonance.training.phases.time.monotonic", lambda: now[0])
    timer = Timer()
    update = UpdateTimer(timer, lambda: last[0], logged.append)
    args = SimpleNamespace(device=SimpleNamespace(type="cpu"))

    def step(generating, training):
        update.on_step_begin(args, None, None)
        with timer("generate"):
            now[0] += generating
        now[0] += training
        update.on_step_end(args, None, None)
        now[0] += 50  # an evaluation, a checkpoint

    step(8.0, 2.0)
    assert timer.take() == {"generate": 8.0} and logged == []
    last[0] = True
    step(0.0, 3.0)
    step(4.0, 1.0)
    assert logged == [{"time/update": 5.0}, {"time/update": 1.0}]


def test_texts_with_other_line_separators_are_read_again(tmp_path):
    """An untrained policy samples them."""
    log = started(tmp_path)
    log.add(records(0, text="a\x85b\u2028c\x0bd {}"))
    before = log.path.read_bytes()
    again = SampleLog(str(tmp_path))
    again.start(1)
    assert log.path.read_bytes() == before and again.newest[0][0][0]["completion"].startswith("a\x85b\u2028c\x0bd")


def test_half_a_line_may_end_within_a_character(tmp_path):
    log = started(tmp_path)
    log.add(records(0, text="\u732b {}"))
    before = log.path.read_bytes()
    log.path.write_bytes(before + '{"rollout": 0, "completion": "\u732b'.encode()[:-1])
    SampleLog(str(tmp_path)).start(1)
    assert log.path.read_bytes() == before


def test_the_pictures_of_a_prompt_are_recorded_if_they_are_in_files():
    source = SimpleNamespace(completer=SimpleNamespace(judge=SimpleNamespace(prompt=lambda row: "Which digit?")))
    images = ["one.png", {"path": "two.png", "bytes": None}, {"path": None, "bytes": b"..."}]
    paths = [os.path.abspath(name) for name in ("one.png", "two.png")]
    assert ExperienceSource._prompt(source, {"images": images}) == {"prompt": "Which digit?", "images": paths}
    assert ExperienceSource._prompt(source, {}) == {"prompt": "Which digit?"}
