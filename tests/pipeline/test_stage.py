"""What every stage script shares."""

import ast
import io
import os
import runpy
import signal
import sys
from pathlib import Path

import pytest

from speech2face.pipeline import stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["toy.py"])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_closing_line_is_printed(capsys: pytest.CaptureFixture[str]):
    stage.run_stage(lambda params: f"toy: {params.encoder.base_channels} rows", "Doc.")
    assert capsys.readouterr().out == "toy: 8 rows\n"


def test_a_closing_line_that_cannot_be_encoded_is_printed_as_escapes(monkeypatch: pytest.MonkeyPatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "ascii"))
    stage.run_stage(lambda params: "toy: caf\u00e9 caf\udce9.wav", None)
    assert content.getvalue() == b"toy: caf\\xe9 caf\\udce9.wav\n"


@pytest.mark.parametrize(
    "error", [ValueError("what, value, bound"), FileNotFoundError("x is missing"), RuntimeError("a worker died")]
)
def test_what_a_user_can_fix_is_one_message(error: Exception):
    def main(params: object) -> str:
        raise error

    with pytest.raises(SystemExit) as done:
        stage.run_stage(main, None)
    assert done.value.code == f"toy.py: error: {error}"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        stage.run_stage(lambda params: str(1 / 0), None)


def test_a_user_who_asks_gets_the_traceback(monkeypatch: pytest.MonkeyPatch):
    def main(params: object) -> str:
        raise ValueError("what, value, bound")

    monkeypatch.setenv("S2F_DEBUG", "1")
    with pytest.raises(ValueError, match="what, value, bound"):
        stage.run_stage(main, None)


def test_other_parameters_are_read_where_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "p.yaml").write_text(text.replace("lr: 0.0004", "lr: 3e-05"))
    monkeypatch.setattr(sys, "argv", ["toy.py", "--params", str(tmp_path / "p.yaml")])
    stage.run_stage(lambda params: str(params.lr), None)
    assert capsys.readouterr().out == "3e-05\n"
    (tmp_path / "p.yaml").write_text(text.replace("lr: 0.0004", "lr: fast"))
    with pytest.raises(SystemExit) as done:
        stage.run_stage(lambda params: "never", None)
    assert str(done.value.code).startswith("toy.py: error: ") and "lr must be" in str(done.value.code)


def test_a_stage_does_not_start_with_other_libraries_than_dvc_records(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is made from another torch")

    monkeypatch.setattr(stage, "check_libraries", refuse)
    with pytest.raises(SystemExit) as done:
        stage.run_stage(lambda params: pytest.fail("it ran"), None)
    assert done.value.code == "toy.py: error: toy is made from another torch"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stage_with_its_number_and_lets_it_clean_up(number: signal.Signals):
    cleaned = []

    def main(params: object) -> str:
        try:
            os.kill(os.getpid(), number)
            return "never"
        finally:
            cleaned.append(True)

    with pytest.raises(SystemExit) as done:
        stage.run_stage(main, None)
    assert (done.value.code, cleaned) == (128 + number, [True])


@pytest.mark.parametrize("script", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_every_stage_explains_itself(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    text = capsys.readouterr().out
    assert done.value.code == 0
    description = ast.get_docstring(ast.parse(script.read_text()))
    assert description is not None and description in text
    assert "--params" in text
