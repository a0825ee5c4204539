"""Reading a table of segments: the ids of all rows at once, and what is heard of some of them, ahead of what uses it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from speech2face.pipeline.rejects import first_line
from speech2face.pipeline.shards import CLIP, Tensor, shard_paths

HEARD = ("spectrogram", "embedding")
"""The columns that are heard; each table of segments has one of them."""
IDS = [name for name, _ in CLIP]
NUM_THREADS = 2


@dataclass(frozen=True)
class Rows:
    """Rows of a table, in the order in which they are wanted: int [N] each, the number of the row group in the whole table, the row in
    that group, and the row's target."""

    group: np.ndarray
    row: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    def take(self, positions: np.ndarray) -> "Rows":
        """The rows at `positions`, int [M]."""
        return Rows(self.group[positions], self.row[positions], self.target[positions])


@dataclass(frozen=True)
class Batch:
    """heard: what an encoder hears of each segment, spectrograms float16 [B, 2, 257, frames] or embeddings float32 [B, S, D]; clip_ids
    and speaker_ids of length B; target: rows of `Targets.features`, int [B]."""

    heard: torch.Tensor
    clip_ids: list[str]
    speaker_ids: list[str]
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.clip_ids)

    def part(self, start: int, stop: int) -> "Batch":
        """Rows `start` to `stop`, not copied."""
        of = slice(start, stop)
        return Batch(self.heard[of], self.clip_ids[of], self.speaker_ids[of], self.target[of])


def join(parts: Sequence[Batch]) -> Batch:
    """Several batches as one; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    heard = torch.cat([part.heard for part in parts])
    return Batch(
        heard.pin_memory() if parts[0].heard.is_pinned() else heard,
        [clip for part in parts for clip in part.clip_ids],
        [speaker for part in parts for speaker in part.speaker_ids],
        torch.cat([part.target for part in parts]),
    )


def recut(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The rows of `batches` by `size`; what does not fill a last batch is left out."""
    parts: list[Batch] = []
    missing = size
    for batch in batches:
        start = 0
        while start < len(batch):
            parts.append(batch.part(start, start + missing))
            start, missing = start + missing, missing - len(parts[-1])
            if not missing:
                yield join(parts)
                parts, missing = [], size


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A shard to be read. Raises ValueError where that fails, also later on."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({first_line(error)}); delete it and run: dvc repro") from error


class SegmentTable:
    """A table of segments in a folder of shards; batches are in pinned memory, from where a GPU fetches them, if `pin_memory`."""

    def __init__(self, directory: Path, pin_memory: bool = False) -> None:
        self._paths, self._pin_memory = shard_paths(directory), pin_memory
        with opened(self._paths[0]) as file:
            schema = file.schema_arrow
        self._column = next(name for name in HEARD if name in schema.names)
        kind = schema.field(self._column).type
        self._shape = tuple(kind.shape)
        numpy_dtype = kind.dtype if isinstance(kind, Tensor) else kind.value_type.to_pandas_dtype()
        self._dtype = torch.from_numpy(np.empty(0, numpy_dtype)).dtype
        self._groups = np.empty((0, 2), np.int32)

    def ids(self) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """`clip_id` and `speaker_id` of all rows, shard by shard in the order of their names, and int32 [rows] each, the number of each
        row's group in the whole table and its row in that."""
        tables, groups, sizes = [], [], []
        for shard, path in enumerate(self._paths):
            with opened(path) as file:
                tables.append(file.read(columns=IDS, use_threads=False))
                groups += [(shard, group) for group in range(file.num_row_groups)]
                sizes += [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._groups = np.array(groups, np.int32)
        row = np.arange(sum(sizes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return pa.concat_tables(tables), np.repeat(np.arange(len(sizes), dtype=np.int32), sizes), row.astype(np.int32)

    def read_ahead(self, blocks: Iterable[Rows]) -> Iterator[Batch]:
        """Each block of rows as a batch. While a block is used, threads read the next, and no more; they end with the iterator.

        Raises ValueError for a shard that cannot be read.
        """
        threads = ThreadPoolExecutor(NUM_THREADS)
        try:
            finish: Callable[[], Batch] | None = None
            for rows in blocks:
                finish, finish_before = self._start(threads, rows), finish
                if finish_before is not None:
                    yield finish_before()
            if finish is not None:
                yield finish()
        finally:
            threads.shutdown(cancel_futures=True)

    def _start(self, threads: ThreadPoolExecutor, rows: Rows) -> Callable[[], Batch]:
        """Have a block read, a row group a piece of work, and return what waits for it."""
        heard = torch.empty((len(rows), *self._shape), dtype=self._dtype, pin_memory=self._pin_memory)
        batch = Batch(heard, [""] * len(rows), [""] * len(rows), torch.from_numpy(rows.target).long())
        reading = [
            threads.submit(self._read, group, rows.row[places], places, batch)
            for group in np.unique(rows.group)
            for places in (np.flatnonzero(rows.group == group),)
        ]

        def finish() -> Batch:
            for future in reading:
                future.result()
            return batch

        return finish

    def _read(self, number: int, rows: np.ndarray, places: np.ndarray, batch: Batch) -> None:
        """Put rows of a row group to their places in a batch, each copied once."""
        shard, group = self._groups[number].tolist()
        with opened(self._paths[shard]) as file:
            table = file.read_row_group(group, columns=[*IDS, self._column], use_threads=False)
        (column,) = table[self._column].chunks
        values = column.type.to_numpy(column) if isinstance(column.type, Tensor) else column.to_numpy_ndarray()
        clips, speakers = (table[name].to_pylist() for name in IDS)
        heard = batch.heard.numpy()
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            heard[place] = values[row]
            batch.clip_ids[place], batch.speaker_ids[place] = clips[row], speakers[row]
