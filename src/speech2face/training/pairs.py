"""Pairs of a voice and a face: segments of recordings, read row group by row group, each with the feature of the same video's face."""

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.pipeline.shards import read_columns, shard_paths, to_numpy

GROUPS_IN_BUFFER = 8


@dataclass(frozen=True)
class Targets:
    """What voices are paired with: the mean feature of each video's faces, or of each speaker's videos.

    features: float32 [V, D]; index: video (`<speaker>/<video>`), or speaker where `target` is speaker, to row; splits: speaker to
    split; target: the face of a clip's own `video`, of the speaker's next video (`other_video`), or of the `speaker`.
    """

    features: np.ndarray
    index: dict[str, int]
    splits: Mapping[str, str]
    target: str = "video"

    def row(self, clip_id: str) -> int | None:
        """Row of the face that a clip is paired with; None if there is none."""
        speaker, video = speaker_of(clip_id), video_of(clip_id)
        if self.target != "other_video":
            return self.index.get(speaker if self.target == "speaker" else video)
        videos = self._videos.get(speaker, [])
        other = videos[bisect.bisect_right(videos, video) % len(videos)] if videos else video
        return None if other == video else self.index[other]

    @cached_property
    def _videos(self) -> dict[str, list[str]]:
        """Sorted videos of each speaker."""
        videos: dict[str, list[str]] = {}
        for video in sorted(self.index):
            videos.setdefault(speaker_of(video), []).append(video)
        return videos

    def speakers(self, split: str) -> list[str]:
        """The speakers of a split that have faces, sorted."""
        return sorted({speaker_of(video) for video in self.index if self.splits[speaker_of(video)] == split})

    def mean_face(self) -> np.ndarray:
        """Mean feature [D] of the training speakers."""
        return self.speaker_means(self.speakers("train")).mean(0)

    def speaker_means(self, speakers: Sequence[str]) -> np.ndarray:
        """Mean feature [S, D] over each speaker's videos."""
        rows: dict[str, list[int]] = {}
        for video, row in self.index.items():
            rows.setdefault(speaker_of(video), []).append(row)
        return np.stack([self.features[rows[speaker]].mean(0) for speaker in speakers])


def read_targets(directory: Path, splits: Mapping[str, str], target: str = "video") -> Targets:
    """Targets from a feature table and the split of each speaker; `target` as in `Targets`.

    Raises ValueError if a face's speaker has no split.
    """
    table = read_columns(directory, ["face_id", "speaker_id", "feature"]).sort_by("face_id")
    check_known(table["speaker_id"].unique().to_pylist(), splits)
    videos = [video_of(face_id) for face_id in table["face_id"].to_pylist()]
    names, inverse = np.unique(videos, return_inverse=True)
    features = to_numpy(table["feature"])
    sums = np.zeros((len(names), features.shape[1]))
    np.add.at(sums, inverse, features)
    means = (sums / np.bincount(inverse)[:, None]).astype(np.float32)
    by_video = Targets(means, {str(name): i for i, name in enumerate(names)}, splits, target)
    if target != "speaker":
        return by_video
    speakers = sorted({speaker_of(str(name)) for name in names})
    return Targets(by_video.speaker_means(speakers), {s: i for i, s in enumerate(speakers)}, splits, target)


def check_known(speakers: Iterable[str], splits: Mapping[str, str]) -> None:
    """Raise ValueError if a speaker has no split: a table that was made from another corpus."""
    if unknown := sorted(set(speakers) - splits.keys()):
        raise ValueError(f"speaker {unknown[0]} is not in data/speakers.parquet; run: dvc repro")


@dataclass(frozen=True)
class Batch:
    """heard: what an encoder hears of each segment, spectrograms float16 [B, 2, 257, frames] or embeddings float32 [B, S, D]; clip_ids
    and speaker_ids of length B; target: rows of `Targets.features`, int [B]."""

    heard: torch.Tensor
    clip_ids: list[str]
    speaker_ids: list[str]
    target: torch.Tensor


HEARD = ("spectrogram", "embedding")
"""The columns that are heard; each table of segments has one of them."""


class Pairs:
    """The clips of one split that have a face, as batches; of a table of segments.

    Raises ValueError if a clip's speaker has no split, or if no clip of the split has a face.
    """

    def __init__(self, directory: Path, targets: Targets, split: str) -> None:
        self.targets = targets
        columns = pq.read_schema(shard_paths(directory)[0]).names
        self._column = next(name for name in HEARD if name in columns)
        found: list[tuple[str, Path, int, list[int]]] = []  # first clip, shard, row group, rows of it
        self.num_without_face = 0
        for path in shard_paths(directory):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["clip_id", "speaker_id"])
                    speakers, clips = table["speaker_id"].to_pylist(), table["clip_id"].to_pylist()
                    check_known(set(speakers), targets.splits)
                    splits = [targets.splits[speaker] for speaker in speakers]
                    rows = [i for i, clip in enumerate(clips) if splits[i] == split and targets.row(clip) is not None]
                    self.num_without_face += splits.count(split) - len(rows)
                    if rows:
                        found.append((clips[rows[0]], path, group, rows))
        # By clip and not by the shards' names, which change with settings that leave the rows as they were.
        self.groups = [(path, group, rows) for _, path, group, rows in sorted(found)]
        if not self.groups:
            raise ValueError(
                f"no clip of the {split} split has a face of its {targets.target}; add speakers, or change corpus.splits or "
                "encoder.target"
            )

    def __len__(self) -> int:
        """Number of clips."""
        return sum(len(rows) for _, _, rows in self.groups)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All clips once, as stored."""
        for path, group, rows in self.groups:
            for start in range(0, len(rows), batch_size):
                yield self._collate(
                    [self._read(path, group, rows)], [(0, i) for i in range(start, min(start + batch_size, len(rows)))]
                )

    def shuffled(self, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
        """All clips once, in an order that depends on (seed, epoch) alone; clips that do not fill a batch are left out.

        Row groups are drawn at random and mixed `GROUPS_IN_BUFFER` at a time, so memory does not grow with the corpus.
        """
        rng = np.random.default_rng([seed, epoch])
        order = [self.groups[i] for i in rng.permutation(len(self.groups))]
        waiting: list[tuple[_Group, int]] = []
        for start in range(0, len(order), GROUPS_IN_BUFFER):
            buffer = [self._read(*group) for group in order[start : start + GROUPS_IN_BUFFER]]
            fresh = [(group, row) for group in buffer for row in range(len(group.clip_ids))]
            waiting += [fresh[i] for i in rng.permutation(len(fresh))]
            while len(waiting) >= batch_size:
                chosen, waiting = waiting[:batch_size], waiting[batch_size:]
                yield self._collate([group for group, _ in chosen], [(i, row) for i, (_, row) in enumerate(chosen)])

    def num_batches(self, batch_size: int) -> int:
        """Batches that `shuffled` gives."""
        return len(self) // batch_size

    def _read(self, path: Path, group: int, rows: list[int]) -> "_Group":
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(group, columns=["clip_id", "speaker_id", self._column]).take(rows)
        return _Group(to_numpy(table[self._column]), table["clip_id"].to_pylist(), table["speaker_id"].to_pylist())

    def _collate(self, groups: list["_Group"], chosen: list[tuple[int, int]]) -> Batch:
        clips = [groups[g].clip_ids[row] for g, row in chosen]
        return Batch(
            torch.from_numpy(np.stack([groups[g].heard[row] for g, row in chosen])),
            clips,
            [groups[g].speaker_ids[row] for g, row in chosen],
            torch.tensor([self.targets.row(clip) for clip in clips]),
        )


@dataclass(frozen=True)
class _Group:
    heard: np.ndarray
    clip_ids: list[str]
    speaker_ids: list[str]
