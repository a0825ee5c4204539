"""Faces of a table, whatever its shards."""

import numpy as np
import pytest

from speech2face.evaluation.faces import read_faces
from speech2face.face_networks.table import features_schema
from speech2face.pipeline.shards import write_shard


def feature_rows(names):
    rng = np.random.default_rng(0)
    common = {"clip_id": "id1/v/1", "speaker_id": "id1"}
    return [{"face_id": name, **common, "feature": rng.normal(size=4).astype(np.float32)} for name in names]


def test_faces_are_in_the_order_of_their_ids_whatever_the_names_of_shards(tmp_path):
    names = [f"id1/v/{i:02d}" for i in range(40)]  # several row groups
    rows = feature_rows(names)
    for folder, first, second in (("a", "shard-a", "shard-b"), ("b", "shard-b", "shard-a")):
        for shard, part in ((first, rows[:25:2] + rows[30:]), (second, rows[25:30] + rows[1:25:2])):
            write_shard(tmp_path / folder / f"{shard}.parquet", part, features_schema(4), {})
        faces = read_faces(tmp_path / folder, {"id1": "val"})
        assert faces.face_ids == names
        assert faces.splits == ["val"] * 40
        expected = np.stack([row["feature"] for row in rows])
        assert np.array_equal(faces.features, expected)
        for asked in (3, [39, 2, 2, 24, 25, 16], slice(20, 30)):
            assert np.array_equal(faces.features[asked], expected[asked])


def test_a_face_whose_speaker_has_no_split_is_refused(tmp_path):
    write_shard(tmp_path / "shard-a.parquet", feature_rows(["id1/v/1"]), features_schema(4), {})
    with pytest.raises(ValueError, match=r"speaker id1 is not in data/speakers\.parquet"):
        read_faces(tmp_path, {"id2": "train"})
