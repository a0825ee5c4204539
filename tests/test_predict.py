"""The command `predict`, with small random networks: one recording, many, folders, contact sheets, and what can go wrong."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from speech2face import cli
from speech2face.drawing.model import Speech2Face
from tests.trained import noise, write_wav


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "voice.wav", noise(3))


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_recording_becomes_a_picture(models: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "face.png"
    assert run("predict", voice, "-o", out, "--models", models) == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.mode) == ((224, 224), "RGB")
        assert np.asarray(picture).std() > 10
    text = capsys.readouterr().out
    assert "3.0 s" in text and "not the speaker's face" in text
    first = out.read_bytes()
    run("predict", voice, "-o", out, "--models", models)
    assert out.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.png", "voice.wav"]


def test_how_far_a_face_is_stretched_is_said(models: Path, voice: Path, tmp_path: Path, capsys):
    out = tmp_path / "face.png"
    for arguments, words in {
        ("--stretch", "3"): "3 times as far from the mean face as predicted; real faces are 1 times as far.",
        (): "",
    }.items():
        assert run("predict", voice, "-o", out, "--models", models, *arguments) == 0
        printed = capsys.readouterr().out
        assert words in printed and ("times" in printed) == bool(words)
    assert run("predict", voice, "-o", out, "--models", models, "--stretch", "-1") == 1
    assert "--stretch must be from 0 to 10 (got -1)" in capsys.readouterr().err


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of recordings, one of which is silent, and a file that is none."""
    root = tmp_path / "corpus"
    for number, name in enumerate(("a/one.wav", "a/two.WAV", "b/one.wav", "b/deep/er/three.wav")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, noise(2, number))
    write_wav(root / "b" / "silent.wav", np.zeros(32_000))
    (root / "notes.txt").write_text("no recording")
    return root


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_drawn_into_a_folder_and_what_is_left_out_is_named(models, corpus, tmp_path, capsys):
    out = tmp_path / "faces"
    assert run("predict", corpus, "-o", out, "--models", models) == 1
    assert pictures(out) == ["a/one.png", "a/two.png", "b/deep/er/three.png", "b/one.png"]
    printed = capsys.readouterr()
    assert "4 faces, 1 left out (1 silent)" in printed.out and "not the speakers' faces" in printed.out
    assert printed.err.count("\n") == 1 and "silent.wav" in printed.err
    model = Speech2Face.load(models)
    for name in ("a/one", "b/one"):
        with Image.open(out / f"{name}.png") as picture:
            expected = np.asarray(model.draw(corpus / f"{name}.wav"), int)
            assert np.abs(np.asarray(picture, int) - expected).max() <= 1, name


def test_several_files_and_folders_keep_their_names_apart(models, corpus, voice, tmp_path, capsys):
    (corpus / "b" / "silent.wav").unlink()
    twin = write_wav(tmp_path / "corpus" / "voice.wav", noise(2, 9))
    same_stem = twin.with_suffix(".mp3")
    same_stem.write_bytes(twin.read_bytes())  # a wav by its content
    out = tmp_path / "faces"
    assert run("predict", voice, twin, same_stem, corpus / "a", corpus / "b", "-o", out, "--models", models) == 0
    assert pictures(out) == [
        *("a/one.png", "a/two.png", "b/deep/er/three.png", "b/one.png"),
        *("voice.mp3.png", "voice.wav-2.png", "voice.wav.png"),
    ]
    assert "7 faces\n" in capsys.readouterr().out


def test_a_sheet_shows_the_mean_face_and_all_others(models, corpus, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert run("predict", corpus, "-o", tmp_path / "faces", "--models", models, "--sheet", sheet) == 1
    assert "4 of 5 faces on one sheet" in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert picture.width > 3 * 160 and picture.height > 2 * 160
        first = np.asarray(picture.crop((8, 8, 168, 168)), int)
    mean = np.asarray(Speech2Face.load(models).mean_face().resize((160, 160), Image.Resampling.LANCZOS), int)
    assert np.abs(first - mean).max() <= 1


def test_a_folder_without_recordings_is_one_clear_line(models, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("predict", tmp_path / "empty", "-o", tmp_path / "faces", "--models", models) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "empty holds no recording (.wav" in errors
    assert not (tmp_path / "faces").exists()


def test_several_faces_do_not_go_into_a_file(models, corpus, voice, tmp_path, capsys):
    out = tmp_path / "face.png"
    out.write_bytes(b"of before")
    assert run("predict", corpus, voice, "-o", out, "--models", models) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "face.png must be a folder" in errors and out.read_bytes() == b"of before"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.wav", b"this is not audio, whatever its name says " * 40, "text.wav"),
        ("empty.wav", b"", "empty.wav"),
        ("missing.wav", None, "no such file"),
    ],
)
def test_a_file_that_is_not_audio_is_one_clear_line(models, tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "face.png"
    out.write_bytes(b"of before")
    assert run("predict", tmp_path / name, "-o", out, "--models", models) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("speech2face: error: ") and words in errors
    assert out.read_bytes() == b"of before"


@pytest.mark.parametrize(
    ("samples", "word"), [(np.zeros(32000), "silent"), (np.full(3200, 0.3), "less than 1 s of sound; use a longer")]
)
def test_silence_and_a_fifth_of_a_second_are_refused(models, tmp_path, capsys, samples, word):
    assert run("predict", write_wav(tmp_path / "v.wav", samples), "-o", tmp_path / "face.png", "--models", models) != 0
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and word in errors


@pytest.mark.parametrize("out", ["nowhere/face.png", "face.txt"])
@pytest.mark.parametrize("option", ["-o", "--sheet"])
def test_an_output_that_cannot_be_written_is_reported_before_anything_is_done(
    models, voice, tmp_path, capsys, out, option, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run("predict", voice, option, tmp_path / out, "--models", models) != 0
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and out.split("/")[0] in errors
    assert [path.name for path in tmp_path.iterdir()] == ["voice.wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_not_utf_8_is_printed_as_an_escape(
    models: Path, voice: Path, tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
):
    odd = voice.rename(tmp_path / "caf\udce9.wav")
    printed = {name: TextIOWrapper(BytesIO(), encoding, errors) for name, errors in STREAMS.items()}
    for name, stream in printed.items():
        monkeypatch.setattr(sys, name, stream)
    command = ["predict", str(odd), "-o", str(tmp_path / "\udcff.png"), "--models", str(models)]
    assert cli.main(command) == 0
    odd.write_bytes(b"no sound")
    assert cli.main(command) == 1
    out, err = (flushed(stream) for stream in printed.values())
    assert b"\\udcff.png: drawn from 3.0 s of " in out and b"caf\\udce9.wav." in out
    assert err.count(b"\n") == 1 and b"caf\\udce9.wav: " in err


STREAMS = {"stdout": "strict", "stderr": "backslashreplace"}
"""How Python writes what an encoding does not have."""


def flushed(stream: TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, BytesIO)
    return stream.buffer.getvalue()


def test_missing_models_say_how_to_get_them(voice, tmp_path, capsys):
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", tmp_path / "none") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "encoder.safetensors is missing: train the network" in errors


@pytest.mark.slow
def test_the_command_itself_exits_non_zero_without_a_traceback(tmp_path: Path):
    command = [sys.executable, "-m", "speech2face.cli", "predict", str(tmp_path / "none.wav")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
