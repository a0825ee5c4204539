"""The face that a voice is paired with, by each setting of encoder.target."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from speech2face.training.pairs import VOICES, Pairs, read_targets
from tests.training.tables import clip_row, feature_row, write_clips, write_embeddings, write_features

FACES = {"a/v0": 2, "a/v1": 1, "a/v3": 1, "b/v0": 1, "c/hq": 3}
CLIPS = ("a/v0/1", "a/v1/1", "a/v2/1", "a/v3/1", "b/v0/1", "c/v0/1", "d/v0/1")
SPLITS = dict.fromkeys("abcd", "train")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """Faces whose features say speaker, video and number; clip a/v2 has no face of its own video, b one video, c faces of none, d none."""
    faces = [
        feature_row(f"{video}/{n}", [ord(video[0]), sum(map(ord, video[2:])), n])
        for video, count in FACES.items()
        for n in range(count)
    ]
    write_features(tmp_path / "f", faces)
    write_clips(tmp_path / "s", [clip_row(clip, np.zeros((2, 257, 4))) for clip in CLIPS])
    return tmp_path / "s", tmp_path / "f"


def paired(tables: tuple[Path, Path], target: str) -> dict[str, list[float]]:
    targets = read_targets(tables[1], SPLITS, target)
    (batch,) = Pairs(tables[0], targets, "train").in_order(len(CLIPS))
    return dict(zip(batch.clip_ids, targets.features[batch.target].tolist(), strict=True))


def test_a_videos_faces_are_added_up_in_the_order_of_their_ids(tmp_path: Path):
    """In float64 from zero, wherever they lie: sums whose last bits depend on the order, in shards that hold parts of each video."""
    rng = np.random.default_rng(0)
    counts = {
        "a/v": 14,
        "a/v-1": 3,
        "a/w": 9,
        "b/v": 1,
        "d/v0": 20,
    }  # by name v comes before v-1, the faces of v-1 before v's
    faces = {
        f"{video}/{n:02d}": rng.standard_normal(4) * 10.0 ** rng.integers(-8, 8, 4)
        for video in counts
        for n in range(counts[video])
    }
    faces["b/v/00"] = np.array([-0.0, 0.0, 1.0, np.float32(0.1)])
    rows = [feature_row(face, values) for face, values in faces.items()]
    write_features(tmp_path, [rows[i] for i in rng.permutation(len(rows))], 4)
    found = read_targets(tmp_path, SPLITS)
    assert list(found.index) == sorted(counts)
    for video, row in found.index.items():
        total = [0.0] * 4
        for face in sorted(name for name in faces if name.rsplit("/", 1)[0] == video):
            total = [a + float(np.float32(b)) for a, b in zip(total, faces[face], strict=True)]
        mean = np.array([value / counts[video] for value in total]).astype(np.float32)
        assert found.features[row].tobytes() == mean.tobytes()


@pytest.mark.parametrize("target", ["video", "other_video", "speaker"])
def test_clips_without_a_face_have_no_row(tables: tuple[Path, Path], target: str):
    rows = read_targets(tables[1], SPLITS, target).rows(pa.chunked_array([CLIPS[:3], CLIPS[3:]]))
    without = {"video": "a/v2 c/v0 d/v0", "other_video": "b/v0 d/v0", "speaker": "d/v0"}[target].split()
    assert [clip for clip, row in zip(CLIPS, rows, strict=True) if row < 0] == [f"{video}/1" for video in without]


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
    targets = read_targets(tables[1], SPLITS, "speaker")
    assert targets.speakers("train") == ["a", "b", "c"]
    np.testing.assert_allclose(targets.speaker_means(["b"]), [feature("b/v0")])


def test_nothing_to_pair_says_what_to_change(tables: tuple[Path, Path]):
    with pytest.raises(ValueError, match=r"no clip of the val split has a face of its other_video"):
        Pairs(tables[0], read_targets(tables[1], SPLITS, "other_video"), "val")


def test_voices_are_means_of_whole_segments_over_a_video(tmp_path: Path):
    rng, clips = np.random.default_rng(0), {"a/v/0": 2, "a/v/1": 1, "a/w/0": 1, "b/v/0": 3}
    segments = {
        (clip, n): rng.normal(size=(6, 4)).astype(np.float32) for clip, count in clips.items() for n in range(count)
    }
    write_embeddings(tmp_path, segments, 3)
    found = read_targets(tmp_path, SPLITS, columns=VOICES)
    assert list(found.index) == ["a/v", "a/w", "b/v"] and found.features.dtype == np.float32
    for video, row in found.index.items():
        whole = [values[0] for (clip, _), values in segments.items() if clip.startswith(video)]
        np.testing.assert_allclose(found.features[row], np.mean(whole, axis=0), rtol=1e-6)
