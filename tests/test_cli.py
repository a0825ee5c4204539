from pathlib import Path

import pyarrow as pa
import pytest
import torch

from speech2face import cli
from speech2face.face_networks.vgg_face import VggFace
from speech2face.pipeline.rejects import REJECTS
from speech2face.pipeline.shards import write_table


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        cli.main(["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for command in ("predict", "weights", "rejects", "compare", "why", "prune", "doctor"):
        assert command in text


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
