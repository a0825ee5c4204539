from pathlib import Path

import pytest

from speech2face import cli, doctor

ROOT = Path(__file__).parents[1]


def test_a_healthy_machine_says_so(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor", "--root", str(ROOT)]) == 0
    text = capsys.readouterr().out
    for word in (
        "torch",
        "dlib-bin",
        "mmod_human_face_detector.dat",
        "sha256 as expected",
        "device",
        "workers",
        "params.yaml",
    ):
        assert word in text
    assert "MISSING" not in text


def test_missing_things_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    (tmp_path / "requirements.txt").write_text("# a comment\ntorch==1.0  # old\nno-such-package==1.0\n")
    monkeypatch.setenv("S2F_WORKERS", "none")
    assert cli.main(["doctor", "--root", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "tested with 1.0" in text
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("MISSING")}
    assert set(lines) == {"no-such-package", "workers", "params.yaml"}
    assert "pip install -r requirements.txt" in lines["no-such-package"]
    assert "S2F_WORKERS" in lines["workers"]


def test_weights_are_found_once_trained(tmp_path: Path):
    path = tmp_path / "models" / "encoder" / "encoder.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    texts = {f.subject: f.text for f in doctor.findings(tmp_path)}
    assert "found" in texts["encoder weights"]
    assert "dvc repro" in texts["decoder weights"]
