"""The list of what was left out."""

from pathlib import Path

import pyarrow as pa
import pytest

from speech2face.pipeline.rejects import REJECTS, read_rejects, rejects_report
from speech2face.pipeline.shards import write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    def write(folder: str, stage: str, reasons: list[str]) -> None:
        rows = [
            {"item": f"{stage}-{i}", "stage": stage, "reason": r, "message": f"m{i}"} for i, r in enumerate(reasons)
        ]
        write_table(tmp_path / "data" / folder / "rejects.parquet", pa.Table.from_pylist(rows, REJECTS))

    write("spectrograms", "segment_audio", ["silent"] * 30 + ["too_short"])
    write("faces", "crop_faces", ["no_face"])
    write("features", "extract_features", [])
    return tmp_path


def test_counts_and_lists(root: Path):
    assert read_rejects(root).num_rows == 32
    lines = [line.split() for line in rejects_report(root, limit=2).splitlines()]
    assert lines[:4] == [
        ["32", "rejects"],
        ["1", "crop_faces", "no_face"],
        ["30", "segment_audio", "silent"],
        ["1", "segment_audio", "too_short"],
    ]
    assert lines[5:] == [
        ["crop_faces", "no_face", "crop_faces-0:", "m0"],
        ["segment_audio", "silent", "segment_audio-0:", "m0"],
        ["...", "and", "30", "more"],
    ]


def test_a_stage_or_a_reason_alone(root: Path):
    assert rejects_report(root, stage="crop_faces").splitlines()[-1] == "crop_faces  no_face  crop_faces-0: m0"
    assert len(rejects_report(root, reason="silent", limit=None).splitlines()) == 2 + 1 + 30
    with pytest.raises(ValueError, match="there are no_face, silent, too_short"):
        rejects_report(root, reason="shy")


def test_before_any_stage(tmp_path: Path):
    with pytest.raises(ValueError, match="no stage has run"):
        rejects_report(tmp_path)
