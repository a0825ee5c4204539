from pathlib import Path

import pytest

from speech2face import cli
from speech2face.estimate import measuring
from speech2face.estimate.rates import load, save
from tests.estimate.made_up import made_up_rates


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    save(tmp_path / "rates.json", made_up_rates())
    return tmp_path / "rates.json"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["estimate", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_table_from_rates(rates: Path, capsys: pytest.CaptureFixture[str]):
    status, out, _ = said(capsys, "voxceleb1", "--clips", "10000", "--rates", str(rates))
    assert status == 0 and out.startswith("VoxCeleb1: 10,000 clips, 1,465 videos, 81 speakers\n")
    assert "measured with other settings" not in out and "GB of recordings" in out
    assert all(line.count("\n") == 0 and len(line) <= 80 for line in out.splitlines())


def test_other_settings_are_said_in_a_line(rates: Path, capsys: pytest.CaptureFixture[str]):
    _, out, _ = said(capsys, "voxceleb1", "--rates", str(rates), "--params", "presets/voxceleb1.yaml")
    first = out.splitlines()[0]
    assert first.startswith("measured with other settings, so measure again: audio.stored spectrogram -> waveform")
    assert first.endswith("more")


def test_rates_are_passed_on(rates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    again = tmp_path / "again.json"
    assert said(capsys, "voxceleb1", "--rates", str(rates), "--save-rates", str(again), "--markdown")[0] == 0
    assert load(again) == load(rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vox"], "the corpora are voxceleb1"),
        (["voxceleb1", "--clips", "0"], "--clips must be at least 1 (got 0)"),
        (["--clips", "10"], "of one corpus; name it"),
        (["voxceleb1", "--gpus", "1"], "measure on a machine that has one"),
        (["voxceleb2", "--rates", "RATES"], "of voxceleb1 and not of voxceleb2"),
        (["voxceleb1", "--rates", "RATES", "--gpus", "4"], "measured with no GPU"),
        (["voxceleb1", "--rates", "RATES", "--processors", "0"], "--processors must be at least 1"),
        (["voxceleb1", "--rates", "none.json"], "none.json does not exist"),
        (["voxceleb1", "--params", "none.yaml"], "none.yaml does not exist"),
    ],
)
def test_bad_input_is_one_line(
    rates: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def measure(*_: object) -> None:
        raise AssertionError("nothing is to be measured")

    monkeypatch.setenv("S2F_DEVICE", "cpu")
    monkeypatch.setattr(measuring, "measure", measure)
    status, _, err = said(capsys, *(str(rates) if one == "RATES" else one for one in arguments))
    assert status == 1 and err.count("\n") == 1 and message in err
