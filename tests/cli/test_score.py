# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance score` as it is typed, against servers that run here."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import DATA
from judges import scored, serving
from resonance.cli.main import main
from resonance.wire import client

ROWS = [
    {
        "instruction": f"<image>Question {i}?",
        "chosen": f"good answer {i}",
        "rejected": f"bad {i}",
        "images": ["a.png"],
        "solution": str(i),
    }
    for i in range(12)
]
COLUMNS = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected", "images": "images"}
FUNCTION = ("--judge", "function", "--function", "my_judge:length")
LENGTHS = [(float(len(row["chosen"])), float(len(row["rejected"]))) for row in ROWS]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `data` with pairs and their picture, and a judge of one's own, in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(client.random, "uniform", lambda *_: 0.02)  # pauses of 10 ms
    Path("my_judge.py").write_text(
        "def length(completions, **columns):\n    return [float(len(text)) for text in completions]\n"
        "def picky(completions, solution):\n"
        "    return [None if text == 'bad 3' else 1 / (int(s) - 5) for text, s in zip(completions, solution)]\n"
    )
    Path("data").mkdir()
    shutil.copy(next((DATA / "images").iterdir()), "data/a.png")
    write(ROWS, COLUMNS)
    yield tmp_path
    import sys

    sys.modules.pop("my_judge", None)


def write(rows: list[Any], columns: dict[str, str], file: str = "pairs.json", **entry: Any) -> None:
    Path("data", file).write_text(json.dumps(rows))
    info = {"pairs": {"file_name": file, "ranking": True, "columns": columns, **entry}}
    Path("data/dataset_info.json").write_text(json.dumps(info))


def score(*words: object, data: str = "pairs", out: str = "data/out.json") -> int:
    return main(["score", data, "-o", out, *map(str, words)])


def scores(out: str = "data/out.json") -> list[tuple[Any, Any]]:
    return [(row["score_chosen"], row["score_rejected"]) for row in json.loads(Path(out).read_text())]


def entry(name: str = "out") -> dict[str, Any]:
    return json.loads(Path("data/dataset_info.json").read_text())[name]


def chat(text_of: Any) -> Any:
    """A chat server: what `text_of` makes of the prompt and of how often it was asked."""
    asked: Counter[str] = Counter()

    def answer(method: str, path: str, body: Any) -> Any:
        if path == "/models":
            return {"data": [{"id": "judge"}]}
        content = body["messages"][0]["content"]
        prompt = "".join(part["text"] for part in content if part["type"] == "text")
        asked[prompt] += 1
        told = text_of(prompt, asked[prompt])
        if not isinstance(told, str):
            return told
        usage = {"prompt_tokens": 100, "completion_tokens": 7}
        return {"choices": [{"message": {"content": told}, "finish_reason": "stop"}], "usage": usage}

    answer.asked = asked  # type: ignore[attr-defined]
    return answer


def answer_in(prompt: str) -> str:
    return re.search(r"\[answer\]\n(.*)\n\[end of answer\]", prompt)[1]  # type: ignore[index]


def truth(prompt: str) -> str:
    return json.dumps({"reason": "", "score": len(answer_in(prompt)) % 11})


def http(server: Any, *words: object) -> tuple[object, ...]:
    return ("--judge", "http", "--url", server.url, "--model", "judge", *words)


TRUTH = [(float(len(row["chosen"]) % 11), float(len(row["rejected"]) % 11)) for row in ROWS]

# -- files ---------------------------------------------------------------------------------------------------------


def test_a_new_file_with_its_entry_and_the_old_one_as_it_was(folder, capsys):
    before = Path("data/pairs.json").read_bytes()
    assert score(*FUNCTION) == 0
    assert scores() == LENGTHS and Path("data/pairs.json").read_bytes() == before
    named = {**COLUMNS, "score_chosen": "score_chosen", "score_rejected": "score_rejected"}
    assert entry() == {"file_name": "out.json", "ranking": True, "columns": named}
    text = capsys.readouterr().out
    assert "24 questions: 2 calls to make" in text and "chosen below rejected: 0 (0.0%)" in text
    assert "dataset: out\n" in text and "pref_loss: uni_dpo\n" in text and "uni_dpo_tau_good: 13.0\n" in text
    assert main(["data", "check", "out"]) == 0, "what is printed as the next command"


def test_scores_of_before_are_kept_or_replaced_and_compared(folder, capsys):
    rows = [row | {"mine": float(i), "theirs": float(i) - 1} for i, row in enumerate(ROWS)]
    write(rows, {**COLUMNS, "score_chosen": "mine", "score_rejected": "theirs"})
    assert score(*FUNCTION, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    made = json.loads(Path("data/out.json").read_text())
    assert [(row["mine"], row["theirs"]) for row in made] == LENGTHS
    assert [(row["mine_before"], row["theirs_before"]) for row in made] == [(i, i - 1) for i in range(12)]
    assert found["agreement"]["same_order"] == 1.0 and found["agreement"]["pairs"] == 12
    assert 0 < found["agreement"]["kendall"] < found["agreement"]["spearman"] < 1
    assert score(*FUNCTION, "--overwrite", out="data/b.json") == 0
    assert "mine_before" not in json.loads(Path("data/b.json").read_text())[0]
    assert score(*FUNCTION, data="out", out="data/c.json") == 2
    assert "has a column mine_before already; rename it, or give --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jsonl", "sharegpt", "openai", "parquet", "csv", "no entry"])
def test_kinds_of_files(folder, kind):
    data = "pairs"
    if kind in ("sharegpt", "openai"):
        role, content, names = ("from", "value", ("human", "gpt"))
        tags = {}
        if kind == "openai":
            role, content, names = ("role", "content", ("user", "assistant"))
            tags = {
                "tags": {"role_tag": role, "content_tag": content, "user_tag": "user", "assistant_tag": "assistant"}
            }
        rows = [
            {
                "conversations": [{role: names[0], content: row["instruction"]}],
                "chosen": {role: names[1], content: row["chosen"]},
                "rejected": {role: names[1], content: row["rejected"]},
                "images": row["images"],
            }
            for row in ROWS
        ]
        columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
        write(rows, columns, formatting=kind, **tags)
    elif kind == "no entry":
        Path("data/dataset_info.json").unlink()
        data = "data/pairs.json"
    elif kind != "csv":
        write(ROWS, COLUMNS, f"pairs.{kind}")
        if kind == "jsonl":
            Path("data/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        else:
            pq.write_table(pa.Table.from_pylist(ROWS), "data/pairs.parquet")
    else:
        write([], {name: name for name in ("chosen", "rejected")} | {"prompt": "instruction"}, "pairs.csv")
        with open("data/pairs.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["instruction", "chosen", "rejected"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, "instruction": row["instruction"].removeprefix("<image>")} for row in ROWS)
    assert score(*FUNCTION, data=data) == 0
    assert scores() == LENGTHS
    assert entry()["columns"]["score_chosen"] == "score_chosen"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--judge", "function"), "--judge function needs --function"),
        ((*FUNCTION, "--model", "x", "--rm", "y"), "--model is for openai, not for --judge function"),
        (("--judge", "http", "--url", "http://127.0.0.1:1"), "--judge http --api openai needs --model"),
        (("--judge", "http", "--url", "http://u:p@h/v1", "--model", "x"), "user, a password"),
        (("--judge", "http", "--url", "http://h/v1", "--model", "x", "--key-env", "NO_SUCH_KEY"), "is not set"),
        (("--judge", "http", "--url", "http://h", "--api", "resonance", "--send", "solutoin"), "nearest: solution"),
        (("--judge", "rm", "--rm", "nowhere"), "nowhere"),
        (("--judge", "function", "--function", "exact"), "the data has no column 'answer'"),
        (("--judge", "function", "--function", "my_judge:nothing"), "nothing"),
        ((*FUNCTION, "--scale", "5", "1"), "--scale 5 1: must rise"),
        ((*FUNCTION, "--set", "a=[1"), "--set: a value is not YAML"),
    ],
)
def test_what_is_refused_before_anything_is_asked(folder, capsys, words, told):
    assert score(*words) == 2
    error = capsys.readouterr().err
    assert told in error and "Next: resonance score --help" in error
    assert sorted(os.listdir("data")) == ["a.png", "dataset_info.json", "pairs.json"]


def test_outputs_that_are_in_the_way(folder, capsys):
    assert score(*FUNCTION, out="data/pairs.json") == 2
    assert "the output is the input" in capsys.readouterr().err
    assert score(*FUNCTION, out="data/out.csv") == 2
    assert score(*FUNCTION) == 0
    capsys.readouterr()
    assert score(*FUNCTION) == 2
    error = capsys.readouterr().err
    assert "out.json exists; add --force" in error
    assert error.endswith(f"Next: resonance score pairs -o data/out.json {' '.join(FUNCTION)} --force\n")
    assert score(*FUNCTION, "--force") == 0 and "24 of them answered before" in capsys.readouterr().out
    assert score(*FUNCTION, "--name", "pairs", out="data/b.json") == 2
    assert "there is another entry 'pairs'" in capsys.readouterr().err


def test_answers_of_an_unfinished_run_are_no_leave_to_write_over_another_output(folder, capsys):
    from resonance.scoring.journal import Journal
    from resonance.scoring.types import Verdict

    with Journal(Path("shared.jsonl")) as journal:
        journal.put({"of another run": Verdict((1.0,))})
    Path("data/out.json").write_text("[]")
    assert score(*FUNCTION, "--cache", "shared.jsonl") == 2
    assert "out.json exists; add --force" in capsys.readouterr().err and Path("data/out.json").read_text() == "[]"


def test_the_suggested_threshold_is_reached_by_the_share_that_is_told(folder, capsys):
    Path("my_judge.py").write_text("def thirds(completions):\n    return [2 / 3] * len(completions)\n")
    assert score("--judge", "function", "--function", "my_judge:thirds", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    tau = found["recipe"]["uni_dpo_tau_good"]
    assert sum(chosen >= tau for chosen, _ in scores()) / 12 == found["scores"]["share_at_tau_good"] == 1.0


def test_a_function_that_fails_on_some(folder, capsys):
    assert score("--judge", "function", "--function", "my_judge:picky") == 1
    lines = [json.loads(line) for line in Path("data/out.unscored.jsonl").read_text().splitlines()]
    assert [(line["row"], line["kind"]) for line in lines] == [
        (3, "left out by the judge"),
        (5, "no score that can be used"),
    ]
    assert "ZeroDivisionError" in lines[1]["why"] and not Path("data/out.json").exists()
    error = capsys.readouterr().err
    assert "2 rows without scores (left out by the judge: 1, no score that can be used: 1)" in error
    assert score("--judge", "function", "--function", "my_judge:picky", "--drop-unscored") == 1
    assert len(scores()) == 10 and Path("data/out.unscored.jsonl").exists()


def test_rows_that_cannot_be_read_are_listed(folder, capsys):
    rows = [*ROWS[:2], ROWS[2] | {"chosen": None}, ROWS[3] | {"images": ["gone.png"]}]
    write(rows, COLUMNS)
    assert score(*FUNCTION) == 1
    typed = f"resonance score pairs -o data/out.json {' '.join(FUNCTION)} --drop-unscored"
    assert capsys.readouterr().err.endswith(f"Next: {typed}\n")
    assert main(typed.split()[1:]) == 1
    assert scores() == LENGTHS[:2]
    lines = [json.loads(line) for line in Path("data/out.unscored.jsonl").read_text().splitlines()]
    assert [(line["row"], line["kind"]) for line in lines] == [(row, "the row cannot be read") for row in (2, 3)]
    assert "not both texts" in lines[0]["why"] and "gone.png" in lines[1]["why"]
    text = capsys.readouterr()
    assert "2 pairs, 2 rows that cannot be read" in text.out and text.err.endswith(
        "Next: resonance data check pairs\n"
    )


def test_numbers_beyond_the_scale_are_none_and_a_picture_of_the_others(folder):
    assert score(*FUNCTION, "--scale", 0, 13, "--drop-unscored", "--plot", "p.png") == 1
    assert len(scores()) == 10 and Image.open("p.png").format == "PNG"
    lines = Path("data/out.unscored.jsonl").read_text()
    assert "chosen: the score is 14, but --scale is 0 to 13" in lines and '"row": 10' in lines


def test_whoever_sits_at_a_terminal_is_asked_about_the_price(folder, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    with serving(chat(lambda prompt, _: truth(prompt))) as server:
        assert score(*http(server, "--price-in", 2)) == 1
        assert server.seen == []
        text = "".join(capsys.readouterr())
        assert "Go on? [y/N]" in text and re.search(r"nothing was asked\nNext: resonance score .* --yes\n", text)
        monkeypatch.setattr("sys.stdin", Terminal("y\n"))
        assert score(*http(server, "--price-in", 2)) == 0
    assert scores() == TRUTH


# -- servers -------------------------------------------------------------------------------------------------------


def test_our_own_protocol(folder):
    def server_of(item):
        assert item["images"][0]["data"].startswith("data:image/png;base64,")
        return len(item["completion"]) + int(item["columns"]["solution"])

    words = ("--judge", "http", "--api", "resonance", "--send", "solution", "--batch-size", 5)
    with serving(scored(server_of)) as server:
        assert score(*words, "--url", server.url) == 0
        assert len(server.bodies("/v1/score")) == 1 + 5, "the check, and 24 answers by 5"
    assert scores() == [(c + i, r + i) for i, (c, r) in enumerate(LENGTHS)]


def test_a_chat_and_what_it_costs(folder, capsys):
    with serving(chat(lambda prompt, _: truth(prompt))) as server:
        assert score(*http(server, "--price-in", 2, "--price-out", 10, "--yes", "--json")) == 0
        body = server.bodies("/chat/completions")[0]
    found = json.loads(capsys.readouterr().out)
    assert scores() == TRUTH
    assert [part["type"] for part in body["messages"][0]["content"]] == ["text", "image_url", "text"]
    assert body["temperature"] == 0 and body["max_tokens"] == 512 and body["model"] == "judge"
    assert found["tokens"] == {"in": 2400, "out": 168} and found["price"] == round((2400 * 2 + 168 * 10) / 1e6, 4)
    told = found["estimate"]
    assert (told["rows"], told["questions"], told["calls"], told["pictures"]) == (12, 24, 24, 24)
    assert told["tokens_out_at_most"] == 24 * 512
    assert told["price_at_most"] == round((told["tokens_in"] * 2 + 24 * 512 * 10) / 1e6, 4)


def test_the_longest_reply_may_be_in_the_body(folder, capsys):
    more = ("--body", '{"max_tokens": null, "max_completion_tokens": 4000}', "--dry-run", "--json")
    assert score("--judge", "http", "--url", "http://127.0.0.1:1/v1", "--model", "judge", *more) == 0
    assert json.loads(capsys.readouterr().out)["estimate"]["tokens_out_at_most"] == 24 * 4000


def test_a_dry_run_asks_nothing_and_shows_no_key(folder, capsys, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    Path("t.j2").write_text("{{ prompt }} / {{ answer }} / {{ row.solution }}")
    with serving(chat(lambda prompt, _: truth(prompt))) as server:
        assert score(*http(server, "--key-env", "JUDGE_KEY", "--template", "t.j2", "--dry-run")) == 0
        assert server.seen == []
    text = "".join(capsys.readouterr())
    assert "Question 0? / good answer 0 / 0" in text and '"model": "judge"' in text and "characters)" in text
    assert "sk-secret" not in text and not list(Path("data").glob(".out*"))


def test_a_key_is_sent_and_kept_nowhere(folder, capsys, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")

    def tells(prompt, times):
        return "Your key is sk-secret. I cannot say more." if "good answer 3" in prompt else truth(prompt)

    with serving(chat(tells)) as server:
        assert score(*http(server, "--key-env", "JUDGE_KEY")) == 1
        assert {headers["Authorization"] for *_, headers in server.seen} == {"Bearer sk-secret"}
    kept = "".join(path.read_text() for path in Path("data").rglob("*out*"))
    assert "sk-secret" not in kept + "".join(capsys.readouterr()) and "Your key is ***" in kept


def test_a_reply_that_cannot_be_used_is_asked_for_once_more(folder, capsys):
    def replies(prompt, times):
        if "good answer 2" in prompt:
            return "I would say it is a seven." if times == 1 else "Score: 7"
        if "good answer 4" in prompt:
            return "Score: 12"
        return "I'm sorry, but I can't judge that." if "good answer 5" in prompt else truth(prompt)

    with serving(answer := chat(replies)) as server:
        assert score(*http(server), "--json") == 1
        asked = [body for body in server.bodies("/chat/completions") if len(body["messages"]) > 1]
        assert len(asked) == 3 and {tuple(m["role"] for m in body["messages"]) for body in asked} == {
            ("user", "assistant", "user")
        }
        again = next(body["messages"][2]["content"] for body in asked if "seven" in body["messages"][1]["content"])
        assert "neither a JSON object nor a line" in again and '{"score": a number from 0 to 10}' in again
        found = json.loads(capsys.readouterr().out)
        assert found["unscored"] == {"no score that can be used": 1, "refused to judge": 1}
        before = sum(answer.asked.values())
        assert score(*http(server), "--drop-unscored") == 1
        assert sum(answer.asked.values()) == before + 2 * 2, "only what had failed"
    assert scores() == [(7.0, pair[1]) if i == 2 else pair for i, pair in enumerate(TRUTH) if i not in (4, 5)]


def test_both_answers_in_either_order(folder, capsys):
    def replies(prompt, _):
        first, second = re.findall(r"\[answer .\]\n(.*)\n", prompt)
        worth = [3.0 if answer.startswith("good") else 1.0 for answer in (first, second)]
        return json.dumps({"score_a": worth[0] + 1, "score_b": worth[1]})  # the first place is worth a point

    with serving(chat(replies)) as server:
        assert score(*http(server, "--mode", "pair", "--scale", 1, 5, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert scores() == [(3.5, 1.5)] * 12
    assert found["position"] == {"first_minus_second": 1.0, "share_decided_by_order": 0.0}


def test_a_server_that_is_slow_wrong_silent_and_crowded_by_turns(folder):
    turns, lock = iter(range(10**6)), threading.Lock()

    def replies(prompt, times):
        with lock:
            turn = next(turns) % 9
        if turn == 0:
            time.sleep(0.1)
        elif turn == 1:
            return 429, b"slow down", {"Retry-After": "0"}
        elif turn == 2:
            return 500, b"oops"
        elif turn == 3:
            return 200, b"<html>this is no JSON</html>"
        elif turn == 4:
            return {"choices": []}
        elif turn == 5:
            return "Well, about 7 I think."
        elif turn == 6:
            return '{"score": NaN}'
        elif turn == 7:
            time.sleep(0.8)  # longer than the time-out
        return truth(prompt)

    with serving(chat(replies)) as server:
        words = http(server, "--timeout", 0.4, "--concurrency", 4)
        codes = [score(*words)]
        while codes[-1] == 1 and len(codes) < 10:
            listed = [json.loads(line) for line in Path("data/out.unscored.jsonl").read_text().splitlines()]
            assert listed and not Path("data/out.json").exists()
            codes.append(score(*words))
    assert codes[-1] == 0 and scores() == TRUTH and not Path("data/out.unscored.jsonl").exists()


@pytest.mark.parametrize(("status", "most"), [(401, 8), (503, 200)])
def test_a_server_that_fails_for_good(folder, capsys, status, most):
    with serving(chat(lambda *_: (status, b"no"))) as server:
        assert score(*http(server, "--retries", 1)) == 1
        assert len(server.bodies("/chat/completions")) <= most
    error = capsys.readouterr().err
    assert "12 rows without scores" in error and f"No more was asked: POST {server.url}" in error
    assert f"status {status}" in error and "Next, to ask about these again: resonance score pairs" in error


def test_no_server_at_all(folder, capsys):
    words = ("--judge", "http", "--url", "http://127.0.0.1:9/v1", "--model", "m", "--retries", 0)
    assert score(*words) == 1
    assert "ConnectError" in capsys.readouterr().err


def test_large_pictures_are_sent_smaller(folder, tmp_path):
    Image.effect_noise((300, 200), 90).save("data/a.png")
    with serving(chat(lambda prompt, _: truth(prompt))) as server:
        assert score(*http(server, "--image-side", 60)) == 0
        (part,) = [p for p in server.bodies("/chat/completions")[0]["messages"][0]["content"] if "image_url" in p]
    import base64

    sent = Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
    assert sent.size == (60, 40)


def test_a_rate_is_kept(folder):
    times = []

    def replies(prompt, _):
        times.append(time.monotonic())
        return truth(prompt)

    write(ROWS[:4], COLUMNS)
    with serving(chat(replies)) as server:
        assert score(*http(server, "--rate", "1200/min")) == 0
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert times[-1] - times[0] >= 7 * 0.05 * 0.9 and len(gaps) == 7


def test_killed_in_the_middle_and_started_again(folder):
    """No row is lost, and none is asked about twice beside those in flight."""
    answers, going, lock = Counter(), threading.Event(), threading.Lock()

    def replies(prompt, _):
        with lock:
            answers[answer_in(prompt)] += 1
        if sum(answers.values()) == 9:
            going.set()
        time.sleep(0.05)
        return truth(prompt)

    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:  # before the server's threads are there
        url = os.read(reading, 100).decode()
        words = ("--judge", "http", "--url", url, "--model", "judge", "--concurrency", 3)
        os._exit(score(*words))
    with serving(chat(replies)) as server:
        os.write(writing, server.url.encode())
        assert going.wait(60)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        time.sleep(0.3)  # calls in flight end
        before = sum(answers.values())
        assert 9 <= before < 24 and not Path("data/out.json").exists()
        assert score(*http(server, "--concurrency", 3)) == 0
    assert scores() == TRUTH, "as of a run that was not interrupted"
    twice = sum(times - 1 for times in answers.values())
    assert set(answers) == {row[side] for row in ROWS for side in ("chosen", "rejected")} and twice <= 3
    os.close(reading)
    os.close(writing)


def test_two_at_once_are_refused(folder, capsys):
    from resonance.scoring.journal import Journal

    with Journal(Path("data/.out.json.answers.jsonl")):
        assert score(*FUNCTION) == 2
    assert "another process is asking for these scores" in capsys.readouterr().err


def test_help_is_light(folder):
    import subprocess
    import sys

    code = "import sys; from resonance.cli.main import main; main(['score', '--help'])\n"
    code += (
        "print(sorted({'torch', 'transformers', 'llamafactory', 'datasets', 'numpy', 'jinja2'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("[]\n") and "--price-in" in out
