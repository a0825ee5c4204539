"""Pairs of a voice and a face: segments of recordings, read row group by row group, each with the feature of the same video's face."""

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speech2face.corpus.ids import speaker_of, video_of, videos_of
from speech2face.pipeline.shards import shard_paths, to_numpy
from speech2face.training.reading import Batch, Block, Rows, SegmentTable, opened

GROUPS_IN_BUFFER = 8
FACES, VOICES = ("face_id", "feature"), ("clip_id", "embedding")
"""The columns of ids and of values of the tables of features and of embeddings."""


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

    def rows(self, clip_ids: pa.ChunkedArray) -> np.ndarray:
        """Rows of the faces that clips are paired with, int64 [clips]; -1 where there is none."""
        videos = videos_of(clip_ids)
        return np.array([self._row(video) for video in videos.dictionary.to_pylist()], np.int64)[videos.indices]

    def _row(self, video: str) -> int:
        speaker = speaker_of(video)
        if self.target != "other_video":
            return self.index.get(speaker if self.target == "speaker" else video, -1)
        videos = self._videos.get(speaker, [])
        other = videos[bisect.bisect_right(videos, video) % len(videos)] if videos else video
        return -1 if other == video else self.index[other]

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


def read_targets(
    directory: Path, splits: Mapping[str, str], target: str = "video", columns: tuple[str, str] = FACES
) -> Targets:
    """Targets from a feature table and the split of each speaker; `target` as in `Targets`. With `VOICES` as columns, from a table of
    embeddings, of which those of whole segments are used.

    Raises ValueError if a face's speaker has no split, and for a shard that cannot be read.
    """
    id_column, value_column = columns
    shards, index = _scan(directory, id_column)
    with opened(shard_paths(directory)[0]) as file:
        feature_dim = file.schema_arrow.field(value_column).type.shape[-1]
    features = np.empty((len(index), feature_dim), np.float32)
    for rows in _in_order(shards, columns):
        check_known(rows["speaker_id"].unique().to_pylist(), splits)
        videos, values = videos_of(rows[id_column]), to_numpy(rows[value_column])
        if values.ndim == 3:
            values = values[:, 0]
        counts = np.bincount(videos.indices)
        features[[index[video] for video in videos.dictionary.to_pylist()]] = _sums(values, counts) / counts[:, None]
    by_video = Targets(features, index, splits, target)
    if target != "speaker":
        return by_video
    speakers = sorted({speaker_of(video) for video in index})
    return Targets(by_video.speaker_means(speakers), {s: i for i, s in enumerate(speakers)}, splits, target)


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums float64 [V, D] of the first counts[0] rows of [N, D], of the next counts[1], and so on, each added up in the rows' order."""
    starts, sums = np.cumsum(counts) - counts, np.zeros((len(counts), values.shape[1]))
    for number in range(counts.max()):  # np.add.at adds in this order too, in ten times as long
        longer = np.flatnonzero(counts > number)
        sums[longer] += values[starts[longer] + number]
    return sums


def _scan(directory: Path, id_column: str) -> tuple[list[tuple[str, Path]], dict[str, int]]:
    """The shards of a table, each with the least of its ids, in the order of those; and the places of all videos in order."""
    shards, videos = [], set()
    for path in shard_paths(directory):
        with opened(path) as file:
            ids = file.read(columns=[id_column], use_threads=False)[id_column]
        if len(ids):
            shards.append((pc.min(ids).as_py(), path))
            videos.update(videos_of(ids).dictionary.to_pylist())
    return sorted(shards), {video: place for place, video in enumerate(sorted(videos))}


def _in_order(shards: Sequence[tuple[str, Path]], columns: tuple[str, str]) -> Iterator[pa.Table]:
    """The rows of a table in the order of their ids, in parts, so that few shards are in memory at once; all rows of a video are in one
    part. `shards` as `_scan` returns them."""
    id_column, value_column = columns
    waiting: list[pa.Table] = []
    for number, (_, path) in enumerate(shards):
        with opened(path) as file:
            table = file.read(columns=[id_column, "speaker_id", value_column], use_threads=False)
        waiting = [pa.concat_tables([*waiting, table]).sort_by(id_column)]
        if number + 1 < len(shards):  # what no later shard adds to; a video's ids stand together
            bound = video_of(shards[number + 1][0]) + "/"
            num_complete = pc.sum(pc.less(waiting[0][id_column], bound)).as_py()
            if num_complete:
                yield waiting[0][:num_complete]
            waiting = [waiting[0][num_complete:]]
    yield from waiting


def check_known(speakers: Iterable[str], splits: Mapping[str, str]) -> None:
    """Raise ValueError if a speaker has no split: a table that was made from another corpus."""
    if unknown := sorted(set(speakers) - splits.keys()):
        raise ValueError(f"speaker {unknown[0]} is not in data/speakers.parquet; run: dvc repro")


class Pairs:
    """The clips of one split that have a face, as batches; of a table of segments. `pin_memory` as in `SegmentTable`.

    Raises ValueError if a clip's speaker has no split, if no clip of the split has a face, and for a shard that cannot be read.
    """

    def __init__(self, directory: Path, targets: Targets, split: str, pin_memory: bool = False) -> None:
        self.targets = targets
        self._table = SegmentTable(directory, pin_memory)
        ids, group, row = self._table.ids()
        speakers = ids["speaker_id"].combine_chunks().dictionary_encode()
        names = speakers.dictionary.to_pylist()
        check_known(names, targets.splits)
        in_split = np.array([targets.splits[name] == split for name in names])[speakers.indices]
        target = targets.rows(ids["clip_id"])
        used = np.flatnonzero(in_split & (target >= 0))
        self.num_without_face = int(in_split.sum()) - len(used)
        if not len(used):
            raise ValueError(
                f"no clip of the {split} split has a face of its {targets.target}; add speakers, or change corpus.splits or "
                "encoder.target"
            )
        # Groups by their first clip and not by the shards' names, which change with settings that leave the rows as they were.
        starts = np.flatnonzero(np.diff(group[used], prepend=-1))
        sizes = np.diff(starts, append=len(used))
        order = pc.sort_indices(ids["clip_id"].take(used[starts])).to_numpy()
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        used = used[np.argsort(np.repeat(place, sizes), kind="stable")]
        self._rows = Rows(group[used], row[used], target[used])
        self._starts = np.concatenate([[0], np.cumsum(sizes[order])])

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._rows)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All clips once, as stored, row group by row group."""
        blocks = (
            Block(self._rows.take(positions), np.full(len(positions), group), np.arange(len(positions)), len(positions))
            for group, positions in enumerate(map(self._positions, range(len(self._starts) - 1)))
        )
        for group in self._table.read_ahead(blocks):
            for start in range(0, len(group.clip_ids), batch_size):
                yield group.part(start, start + batch_size)

    def shuffled(self, batch_size: int, seed: int, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """All clips once, in an order that depends on (seed, epoch) alone; clips that do not fill a batch are left out. So are the first
        `first_step` batches, without being read.

        Row groups are drawn at random and mixed `GROUPS_IN_BUFFER` at a time, so memory does not grow with the corpus.
        """
        return self._table.read_ahead(
            self._shuffled_blocks(batch_size, np.random.default_rng([seed, epoch]), first_step)
        )

    def _shuffled_blocks(self, batch_size: int, rng: np.random.Generator, first_step: int) -> Iterator[Block]:
        order = rng.permutation(len(self._starts) - 1)
        num_before = 0
        for start in range(0, len(order), GROUPS_IN_BUFFER):
            fresh = np.concatenate([self._positions(group) for group in order[start : start + GROUPS_IN_BUFFER]])
            mixed = fresh[rng.permutation(len(fresh))]
            step, place = np.divmod(num_before + np.arange(len(mixed)), batch_size)
            num_before += len(mixed)
            wanted = (first_step <= step) & (step < self.num_batches(batch_size))
            if wanted.any():
                yield Block(self._rows.take(mixed[wanted]), step[wanted], place[wanted], batch_size)

    def num_batches(self, batch_size: int) -> int:
        """Batches that `shuffled` gives."""
        return len(self) // batch_size

    def _positions(self, group: int) -> np.ndarray:
        """Places of a row group's rows among all that are used."""
        return np.arange(self._starts[group], self._starts[group + 1])
