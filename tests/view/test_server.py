# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The server and the command: who is answered, what leaves it, and how it starts and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resonance.cli.main import main
from resonance.datafiles.write import write_rows
from resonance.view.pictures import NoPictureError, picture
from resonance.view.server import is_loopback
from view.conftest import pair


def ask(server: Any, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    sent = None if body is None else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if body is None else "POST", path, sent, named)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status, answer.headers, json.loads(data) if is_json else data


JSON = {"Content_Type": "application/json"}


def test_pages_of_other_sites_get_nothing_and_set_no_flags(pairs: Path, served: Any) -> None:
    server = served(pairs)
    assert ask(server, "/row?row=0")[0] == 200
    assert ask(server, "/row?row=0", Host=f"localhost:{server.port}")[0] == 200
    status, _, told = ask(server, "/row?row=0", Host="rebound.example")
    assert status == 403 and "rebound.example is no name of this machine" in told["error"]
    body = {"row": 0, "flag": "bad_pair", "note": ""}
    assert ask(server, "/flag", body, Origin="http://evil.example", **JSON)[0] == 403
    assert ask(server, "/flag", body, Content_Type="text/plain")[0] == 415
    assert server.session.flags == {} and not server.session.flags_path.exists()
    assert ask(server, "/flag", body, **JSON)[::2] == (200, {"like": 1, "flagged": 1})


def test_only_pictures_of_rows_leave_the_server(pairs: Path, served: Any) -> None:
    secret = pairs.with_name("secret.txt")
    secret.write_text("secret")
    write_rows(pairs, [pair(0, images=["images/0.png", str(secret), "../../../etc/passwd"]), pair(1)])
    server = served(pairs)
    status, headers, data = ask(server, "/picture?row=0&place=0")
    assert status == 200 and headers["Content-Type"] == "image/png"
    assert Image.open(BytesIO(data)).size == (40, 30)
    for place in (1, 2):  # what a row names is decoded, and no text can be
        status, _, told = ask(server, f"/picture?row=0&place={place}")
        assert status == 404 and ("cannot be shown" in told["error"] or "not there" in told["error"])
    for path in ("/secret.txt", "/../pairs.json", "/%2e%2e/pairs.json", "/page.css/../server.py", "/server.py",
                 "/images/0.png", f"/picture?path={secret}", "//etc/passwd"):  # fmt: skip
        status, _, told = ask(server, path)
        assert status in (400, 404) and "error" in told, path
    for path in ("/row?row=99", "/row?row=-1", "/row?row=x", "/picture?row=0&place=9", "/rows?sort=x", "/rows?low=x"):
        assert ask(server, path)[0] == 400, path


def test_nothing_is_loaded_from_elsewhere(pairs: Path, served: Any) -> None:
    server = served(pairs)
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, headers, data = ask(server, path)
        assert status == 200 and headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"//" not in re.sub(rb"(?m)^//.*$|; // .*$", b"", data), "an address of another site"
        assert b"innerHTML" not in data and b"insertAdjacentHTML" not in data


def test_identical_rows_share_a_flag_and_wrong_flags_are_refused(pairs: Path, served: Any) -> None:
    write_rows(pairs, [pair(0), pair(1), pair(0)])
    server = served(pairs)
    assert ask(server, "/flag", {"row": 0, "flag": "swap", "note": "n"}, **JSON)[2]["like"] == 2
    assert ask(server, "/row?row=2")[2]["flag"] == {"flag": "swap", "note": "n"}
    assert ask(server, "/rows?flag=any")[2]["rows"] == [0, 2]
    for body in ({"row": 0, "flag": "nice"}, {"row": 9, "flag": "swap"}, {"flag": "swap"}, [1], {"row": 0}):
        assert ask(server, "/flag", body, **JSON)[0] == 400
    assert ask(server, "/flag", {"row": 0, "flag": "other", "note": "x" * 2001}, **JSON)[0] == 400
    assert len(server.session.flags_path.read_text().splitlines()) == 1


def test_flags_of_rows_that_are_not_open_are_not_lost(pairs: Path, served: Any) -> None:
    first = served(pairs)
    first.session.flag(9, "other", "")
    few = served(pairs, limit=3)
    assert ask(few, "/set")[2]["lost"] == "" and ask(few, "/set")[2]["limited"] is True
    assert ask(few, "/forget", {}, **JSON)[2] == {"flagged": 1}


def test_media(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="a sound"):
        picture("audios", "a.wav", tmp_path)
    with pytest.raises(NoPictureError, match="is no path but int 3"):
        picture("images", 3, tmp_path)
    Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large.png")
    assert Image.open(BytesIO(picture("images", "large.png", tmp_path))).size == (1024, 512)
    data = {"bytes": (tmp_path / "large.png").read_bytes(), "path": None}
    assert Image.open(BytesIO(picture("images", data, tmp_path))).size == (1024, 512)
    assert Image.open(BytesIO(picture("videos", ["large.png", "x.png"], tmp_path))).size == (1024, 512)
    assert Image.open(BytesIO(picture("videos", str(tmp_path), tmp_path))).size == (1024, 512)
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), "blue"))
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    assert Image.open(BytesIO(picture("videos", "film.mp4", tmp_path))).size == (64, 48)


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.example.org")))


def test_the_command_listens_here_alone_and_ctrl_c_ends_it(pairs: Path) -> None:
    # what is started in the background of a shell script inherits an interrupt that is ignored
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from resonance.cli.main import entry; entry()"
    command = [sys.executable, "-c", code, "data", "view", str(pairs), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/  \(Ctrl-C ends\)\n", line)
        assert address is not None, line
        port = int(address[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass
        wanted = f"{port:04X}"
        listening = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert {row[1] for row in listening if row[1].endswith(f":{wanted}") and row[3] == "0A"} == {
            f"0100007F:{wanted}"
        }
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out.strip(), err) == (0, "No flags.", "")


def test_wrong_calls(pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pairs.parent)
    view = ["data", "view", "pairs.json", "--dataset-dir", "."]
    assert main([*view, "--limit", "0"]) == 2 and main([*view, "--flags", "flags.txt"]) == 2
    assert main([*view, "--port", "70000"]) == 2
    assert main([*view[:3], "--check", "--info", "other.json"]) == 2
    assert main([*view, "--host", "192.0.2.1"]) == 1
    err = capsys.readouterr().err
    assert "cannot listen at 192.0.2.1, port 0" in err and "ends in .flags.jsonl" in err
    assert main(["data", "view", "nothing", "--dataset-dir", "."]) == 1
    assert main([*view, "--source", "chosen_by"]) == 1
    assert "--source chosen_by: no column that has two values" in capsys.readouterr().err
    Path("broken.jsonl").write_text("{\n")
    assert main(["data", "view", "broken.jsonl", "--dataset-dir", "."]) == 1
    Path("pairs.json.flags.jsonl").write_text("7\n")
    assert main(view) == 1
    assert "pairs.json.flags.jsonl, line 1: is no flag but 7" in capsys.readouterr().err


def test_a_flag_that_cannot_be_written_is_told(pairs: Path, served: Any) -> None:
    server = served(pairs)
    server.session.flags_path = pairs.parent / "gone" / "a.flags.jsonl"
    status, _, told = ask(server, "/flag", {"row": 0, "flag": "swap"}, **JSON)
    assert status == 400 and "cannot write" in told["error"] and "start with --flags FILE" in told["error"]
    assert server.session.flags == {}


def test_another_host_is_warned_of_and_check_finds_problems(
    pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resonance.cli.data import view

    sessions = []

    def serve(server: Any, browse: bool) -> None:
        print(server.url)
        sessions.append(server.session)

    monkeypatch.setattr(view, "serve", serve)
    monkeypatch.chdir(pairs.parent)
    write_rows(pairs, [pair(0), pair(1, chosen=""), pair(2, images=["gone.png"])])
    assert main(["data", "view", "pairs.json", "--dataset-dir", ".", "--host", "0.0.0.0", "--check"]) == 0
    captured = capsys.readouterr()
    assert "WARNING: --host 0.0.0.0: whoever reaches it sees the rows and can flag them." in captured.err
    assert captured.out.startswith("http://localhost:")
    assert not os.path.exists("pairs.json.flags.jsonl")
    (session,) = sessions
    assert {row: [kind for kind, _ in found] for row, found in session.problems.items()} == {
        1: ["empty response"], 2: ["image missing"]}  # fmt: skip
    assert session.about()["problems"] == 2 and session.select({"problem": "yes"})["rows"] == [1, 2]


def test_a_folder_is_one_set_and_its_flags_are_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resonance.cli.data import view

    sessions = []
    monkeypatch.setattr(view, "serve", lambda server, browse: sessions.append(server.session))
    (tmp_path / "set").mkdir()
    for name, numbers in (("a", range(3)), ("b", range(3, 5))):
        write_rows(tmp_path / "set" / f"{name}.jsonl", map(pair, numbers))
    monkeypatch.chdir(tmp_path)
    assert main(["data", "view", "set", "--dataset-dir", "."]) == 0
    session = sessions[0]
    session.flag(4, "other", "")
    shown = session.row(4)
    assert (shown["file"], shown["number"], shown["files"]) == ("b.jsonl", 1, 2)
    assert session.jump(1, "b.jsonl") == 4 and session.flags_path == Path("set.flags.jsonl")
    session.flags_path.rename("set/a.jsonl.flags.jsonl")
    assert main(["data", "view", "set", "--dataset-dir", "."]) == 0
    assert len(sessions[1].rows) == 5
