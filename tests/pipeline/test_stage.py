import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speech2face.pipeline import stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["toy.py"])
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_closing_line_is_printed(capsys: pytest.CaptureFixture[str]):
    stage.run_stage(lambda params: f"toy: {params.encoder.base_channels} rows", "Doc.")
    assert capsys.readouterr().out == "toy: 8 rows\n"


@pytest.mark.parametrize(
    "error", [ValueError("what, value, bound"), FileNotFoundError("x is missing"), RuntimeError("a worker died")]
)
def test_what_a_user_can_mend_is_one_message(error: Exception):
    def main(params: object) -> str:
        raise error

    with pytest.raises(SystemExit) as done:
        stage.run_stage(main, None)
    assert done.value.code == f"toy.py: error: {error}"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        stage.run_stage(lambda params: str(1 / 0), None)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "deep" / "metrics.json"
    stage.write_json(path, {"b": 1, "a": [0.5]})
    assert json.loads(path.read_text()) == {"b": 1, "a": [0.5]}
    with pytest.raises(ValueError):
        stage.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["b"] == 1
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("script", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_every_stage_explains_itself_and_is_short(script: Path):
    lines = [line for line in script.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 45
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0 and "--params" in done.stdout
