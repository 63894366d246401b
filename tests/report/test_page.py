# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The page of a report, in Chromium: it is drawn, without a network, and no text in it is run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from browser import opened
from report.runs import preference_log, write_run
from resonance.cli.main import main
from resonance.report.page import Report, write_page
from resonance.report.pairs import moved_most, places, read, still_wrong
from resonance.report.plots import against_length, histograms, plane
from resonance.report.remarks import Material, remarks_of
from resonance.report.run import Run, read_runs, shorten_names
from resonance.report.series import panels_of

EVIL = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1><b onmouseover=window.hacked=1>%{x}"
)


def made(path: Path, *folders: Path) -> list[Run]:
    runs = read_runs([str(folder) for folder in folders])
    shorten_names(runs)
    material = [Material(run) for run in runs]
    remarks = [remarks_of(run, left) for run, left in zip(runs, material, strict=True)]
    write_page(path, Report(runs, material, remarks))
    return runs


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"half a li', encoding="utf-8")


def pairs(count: int = 40, dataset: str = "my_pairs") -> list[dict]:
    return [
        {"step": step, "split": "eval", "dataset": dataset, "row": row, "score_margin": (row % 5) - 1.0,
         "margin": 1.0, "reward_margin": 0.1 * step * (row % 7 - 2), "logp_chosen": -5.0, "logp_rejected": -9.0,
         "ref_logp_chosen": None, "ref_logp_rejected": None, "len_chosen": 20 + row % 3, "len_rejected": 20,
         "w_qual": 0.8, "w_perf": 0.5}
        for step in (10, 20) for row in range(count)
    ]  # fmt: skip


def completions(picture: Path, text: str = "It is {}.") -> list[dict]:
    return [
        {"step": 4 * rollout, "rollout": rollout, "row": row, "prompt": f"Question {row}?", "images": [str(picture)],
         "completion": text.replace("{}", f"{rollout}-{row}-{i}"), "reward": i + 0.1 * rollout,
         "rewards": {"exact": i}, "advantage": i - 0.5, "tokens": 5, "finish_reason": "stop"}
        for rollout in range(3) for row in range(9) for i in range(2)
    ]  # fmt: skip


def drawn(page, count: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('.panel .cartesianlayer').length >= {count}")


def test_a_preference_run_is_drawn_without_a_network(tmp_path):
    folder = write_run(tmp_path / "uni", preference_log(), pref_loss="uni_dpo")
    write_lines(folder / "pairs.jsonl", pairs())
    (run,) = made(tmp_path / "index.html", folder)
    main_panels, rest = panels_of([run])
    with opened(tmp_path / "index.html") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.context.set_offline(True)
        page.reload()
        drawn(page, len(main_panels) + 3)
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, "nothing sticks out"
        assert page.evaluate("[...document.querySelectorAll('#plot0 .js-line')].length") >= 2, (
            "training and evaluation"
        )
        page.get_by_text(f"All other metrics ({len(rest)})").click()
        drawn(page, len(main_panels) + 3 + len(rest))
        text = page.inner_text("body")
    assert "40 pairs of evaluation, steps 10 to 20." in text and "Still wrong: 12 of 40" in text
    assert "Pairs: score margin and reward margin" in text and "Nothing to remark" in text
    assert "my_pairs, row" in text


def test_several_runs_with_samples_and_pictures(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    log = [{"step": s, "reward": s / 9, "reward/exact": s / 9, "kl": 0.01, "loss": 0.1} for s in range(1, 10)]
    folder = write_run(tmp_path / "grpo", log, ppo_variant="grpo", learning_rate=1e-6)
    write_lines(folder / "completions.jsonl", completions(tmp_path / "red.png"))
    other = write_run(tmp_path / "rloo", log, ppo_variant="rloo", learning_rate=1e-6)
    made(tmp_path / "index.html", folder, other)
    with opened(tmp_path / "index.html") as page:
        drawn(page, 3)
        pictures = page.locator(".card img")
        assert pictures.count() == 8 and pictures.first.evaluate("image => image.naturalWidth") > 0
        assert page.evaluate("[...document.querySelectorAll('#plot0 .js-line')].length") >= 2, "one a run"
        text = page.inner_text("body")
    assert "Rollout 0, sampled after 0 optimizer steps" in text and "Rollout 2, sampled after 8" in text
    assert "It is 0-0-0." in text and "It is 2-3-1." in text and "It is 1-0-0." not in text
    assert (
        "Where the recipes differ" in text and "ppo_variant\tgrpo\trloo" in text and "learning_rate\t1e-06" not in text
    )


def test_texts_of_data_are_shown_not_run(tmp_path):
    log = [
        {"step": s, "loss": 1.0, f"reward/{EVIL}": float(s), EVIL: float(s), "grad_norm": math.nan} for s in range(9)
    ]
    name = "<img src=x onerror=window.hacked=1><script>"
    folder = write_run(tmp_path / name, log, dataset=EVIL, pref_loss=EVIL)
    other = write_run(tmp_path / "other", log, dataset="d", pref_loss=EVIL)
    for each in (folder, other):
        write_lines(each / "pairs.jsonl", pairs(dataset=EVIL))
        rows = completions(tmp_path / "none.png", EVIL)
        write_lines(each / "completions.jsonl", [{**row, "prompt": EVIL, "rewards": {EVIL: 1.0}} for row in rows])
    made(tmp_path / "index.html", folder, other)
    with opened(tmp_path / "index.html") as page:
        drawn(page, 4)
        page.get_by_text("All other metrics").click()
        page.locator(".panel").first.scroll_into_view_if_needed()
        page.mouse.move(200, 300)
        page.locator(".js-plotly-plot").last.hover()
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src=x]").count() == 0
        assert name in page.inner_text("h1") and EVIL in page.inner_text(".card")


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_run(Path("saves/uni"), preference_log(), pref_loss="uni_dpo")


def test_the_command_writes_page_picture_and_table(run_folder, capsys):
    assert main(["report", "saves/uni"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == ["uni: 0 remarks", "-> saves/uni/report/index.html"]
    names = {path.name for path in Path("saves/uni/report").iterdir()}
    assert names == {"index.html", "curves.png", "curves.csv", "report.json"}
    assert main(["report", "saves/uni"]) == 0, "its own report is replaced"
    Path("saves").rename("moved")
    assert main(["report", "moved/uni"]) == 0, "also where the run was moved"
    Path("moved").rename("saves")
    write_run(Path("saves/other"), [{"step": 1, "loss": math.nan}])
    assert main(["report", "saves/uni", "saves/other"]) == 0 and Path("report/index.html").is_file()
    assert "problem: Numbers that are not finite. loss: 1 times, first at step 1" in capsys.readouterr().out


def test_foreign_files_are_left_alone(run_folder, capsys):
    Path("docs").mkdir()
    Path("docs/index.html").write_text("mine")
    assert main(["report", "saves/uni", "-o", "docs"]) == 2
    error = capsys.readouterr().err
    assert "docs has index.html, and no report of these runs" in error and "--force" in error
    assert Path("docs/index.html").read_text() == "mine" and list(Path("docs").iterdir()) == [Path("docs/index.html")]
    assert main(["report", "saves/uni", "-o", "docs", "--force"]) == 0
    assert Path("docs/index.html").read_text() != "mine"


def test_what_an_interrupted_report_leaves_is_replaced(run_folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("resonance.report.figure.draw", interrupted)
        main(["report", "saves/uni"])
    assert Path("saves/uni/report/index.html").is_file() and main(["report", "saves/uni"]) == 0


def test_json_gives_remarks_and_last_values(run_folder, capsys):
    Path("saves/uni/trainer_state.json").write_text(json.dumps({"log_history": [{"step": 1, "loss": math.nan}]}))
    assert main(["report", "saves/uni", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["last"] == {"loss": None} and found["remarks"][0]["severity"] == "problem"
    assert not Path("saves/uni/report").exists()


def test_what_cannot_be_reported(run_folder, capsys):
    assert main(["report", "saves/uin"]) == 2 and "runs beside it: uni" in capsys.readouterr().err
    write_run(Path("saves/uni"), [])
    assert main(["report", "saves/uni"]) == 2 and "nothing was logged yet" in capsys.readouterr().err
    assert not Path("saves/uni/report").exists()


def test_a_long_log_makes_a_page_that_says_it_is_thinned(tmp_path):
    folder = write_run(tmp_path / "long", [{"step": s, "loss": 1 / (s + 1)} for s in range(100_000)])
    made(tmp_path / "index.html", folder)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Curves of more than 1000 values" in text and len(text) < 5_200_000


def test_where_pairs_were_first_and_last(tmp_path):
    rows = [row for row in pairs(5) if row["step"] == 10] + pairs(5)
    rows += [{"step": 30, "split": "train", "dataset": "d", "row": 1, "reward_margin": 9.0}]
    write_lines(tmp_path / "pairs.jsonl", [{"step": 1, "reward_margin": None}, *rows])
    found = places(read(tmp_path / "pairs.jsonl"))
    assert found and found.split == "eval" and found.steps == (10, 20) and len(found.last) == 5
    assert [change for _, change in moved_most(found)] == pytest.approx([-2.0, 2.0, -1.0, 1.0, 0.0])
    assert [pair["row"] for pair in still_wrong(found)] == [0, 1]


def test_the_page_says_how_to_get_pairs_where_there_are_any(tmp_path):
    line = {"rewards/margins": 0.5, "kl": 0.1}
    for name, more, said in (
        ("kto", {}, False),
        ("dpo", {"rewards/accuracies": 0.5}, True),
        ("rm", {"accuracy": 1}, True),
    ):
        made(tmp_path / "page.html", write_run(tmp_path / name, [{"step": step, **line, **more} for step in (1, 2)]))
        assert ("there is no pairs.jsonl" in (tmp_path / "page.html").read_text(encoding="utf-8")) is said


def test_pairs_that_were_seen_once_have_not_moved():
    """One epoch without an evaluation: each pair at a step of its own."""
    found = places({**pair, "split": "train", "step": step} for step, pair in enumerate(pairs(5)[:5], 1))
    assert found and found.steps == (1, 5) and moved_most(found) == []
    figure = plane(found)
    assert figure and [trace["name"] for trace in figure["data"]] == ["last"]


def test_pairs_of_a_reward_model_have_margins_alone(tmp_path):
    found = places([{"step": 1, "split": "train", "dataset": "d", "row": 1, "reward_margin": 9.0, "len_chosen": None}])
    assert found and against_length(found) is None and plane(found) is None and histograms(found) is None
