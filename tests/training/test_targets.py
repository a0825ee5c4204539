"""The face that a voice is paired with, by each setting of encoder.target."""

from pathlib import Path

import numpy as np
import pytest

from speech2face.audio.table import spectrograms_schema
from speech2face.face_networks.table import features_schema
from speech2face.pipeline.shards import write_shard
from speech2face.training.pairs import Pairs, read_targets

FACES = {"a/v0": 2, "a/v1": 1, "a/v3": 1, "b/v0": 1, "c/hq": 3}
CLIPS = ("a/v0/1", "a/v1/1", "a/v2/1", "a/v3/1", "b/v0/1", "c/v0/1", "d/v0/1")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Faces whose features tell speaker, video and number; clip a/v2 has no face of its own video, b one video, c faces of none, d none."""
    faces = [
        {
            "face_id": f"{video}/{n}",
            "clip_id": f"{video}/1",
            "speaker_id": video[0],
            "split": "train",
            "feature": [ord(video[0]), sum(map(ord, video[2:])), n],
        }
        for video, count in FACES.items()
        for n in range(count)
    ]
    clips = [
        {
            "clip_id": clip,
            "speaker_id": clip[0],
            "split": "train",
            "segment": 0,
            "start_s": 0.0,
            "duration_s": 6.0,
            "spectrogram": np.zeros((2, 257, 4), np.float16),
        }
        for clip in CLIPS
    ]
    write_shard(tmp_path / "f" / "shard-0.parquet", faces, features_schema(3), "0")
    write_shard(tmp_path / "s" / "shard-0.parquet", clips, spectrograms_schema(4), "0")
    return tmp_path / "s", tmp_path / "f"


def paired(tables: tuple[Path, Path], target: str) -> dict[str, list[float]]:
    targets = read_targets(tables[1], target)
    (batch,) = Pairs(tables[0], targets, "train").in_order(len(CLIPS))
    return dict(zip(batch.clip_ids, targets.features[batch.target].tolist(), strict=True))


def feature(video: str) -> list[float]:
    return [ord(video[0]), sum(map(ord, video[2:])), (FACES[video] - 1) / 2]


def test_same_video(tables: tuple[Path, Path]):
    assert paired(tables, "video") == {f"{v}/1": feature(v) for v in ("a/v0", "a/v1", "a/v3", "b/v0")}


def test_another_video(tables: tuple[Path, Path]):
    others = {"a/v0": "a/v1", "a/v1": "a/v3", "a/v2": "a/v3", "a/v3": "a/v0", "c/v0": "c/hq"}
    found = paired(tables, "other_video")
    assert found == {f"{v}/1": feature(other) for v, other in others.items()}  # b has one video only


def test_the_speakers_mean(tables: tuple[Path, Path]):
    a = np.mean([feature(v) for v in ("a/v0", "a/v1", "a/v3")], axis=0)
    expected = {"a": a, "b": feature("b/v0"), "c": feature("c/hq")}
    found = paired(tables, "speaker")
    assert set(found) == {clip for clip in CLIPS if clip[0] in "abc"}
    for clip, value in found.items():
        np.testing.assert_allclose(value, expected[clip[0]], rtol=1e-6)
    targets = read_targets(tables[1], "speaker")
    assert targets.speakers("train") == ["a", "b", "c"]
    np.testing.assert_allclose(targets.speaker_means(["b"]), [feature("b/v0")])


def test_nothing_to_pair_says_what_to_change(tables: tuple[Path, Path]):
    with pytest.raises(ValueError, match=r"no clip of the val split has a face of its other_video"):
        Pairs(tables[0], read_targets(tables[1], "other_video"), "val")
