"""Batches of clips, each with its own face."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from speech2face.training.pairs import Pairs, Targets, read_targets
from speech2face.training.reading import Batch
from tests.training.tables import clip_row, feature_row, rename_shards, write_clips, write_features

FRAMES = 5
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "train"}


def spectrogram(number: int) -> np.ndarray:
    return np.full((2, 257, FRAMES), number)


class Corpus:
    """Five speakers, three videos each (the last without a face), twelve clips a video; the value of a spectrogram is its clip's number.
    Rows are dealt to three shards."""

    def __init__(self, root: Path) -> None:
        self.spectrograms, self.features = root / "spectrograms", root / "features"
        clips = [f"{s}/v{video}/{utterance:05d}" for s in SPLITS for video in range(3) for utterance in range(12)]
        faces = [(s, video, picture) for s in SPLITS for video in range(2) for picture in range(2)]
        self.number = {clip_id: number for number, clip_id in enumerate(clips)}
        write_clips(self.spectrograms, [clip_row(clip, spectrogram(self.number[clip])) for clip in clips], 3)
        rows = [feature_row(f"{s}/v{v}/{p}", [ord(s) + np.pi * p, v / 3, p]) for s, v, p in faces]
        write_features(self.features, rows, 3)

    def targets(self) -> Targets:
        return read_targets(self.features, SPLITS)

    def pairs(self, split: str = "train") -> Pairs:
        return Pairs(self.spectrograms, self.targets(), split)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def test_targets_are_the_mean_of_a_videos_faces(corpus: Corpus):
    targets = corpus.targets()
    assert len(targets.index) == 10
    np.testing.assert_allclose(targets.features[targets.index["b/v1"]], [ord("b") + np.pi / 2, 1 / 3, 0.5], rtol=1e-6)
    expected = [[ord(speaker) + np.pi / 2, 1 / 6, 0.5] for speaker in "ad"]
    np.testing.assert_allclose(targets.speaker_means(["a", "d"]), expected, rtol=1e-6)
    assert targets.speakers("train") == ["a", "b", "e"]
    assert (targets.speakers("val"), targets.speakers("test")) == (["c"], ["d"])


def test_every_clip_with_a_face_comes_once_with_its_own_spectrogram_and_target(corpus: Corpus):
    pairs, index = corpus.pairs(), corpus.targets().index
    assert len(pairs) == 3 * 2 * 12
    assert pairs.num_without_face == 3 * 12
    for batches in (pairs.in_order(8), pairs.shuffled(8, seed=1, epoch=0)):
        seen = []
        for batch in batches:
            seen += batch.clip_ids
            assert batch.heard.dtype == torch.float16
            assert [int(s[0, 0, 0]) for s in batch.heard] == [corpus.number[clip] for clip in batch.clip_ids]
            assert batch.speaker_ids == [clip[0] for clip in batch.clip_ids]
            for clip, row in zip(batch.clip_ids, batch.target.tolist(), strict=True):
                assert row == index[clip.rsplit("/", 1)[0]]
        assert sorted(seen) == sorted(clip for clip in corpus.number if clip[0] in "abe" and "/v2/" not in clip)


def test_the_splits_are_those_of_the_table_of_speakers(corpus: Corpus):
    moved = SPLITS | {"a": "test", "d": "train"}
    pairs = Pairs(corpus.spectrograms, read_targets(corpus.features, moved), "train")
    assert {speaker for batch in pairs.in_order(8) for speaker in batch.speaker_ids} == {"b", "d", "e"}


def test_the_order_depends_on_seed_and_epoch_alone(corpus: Corpus):
    def order(seed: int, epoch: int) -> list[str]:
        return [clip for batch in corpus.pairs().shuffled(8, seed, epoch) for clip in batch.clip_ids]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def as_values(batches: Iterator[Batch]) -> list[tuple]:
    return [(b.clip_ids, b.speaker_ids, b.target.tolist(), b.heard.numpy().tobytes()) for b in batches]


def test_the_names_of_shards_change_neither_targets_nor_batches(corpus: Corpus):
    # Numbers whose sum depends on the order in which they are added, each in another shard.
    order = [1e20, -1e20, 1.0]
    rows = [feature_row(f"{s}/v{v}/{p}", [order[p]] * 3) for s in SPLITS for v in range(2) for p in range(3)]
    write_features(corpus.features, rows, 3)

    def everything() -> tuple:
        targets, pairs = corpus.targets(), corpus.pairs()
        shuffled = [as_values(pairs.shuffled(8, 3, epoch)) for epoch in range(2)]
        return targets.features.tobytes(), targets.index, as_values(pairs.in_order(8)), *shuffled

    before = everything()
    rename_shards(corpus.spectrograms)
    rename_shards(corpus.features)
    assert everything() == before


def clips_by_group(corpus: Corpus) -> list[list[str]]:
    """The training clips with a face of each row group, the groups in the order of their first."""
    groups = []
    for path in corpus.spectrograms.glob("*.parquet"):
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            clips = file.read_row_group(number)["clip_id"].to_pylist()
            groups.append([clip for clip in clips if SPLITS[clip[0]] == "train" and "/v2/" not in clip])
    return sorted(group for group in groups if group)


def test_groups_are_shuffled_and_their_clips_mixed_eight_groups_at_a_time(corpus: Corpus):
    groups = clips_by_group(corpus)
    assert len(groups) > 8
    for seed, epoch in ((0, 0), (0, 1), (5, 2)):
        rng, expected = np.random.default_rng([seed, epoch]), []
        order = rng.permutation(len(groups))
        for part in (order[:8], order[8:]):
            clips = [clip for group in part for clip in groups[group]]
            expected += [clips[i] for i in rng.permutation(len(clips))]
        for size in (7, 70):
            found = [clip for batch in corpus.pairs().shuffled(size, seed, epoch) for clip in batch.clip_ids]
            assert found == expected[: len(expected) // size * size] != []


@pytest.mark.parametrize("batch_size", [5, 8, 70])
def test_an_epoch_can_begin_at_any_step(corpus: Corpus, batch_size: int):
    """Also where a batch takes the clips of more than eight row groups."""
    pairs = corpus.pairs()
    whole = as_values(pairs.shuffled(batch_size, 1, 2))
    for step in range(len(whole) + 1):
        assert as_values(pairs.shuffled(batch_size, 1, 2, step)) == whole[step:]


def test_what_was_done_of_an_epoch_is_not_read_again(corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    pairs, reads, read = corpus.pairs(), [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda *given, **named: reads.append(given) or read(*given, **named)
    )
    list(pairs.shuffled(4, 0, 0, pairs.num_batches(4) - 1))
    assert 1 <= len(reads) <= 4


def test_batches_are_full_and_counted(corpus: Corpus):
    pairs = corpus.pairs()
    sizes = [len(batch.clip_ids) for batch in pairs.shuffled(10, 0, 0)]
    assert sizes == [10] * pairs.num_batches(10) == [10] * 7


def test_clips_of_many_groups_are_mixed(corpus: Corpus):
    batch = next(corpus.pairs().shuffled(24, 0, 0))
    assert len(set(batch.speaker_ids)) == 3


def test_the_segments_of_a_long_recording_stay_in_order(tmp_path: Path):
    """Also where they fill more than one row group, which then begin with the same clip."""
    write_clips(tmp_path / "s", [clip_row("a/v0/00000", spectrogram(number), number) for number in range(40)])
    write_features(tmp_path / "f", [feature_row("a/v0/0", [1.0])])
    pairs = Pairs(tmp_path / "s", read_targets(tmp_path / "f", SPLITS), "train")
    (batch,) = [torch.cat([batch.heard for batch in pairs.in_order(8)])]
    assert batch[:, 0, 0, 0].tolist() == list(range(40))


@pytest.mark.parametrize("table", ["spectrograms", "features"])
def test_a_speaker_without_a_split_is_refused(corpus: Corpus, table: str):
    known = {speaker: split for speaker, split in SPLITS.items() if speaker != "d"}
    with pytest.raises(ValueError, match=r"speaker d is not in data/speakers.parquet; run: dvc repro"):
        if table == "features":
            read_targets(corpus.features, known)
        else:
            Pairs(corpus.spectrograms, Targets(np.zeros((1, 1), np.float32), {"a/v0": 0}, known), "train")


def test_a_split_without_pairs_is_refused(corpus: Corpus):
    write_features(corpus.features, [feature_row("a/v0/0", [0.0, 0.0, 0.0])] * 3, 3)
    with pytest.raises(ValueError, match=r"no clip of the val split has a face of its video; add speakers, or change"):
        corpus.pairs("val")
