"""Reading a table of segments: the ids of all rows at once, and what is heard of some of them, ahead of what uses it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from speech2face.pipeline.rejects import first_line
from speech2face.pipeline.shards import CLIP, Tensor, shard_paths

HEARD = ("spectrogram", "waveform", "embedding")
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
class Block:
    """Rows that are read together; batch, place: int [N] each, the number of the batch that a row goes to, counted through all blocks,
    and its place in that; size: rows of the batches that begin in this block."""

    rows: Rows
    batch: np.ndarray
    place: np.ndarray
    size: int


@dataclass(frozen=True)
class Batch:
    """heard: what is stored of each segment, spectrograms float16 [B, 2, 257, frames], waveforms int16 [B, T], or embeddings float32
    [B, S, D]; clip_ids and speaker_ids of length B; target: rows of `Targets.features`, int [B]."""

    heard: torch.Tensor
    clip_ids: list[str]
    speaker_ids: list[str]
    target: torch.Tensor

    def part(self, start: int, stop: int) -> "Batch":
        """Rows `start` to `stop`, not copied."""
        of = slice(start, stop)
        return Batch(self.heard[of], self.clip_ids[of], self.speaker_ids[of], self.target[of])


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A shard to be read. Raises ValueError where that fails, also later on."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({first_line(error)}); delete it and run: dvc repro") from error


class SegmentTable:
    """A table of segments in a folder of shards; batches are in pinned memory, from where a GPU fetches them, if `pin_memory`."""

    def __init__(self, directory: Path, pin_memory: bool = False) -> None:
        self._paths, self._pin_memory = shard_paths(directory), pin_memory
        with opened(self._paths[0]) as file:
            self._schema = file.schema_arrow
        self._column = next(name for name in HEARD if name in self._schema.names)
        kind = self._schema.field(self._column).type
        self._shape = tuple(kind.shape)
        numpy_dtype = kind.dtype if isinstance(kind, Tensor) else kind.value_type.to_pandas_dtype()
        self._dtype = torch.from_numpy(np.empty(0, numpy_dtype)).dtype
        self._groups = np.empty((0, 2), np.int32)

    def ids(self) -> tuple[pa.Table, np.ndarray, np.ndarray]:
        """`clip_id` and `speaker_id` of all rows, shard by shard in the order of their names, and int32 [rows] each, the number of each
        row's group in the whole table and its row in that. Called before `read_ahead`, which finds rows by these numbers.

        Raises ValueError for a shard whose columns are not those of the first.
        """
        tables, groups, sizes = [], [], []
        for shard, path in enumerate(self._paths):
            with opened(path) as file:
                if file.schema_arrow != self._schema:
                    raise ValueError(f"{path} has other columns than {self._paths[0].name}; run: dvc repro")
                tables.append(file.read(columns=IDS, use_threads=False))
                groups += [(shard, group) for group in range(file.num_row_groups)]
                sizes += [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._groups = np.array(groups, np.int32)
        row = np.arange(sum(sizes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return pa.concat_tables(tables), np.repeat(np.arange(len(sizes), dtype=np.int32), sizes), row.astype(np.int32)

    def read_ahead(self, blocks: Iterable[Block]) -> Iterator[Batch]:
        """The batches of the blocks. While those of a block are used, threads read the next block, and no more; the threads end with the
        iterator.

        Raises ValueError for a shard that cannot be read.
        """
        batches: dict[int, Batch] = {}
        reading: list[Future[None]] = []
        threads = ThreadPoolExecutor(NUM_THREADS)
        try:
            for block in blocks:
                before, reading = reading, self._start(threads, block, batches)
                for part in before:
                    part.result()
                for number in [number for number in batches if number < block.batch[0]]:
                    yield batches.pop(number)
            for part in reading:
                part.result()
            while batches:
                yield batches.pop(min(batches))
        finally:
            threads.shutdown(cancel_futures=True)

    def _start(self, threads: ThreadPoolExecutor, block: Block, batches: dict[int, Batch]) -> list[Future[None]]:
        """Have a block read, a row group a piece of work, into `batches` by number; those that are not there yet are added."""
        for number in np.unique(block.batch).tolist():
            if number not in batches:
                batches[number] = self._empty(block.size)
            of = block.batch == number
            batches[number].target[block.place[of]] = torch.from_numpy(block.rows.target[of])
        parts = []
        for group in np.unique(block.rows.group).tolist():
            of = np.flatnonzero(block.rows.group == group)
            into = [batches[number] for number in block.batch[of].tolist()]
            parts.append(threads.submit(self._read, group, block.rows.row[of], block.place[of], into))
        return parts

    def _empty(self, size: int) -> Batch:
        heard = torch.empty((size, *self._shape), dtype=self._dtype, pin_memory=self._pin_memory)
        return Batch(heard, [""] * size, [""] * size, torch.zeros(size, dtype=torch.int64))

    def _read(self, number: int, rows: np.ndarray, places: np.ndarray, batches: list[Batch]) -> None:
        """Copy each of the rows of a row group to its place in its batch."""
        shard, group = self._groups[number].tolist()
        with opened(self._paths[shard]) as file:
            table = file.read_row_group(group, columns=[*IDS, self._column], use_threads=False)
        (column,) = table[self._column].chunks
        values = column.type.to_numpy(column) if isinstance(column.type, Tensor) else column.to_numpy_ndarray()
        clips, speakers = (table[name].to_pylist() for name in IDS)
        for row, place, batch in zip(rows.tolist(), places.tolist(), batches, strict=True):
            batch.heard.numpy()[place] = values[row]
            batch.clip_ids[place], batch.speaker_ids[place] = clips[row], speakers[row]
