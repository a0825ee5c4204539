"""The command `serve`, as a process: what it prints, what stops it from starting, and two hundred questions to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from importlib import util
from pathlib import Path

import numpy as np
import psutil
import pytest

from speech2face import cli
from speech2face.app import command
from speech2face.drawing.model import Speech2Face
from tests.app.serving import HOST, LINES, RATE_HZ, ask, picture, same, voice, wav

NUM_QUESTIONS, AT_ONCE, NUM_VOICES = 200, 8, 12
MOST_GROWTH_BYTES = 60e6
UNUSABLE = {
    "too_short": wav(voice(1, 0.2)),
    "silent": wav(np.zeros(2 * RATE_HZ, np.float32)),
    "unreadable": b"no sound" * 1000,
}


def start(models: Path, *options: str) -> subprocess.Popen[str]:
    order = [sys.executable, "-m", "speech2face.cli", "serve", "--models", str(models), "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1]), "S2F_WORKERS": "2"}
    return subprocess.Popen(order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def process(models: Path) -> Iterator[subprocess.Popen[str]]:
    """A server, which is interrupted in the end as by Ctrl+C, and has then said nothing but its address."""
    with start(models) as server:
        yield server
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
        assert (server.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    address, _, rest = process.stdout.readline().partition(" ")
    assert address.startswith(f"http://{HOST}:") and rest.endswith("Nothing is stored. Ctrl+C ends it.\n")
    return int(address.rpartition(":")[2])


@pytest.mark.slow
def test_two_hundred_questions_eight_at_once_get_each_its_own_answer(
    process: subprocess.Popen[str], port: int, model: Speech2Face
):
    """A third cannot be used, and some leave once they have seen the face."""
    voices = [voice(number) for number in range(NUM_VOICES)]
    bodies = [wav(sound) for sound in voices]
    faces = [np.asarray(model.draw(sound, RATE_HZ)) for sound in voices]
    assert not any(same(faces[i], faces[j]) for i in range(NUM_VOICES) for j in range(i))

    def question(number: int) -> bool:
        if number % 3 == 0:
            reason = list(UNUSABLE)[number // 3 % len(UNUSABLE)]
            reply = ask(port, UNUSABLE[reason], X_File_Name=f"{number}.wav")
            return reply.json["reason"] == reason and reply.json["error"].startswith(f"{number}.wav: ")
        chosen = number % NUM_VOICES
        if number % 10 == 1:
            return same(picture(ask(port, bodies[chosen]).json["face"]), faces[chosen])
        connection = HTTPConnection(HOST, port, timeout=60)
        connection.request("POST", "/face", bodies[chosen], {"Accept": LINES})
        first = connection.getresponse().readline()
        connection.close()
        return same(picture(json.loads(first)["face"]), faces[chosen])

    memory = psutil.Process(process.pid).memory_info
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(question, range(24)))
        before = memory().rss
        assert all(pool.map(question, range(NUM_QUESTIONS)))
    assert memory().rss - before < MOST_GROWTH_BYTES


@pytest.mark.slow
def test_it_lives_on_after_clients_that_leave_amid_an_upload(process: subprocess.Popen[str], port: int):
    head = b"POST /face HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    for sent in (b"", b"\x16\x03\x01 not HTTP\r\n\r\n", head, head + b"RIFF"):
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(sent)
    assert ask(port, wav(voice(1))).status == 200 and process.poll() is None


@pytest.mark.slow
def test_a_second_server_on_the_port_is_one_line(port: int, models: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["serve", "--models", str(models), "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"speech2face: error: port {port} of 127.0.0.1 is taken, perhaps by another `speech2face serve`; choose another with --port, "
        "0 for any\n"
    )
    assert ask(port, path="/").status == 200


def test_missing_models_are_one_line_that_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["serve", "--models", str(tmp_path), "--port", "0"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "encoder.safetensors is missing: train the network" in errors


def test_missing_packages_are_one_line_with_the_remedy(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else util.find_spec(name))
    assert cli.main(["serve", "--models", str(models), "--port", "0"]) == 1
    assert capsys.readouterr().err == (
        "speech2face: error: the page needs uvicorn, and it is not installed; run: make setup, or pip install -r requirements-app.txt\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535 (got 70000)"),
        (["--host", "no such host", "--port", "0"], "--host must be a name or an address of this machine"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen at 192.0.2.1, port 0"),
    ],
)
def test_places_that_cannot_be_listened_at_are_one_line(
    options: list[str], words: str, models: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["serve", "--models", str(models), *options]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and words in errors


@pytest.mark.slow
def test_a_server_open_to_others_warns_in_one_line(models: Path):
    with start(models, "--host", "0.0.0.0") as server:
        assert server.stdout is not None and server.stdout.readline().startswith("http://0.0.0.0:")
        time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=20)
    assert errors == f"speech2face: warning: {command.OPEN_TO_OTHERS}\n"


def test_what_only_this_machine_reaches():
    assert all(map(command.is_loopback, ["127.0.0.1", "::1", "localhost", "127.1.2.3"]))
    assert not any(map(command.is_loopback, ["0.0.0.0", "::", "192.168.1.7", "example.org"]))
