"""Questions and answers over loopback: pictures, reasons, clients that leave, and what nobody foresaw."""

import io
import json
import re
import socket
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest

from speech2face.app import answer, server
from speech2face.drawing.model import NOTE, Speech2Face
from tests.app.serving import HOST, LINES, RATE_HZ, ask, picture, same, voice, wav

SILENCE_S = 3600


def encoded(container: str, codec: str, samples: np.ndarray, rate_hz: int = 48_000, **options: str) -> bytes:
    """float32 [T], as a browser or a recorder writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        for part in np.array_split(samples, max(1, len(samples) // rate_hz)):
            frame = av.AudioFrame.from_ndarray(part[None], "fltp" if codec != "flac" else "s16p", "mono")
            frame.sample_rate = rate_hz
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_an_answer_has_the_face_of_its_voice(port: int, model: Speech2Face):
    reply = ask(port, wav(voice(1, 8)))
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert same(picture(reply.json["face"]), model.draw(voice(1, 8), RATE_HZ))
    assert reply.json["heard_s"] == 6.0 and reply.json["note"] == NOTE


def test_the_parts_that_come_as_lines_are_the_same_answer(port: int):
    reply = ask(port, wav(voice(1, 3)), Accept=LINES)
    parts = [json.loads(line) for line in reply.body.splitlines()]
    assert reply.headers["content-type"].startswith(LINES)
    assert "face" in parts[0] and len(parts) > 3
    assert answer.join(parts) == ask(port, wav(voice(1, 3))).json


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),  # Chromium, Firefox: without a duration
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),  # Safari
        ("ogg", "libopus", {}),
    ],
)
def test_what_browsers_record_is_heard(port: int, container: str, codec: str, options: dict[str, str]):
    sound = np.repeat(voice(2, 3), 3)
    reply = ask(port, encoded(container, codec, sound, **options), X_File_Name="your%20recording")
    assert reply.status == 200, reply.json
    assert reply.json["heard_s"] == pytest.approx(3, abs=0.1)


def silent_flac() -> bytes:
    return encoded("flac", "flac", np.zeros(SILENCE_S * 8000, np.int16), 8000)


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (lambda: b"", "unreadable", "a b.wav: "),
        (lambda: b"These are words.", "unreadable", "check that it is a recording"),
        (lambda: wav(voice(1, 0.2)), "too_short", "a b.wav: less than 1 s of sound; use a longer recording"),
        (lambda: wav(np.zeros(32_000, np.float32)), "silent", "a b.wav: silent (nothing but zeros, -80 dB are needed)"),
        (lambda: wav(voice(1, 5))[:20_000], "unreadable", "it breaks off"),
        (silent_flac, "silent", "a b.wav: silent (nothing but zeros"),
    ],
    ids=["empty", "text", "0.2 s", "silence", "truncated", "an hour of silence"],
)
def test_what_cannot_be_used_is_one_line_with_the_pipelines_reason(
    port: int, make: Callable[[], bytes], reason: str, words: str
):
    reply = ask(port, make(), X_File_Name="folder%2Fa%20b.wav")
    assert reply.status == 422 and reply.json["reason"] == reason
    assert words in reply.json["error"] and "\n" not in reply.json["error"]
    assert "/proc" not in reply.json["error"] and "folder" not in reply.json["error"]


def test_decoding_has_a_limit(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answer, "DECODE_LIMIT_S", 0.0)
    reply = ask(port, wav(voice(1, 30)), X_File_Name="long.wav")
    assert reply.status == 422
    assert reply.json == {
        "error": "long.wav: decoding takes too long; re-encode it, for example as wav",
        "reason": "timeout",
    }


def test_work_for_a_client_that_has_left_ends(port: int, monkeypatch: pytest.MonkeyPatch):
    started, ended = Event(), Event()

    def endless(model: object, path: Path, check: Callable[[], None]) -> None:
        started.set()
        try:
            while True:
                check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(server, "hear", endless)
    body = wav(voice(1))
    for _ in range(4):  # more than there are workers
        started.clear()
        ended.clear()
        with socket.create_connection((HOST, port)) as connection:
            head = f"POST /face HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert started.wait(20)
        assert ended.wait(20)
    monkeypatch.undo()
    assert ask(port, body).status == 200


def test_what_nobody_foresaw_is_one_line_and_the_server_lives_on(
    port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def fails(*arguments: object) -> None:
        raise AttributeError("no decoder")

    monkeypatch.setattr(server, "hear", fails)
    reply = ask(port, wav(voice(1)), X_File_Name="secret.wav")
    assert (reply.status, reply.json) == (500, {"error": "the server failed (AttributeError); its terminal says more"})
    assert capfd.readouterr().err == "speech2face: error: AttributeError: no decoder\n"
    monkeypatch.setattr(server, "hear", answer.hear)
    monkeypatch.setattr(answer.Artist, "_face", fails)
    assert ask(port, wav(voice(1)), Accept=LINES).status == 500
    monkeypatch.undo()
    assert ask(port, wav(voice(1))).status == 200


def test_a_failure_after_the_face_ends_the_lines_with_an_error(port: int, monkeypatch: pytest.MonkeyPatch):
    def fails(*arguments: object) -> None:
        raise RuntimeError("nothing left")

    monkeypatch.setattr(answer.Artist, "_beginning", fails)
    reply = ask(port, wav(voice(1, 3)), Accept=LINES)
    first, *_, last = [json.loads(line) for line in reply.body.splitlines()]
    assert "face" in first and last == {"error": "the server failed (RuntimeError); its terminal says more"}


def test_the_page_says_what_the_face_is_not_and_names_no_other_server(port: int):
    page = ask(port, path="/").body.decode()
    assert NOTE in page and "$" not in page
    assert "The first 60 s are heard" in page and "up to 50 MB" in page and "best for 6 s or longer" in page
    files = list(resources.files("speech2face.app").joinpath("page").iterdir())
    assert {file.name for file in files} == {"index.html", "style.css", "page.js"}
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"//[a-z]|@import|url\(", text.replace("// ", "")), file.name
        assert "style=" not in text and "onclick" not in text  # the policy forbids both
