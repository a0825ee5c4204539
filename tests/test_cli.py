"""The command line: every command is reached, and what goes wrong is one line."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from speech2face import __version__, cli
from speech2face.face_networks.vgg_face import VggFace
from speech2face.pipeline.rejects import REJECTS
from speech2face.pipeline.shards import write_table

COMMANDS = (
    "predict",
    "serve",
    "export",
    "weights",
    "weights check",
    "rejects",
    "compare",
    "estimate",
    "why",
    "prune",
    "doctor",
)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        cli.main(["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        if " " not in command:
            assert command in text


@pytest.mark.slow
def test_a_weight_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    path = tmp_path / "w.pth"
    torch.save(VggFace((4, 8, 16, 32, 32), 48, 40, 32).state_dict(), path)
    assert cli.main(["weights", "check", str(path)]) == 0
    text = capsys.readouterr().out
    for word in ("pytorch", "sha256", "RGB", "129.1863", "NOT the published size"):
        assert word in text


def test_a_file_without_weights_is_refused_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "w.bin"
    path.write_bytes(b"nothing of the kind" * 100)
    assert cli.main(["weights", "check", str(path)]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("speech2face: error: ") and "vgg_face_dag.pth" in errors and "VGG_FACE.t7" in errors


def test_rejects_are_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"item": f"s/v/{i}", "stage": "crop_faces", "reason": "no_face", "message": "none"} for i in range(25)]
    write_table(tmp_path / "data" / "rejects" / "crop_faces.parquet", pa.Table.from_pylist(rows, REJECTS))
    assert cli.main(["rejects", "--root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "25 rejects" in text and "and 5 more" in text
    assert cli.main(["rejects", "--root", str(tmp_path), "--all"]) == 0
    assert "s/v/24" in capsys.readouterr().out
    assert cli.main(["rejects", "--root", str(tmp_path / "none")]) == 1
    assert "dvc repro" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        cli.main([*command.split(), "--help"])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: speech2face {command} ")


def test_help_answers_at_once():
    """Without torch, whose import takes seconds."""
    script = (
        "import sys, contextlib; from speech2face import cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "print(sorted({'torch', 'numpy', 'dvc', 'pyarrow'} & sys.modules.keys()))"
    )
    path = {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=path)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert (done.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["draw"], ["weights"], ["predict"], ["export"], ["why"], ["prune", "--all"]])
def test_a_wrong_command_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert capsys.readouterr().err.startswith("usage: speech2face ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["why", "draw"], "there is no stage 'draw' in"),
        (["prune"], "params.yaml does not exist; run from the repository's root"),
        (["rejects"], "no stage has run yet: dvc repro"),
        (["export", "--onnx", "out"], "is missing: train the network, or copy both"),
        (["compare", "a.csv", "b.csv"], "params.yaml does not exist"),
        (["weights", "check", "none.pth"], "none.pth"),
    ],
)
def test_outside_a_repository_commands_say_so_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("speech2face: error: ") and captured.err.count("\n") == 1
    assert words in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "module", "function", "called_with"),
    [
        (["why", "crop_faces"], "speech2face.why", "why", ("crop_faces",)),
        (["prune"], "speech2face.prune", "prune", (False,)),
        (["prune", "--dry-run"], "speech2face.prune", "prune", (True,)),
    ],
)
def test_commands_print_what_their_function_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    module: str,
    function: str,
    called_with: tuple,
):
    calls = []
    monkeypatch.setattr(f"{module}.{function}", lambda *given: (calls.append(given), "what was found")[1])
    assert cli.main(arguments) == 0
    assert (calls, capsys.readouterr().out) == ([called_with], "what was found\n")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(stage: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("speech2face.why.why", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["why", "crop_faces"])
