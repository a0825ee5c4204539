from pathlib import Path

import numpy as np
import pytest

from speech2face.audio.table import spectrograms_schema
from speech2face.face_networks.table import features_schema
from speech2face.pipeline.shards import write_shard
from speech2face.training.pairs import Pairs, read_targets

FRAMES = 5
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "train"}


def spectrogram(number: int) -> np.ndarray:
    return np.full((2, 257, FRAMES), number, np.float16)


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path, dict[str, int]]:
    """Five speakers, three videos each (the last without a face), twelve clips a video; the value of a spectrogram is its clip's number."""
    clips, faces, number = [], [], {}
    for speaker, split in SPLITS.items():
        for video in range(3):
            for utterance in range(12):
                clip_id = f"{speaker}/v{video}/{utterance:05d}"
                number[clip_id] = len(number)
                keys = {"clip_id": clip_id, "speaker_id": speaker, "split": split}
                clips.append(
                    {
                        **keys,
                        "segment": 0,
                        "start_s": 0.0,
                        "duration_s": 6.0,
                        "spectrogram": spectrogram(number[clip_id]),
                    }
                )
            for picture in range(2 if video < 2 else 0):
                face = {"face_id": f"{speaker}/v{video}/{picture}", "clip_id": f"{speaker}/v{video}/00000"}
                faces.append({**face, "speaker_id": speaker, "split": split, "feature": [ord(speaker), video, picture]})
    for part in range(3):
        write_shard(tmp_path / "s" / f"shard-{part}.parquet", clips[part::3], spectrograms_schema(FRAMES), str(part))
    write_shard(tmp_path / "f" / "shard-0.parquet", faces, features_schema(3), "0")
    return tmp_path / "s", tmp_path / "f", number


def test_targets_are_the_mean_of_a_videos_faces(tables):
    targets = read_targets(tables[1])
    assert len(targets.index) == 10
    np.testing.assert_allclose(targets.features[targets.index["b/v1"]], [ord("b"), 1, 0.5])
    np.testing.assert_allclose(targets.speaker_means(["a", "d"]), [[ord("a"), 0.5, 0.5], [ord("d"), 0.5, 0.5]])
    assert targets.speakers("train") == ["a", "b", "e"]


def test_every_clip_with_a_face_comes_once_with_its_own_spectrogram_and_target(tables):
    spectrograms, features, number = tables
    targets = read_targets(features)
    pairs = Pairs(spectrograms, targets, "train")
    assert len(pairs) == 3 * 2 * 12
    for batches in (pairs.in_order(8), pairs.shuffled(8, seed=1, epoch=0)):
        seen = []
        for batch in batches:
            seen += batch.clip_ids
            assert [int(s[0, 0, 0]) for s in batch.spectrograms] == [number[clip] for clip in batch.clip_ids]
            assert batch.speaker_ids == [clip[0] for clip in batch.clip_ids]
            for clip, row in zip(batch.clip_ids, batch.target.tolist(), strict=True):
                assert row == targets.index[clip.rsplit("/", 1)[0]]
        assert sorted(seen) == sorted(clip for clip in number if clip[0] in "abe" and "/v2/" not in clip)


def test_the_order_depends_on_seed_and_epoch_alone(tables):
    spectrograms, features, _ = tables

    def order(seed: int, epoch: int) -> list[str]:
        pairs = Pairs(spectrograms, read_targets(features), "train")
        return [clip for batch in pairs.shuffled(8, seed, epoch) for clip in batch.clip_ids]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_batches_are_full_and_counted(tables):
    spectrograms, features, _ = tables
    pairs = Pairs(spectrograms, read_targets(features), "train")
    sizes = [len(batch.clip_ids) for batch in pairs.shuffled(10, 0, 0)]
    assert sizes == [10] * pairs.num_batches(10) == [10] * 7


def test_clips_of_many_groups_are_mixed(tables):
    spectrograms, features, _ = tables
    batch = next(Pairs(spectrograms, read_targets(features), "train").shuffled(24, 0, 0))
    assert len(set(batch.speaker_ids)) == 3


def test_a_speaker_in_two_splits_is_refused(tables, tmp_path: Path):
    spectrograms, features, _ = tables
    leaked = {
        "clip_id": "d/v0/00099",
        "speaker_id": "d",
        "split": "train",
        "segment": 0,
        "start_s": 0.0,
        "duration_s": 6.0,
    }
    write_shard(
        spectrograms / "shard-9.parquet", [leaked | {"spectrogram": spectrogram(0)}], spectrograms_schema(FRAMES), "9"
    )
    with pytest.raises(ValueError, match="speaker d is in two splits"):
        Pairs(spectrograms, read_targets(features), "train")


def test_a_split_without_pairs_is_refused(tables, tmp_path: Path):
    spectrograms, features, _ = tables
    with pytest.raises(ValueError, match="no clip of the dev split has a face"):
        Pairs(spectrograms, read_targets(features), "dev")
