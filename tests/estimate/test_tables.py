import json
from pathlib import Path

import numpy as np

from speech2face.estimate.tables import multiply
from speech2face.face_networks.table import features_schema
from speech2face.pipeline.shards import footer_text, iterate_rows, shard_paths, write_shard
from tests.training.tables import feature_row


def written(folder: Path, speakers: int) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        feature_row(f"s{s:06d}/v/{n}", rng.normal(size=8).astype(np.float32)) for s in range(speakers) for n in range(2)
    ]
    write_shard(
        folder / "shard-a.parquet",
        rows,
        features_schema(8),
        {"ingredients": json.dumps({"weights": 1}), "fingerprint": "f"},
    )
    return folder


def test_each_speaker_has_the_rows_of_one_in_turn(tmp_path: Path):
    source, target = written(tmp_path / "a", 2), tmp_path / "b"
    multiply(source, target, 5, 4)
    rows = [row for path in shard_paths(target) for row in iterate_rows(path)]
    assert [row["speaker_id"] for row in rows] == [f"s{n:06d}" for n in range(5) for _ in range(2)]
    assert len({row["face_id"] for row in rows}) == 10
    assert all(row[key].startswith(row["speaker_id"] + "/v/") for row in rows for key in ("face_id", "clip_id"))
    assert [len(list(iterate_rows(path))) for path in shard_paths(target)] == [4, 4, 2]
    before = np.stack([row["feature"] for row in iterate_rows(source / "shard-a.parquet")])
    after = np.stack([row["feature"] for row in rows])
    assert np.abs(after - before[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]]).max() < 0.5 * before.std()
    assert len(np.unique(after, axis=0)) == 10  # two people with one face would be a leak


def test_what_a_table_was_made_by_is_kept(tmp_path: Path):
    multiply(written(tmp_path / "a", 1), tmp_path / "b", 1, 10)
    (path,) = shard_paths(tmp_path / "b")
    assert json.loads(footer_text(path, "ingredients")) == {"weights": 1}
    assert footer_text(path, "content") != footer_text(tmp_path / "a/shard-a.parquet", "content")  # other rows
