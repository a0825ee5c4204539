"""Uploads that are too large, too slow, too many or left, and what messages call them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from starlette.requests import Request

from speech2face.app import server, uploads
from speech2face.app.answer import hear
from tests.app.serving import HOST, ask, voice, wav

OPEN_FILES = Path("/proc/self/fd")
HEAD = b"POST /face HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextmanager
def begun(port: int, sent: bytes) -> Iterator[socket.socket]:
    """A connection on which something was sent."""
    with socket.create_connection((HOST, port), timeout=20) as connection:
        connection.sendall(sent)
        yield connection


def answered(connection: socket.socket) -> str:
    """What comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_an_upload_that_says_it_is_too_large_is_not_read(port: int):
    with begun(port, HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 1000) as connection:
        text = answered(connection)
    assert text.startswith("HTTP/1.1 413 ")
    assert text.endswith('{"error":"an upload may have 50 MB; cut it, or save it as mp3, m4a or webm"}')
    assert ask(port, wav(voice(1))).status == 200


def test_an_upload_that_does_not_say_it_is_cut_off_at_the_limit(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 5000)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    with begun(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 6 * chunk) as connection:
        assert answered(connection).startswith("HTTP/1.1 413 ")


@pytest.mark.parametrize("length", [b"-1", b"x", b"1e3"])
def test_a_length_that_is_none_is_refused(port: int, length: bytes):
    with begun(port, HEAD + b"Content-Length: " + length + b"\r\n\r\n") as connection:
        assert answered(connection).startswith("HTTP/1.1 4")


def test_an_upload_that_comes_too_slowly_is_ended(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "RECEIVE_LIMIT_S", 0.2)
    with begun(port, HEAD + b"Content-Length: 100\r\n\r\nRIFF") as connection:
        text = answered(connection)
    assert text.startswith("HTTP/1.1 408 ") and "the upload took longer than 0.2 s; try again" in text


@pytest.mark.parametrize(("limit", "most"), [("MAX_UPLOADS", 1), ("MAX_BYTES_TOGETHER", 5)])
def test_too_many_at_once_are_asked_to_come_again(port: int, monkeypatch: pytest.MonkeyPatch, limit: str, most: int):
    monkeypatch.setattr(uploads, limit, most)
    with begun(port, HEAD + b"Content-Length: 100\r\n\r\nRIFF"):
        replies = [ask(port, b"no sound") for _ in range(20)]
    assert 503 in {reply.status for reply in replies}
    assert replies[-1].json["error"] == "too many recordings at once; try again in a moment"
    monkeypatch.undo()
    assert ask(port, wav(voice(1))).status == 200


def test_an_upload_that_is_left_frees_its_place(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 1)
    for _ in range(3):
        with begun(port, HEAD + b"Content-Length: 100\r\n\r\nRIFF"):
            pass
    assert any(ask(port, wav(voice(1))).status == 200 for _ in range(20))


def test_a_voice_is_never_on_disk_and_no_file_stays_open(port: int, monkeypatch: pytest.MonkeyPatch):
    places = []

    def look(model: object, path: Path, check: object) -> object:
        places.append(path.readlink())
        return hear(model, path, check)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "hear", look)
    num_open = len([*OPEN_FILES.iterdir()])
    for _ in range(5):
        assert ask(port, wav(voice(1))).status == 200
        assert ask(port, b"no sound").status == 422
    assert len(places) == 10 and all(str(place).startswith("/memfd:") for place in places)
    assert len([*OPEN_FILES.iterdir()]) <= num_open + 2  # connections that are about to close


def test_the_file_has_what_was_sent(port: int, monkeypatch: pytest.MonkeyPatch):
    seen, done = [], Event()

    def look(model: object, path: Path, check: object) -> object:
        seen.append(path.read_bytes())
        done.set()
        return hear(model, path, check)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "hear", look)
    sent = wav(voice(1, 30))
    assert ask(port, sent).status == 200 and done.is_set()
    assert seen == [sent]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("voice.wav", "voice.wav"),
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C%3A%5Cvoices%5Canna.m4a", "anna.m4a"),
        ("caf%C3%A9%20%E2%98%95.wav", "café ☕.wav"),
        ("a%0Ab%1B%5B31m.wav", "a\\nb\\x1b[31m.wav"),
        ("%FF.wav", "\ufffd.wav"),
        ("", "the recording"),
        ("%2F", "the recording"),
        ("x" * 500 + ".wav", "x" * 71 + "…xxxx.wav"),
    ],
)
def test_a_name_is_one_short_line_without_folders(header: str, name: str):
    scope = {"type": "http", "headers": [(b"x-file-name", header.encode())]}
    assert uploads.name_of(Request(scope)) == name


def test_a_recording_without_a_name_has_one():
    assert uploads.name_of(Request({"type": "http", "headers": []})) == "the recording"
