"""Reading ahead: what comes, how far ahead it is read, and how the threads end."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from speech2face.pipeline.shards import ROWS_PER_GROUP, write_shard
from speech2face.speaker_networks.table import embeddings_schema
from speech2face.training.reading import Block, Rows, SegmentTable
from tests.training.tables import clip_row, write_clips

GROUPS, SHARDS, BATCH = 12, 3, 10
CLIPS = [f"s{number % 7}/v/{number:05d}" for number in range(GROUPS * ROWS_PER_GROUP)]
SEGMENT_S, DIM = 6.0, 3


def heard(number: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape) % 13 + number


@pytest.fixture(params=["spectrogram", "waveform", "embedding"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Rows one after the other in the row groups of three shards; what is heard says the row's number."""
    shapes = {"spectrogram": (2, 257, 2), "waveform": (500,)}
    if request.param in shapes:
        rows = [clip_row(CLIPS[n], heard(n, shapes[request.param])) for n in in_shards()]
        write_clips(tmp_path, rows, SHARDS)
        return tmp_path
    schema = embeddings_schema(SEGMENT_S, DIM)
    for shard in range(SHARDS):
        rows = [
            {"clip_id": CLIPS[n], "speaker_id": CLIPS[n][:2], "segment": 0, "start_s": 0.0, "duration_s": 6.0}
            | {"segment_s": SEGMENT_S, "embedding": heard(n, tuple(schema.field("embedding").type.shape))}
            for n in in_shards()[shard::SHARDS]
        ]
        write_shard(tmp_path / f"shard-{shard}.parquet", rows, schema, {})
    return tmp_path


def in_shards() -> list[int]:
    """The numbers of the rows in the order in which dealing them to the shards leaves them one after the other."""
    return np.arange(len(CLIPS)).reshape(SHARDS, -1).T.ravel().tolist()


def blocks(order: np.ndarray) -> Iterator[Block]:
    """Rows by their numbers, two row groups' worth of them a block, in batches of ten across the blocks."""
    for start in range(0, len(order), 2 * ROWS_PER_GROUP):
        numbers = order[start : start + 2 * ROWS_PER_GROUP]
        batch, place = np.divmod(start + np.arange(len(numbers)), BATCH)
        yield Block(Rows(numbers // ROWS_PER_GROUP, numbers % ROWS_PER_GROUP, 1000 + numbers), batch, place, BATCH)


def opened(directory: Path) -> SegmentTable:
    table = SegmentTable(directory)
    table.ids()
    return table


def count_reads(monkeypatch: pytest.MonkeyPatch, failure: Callable[[int], None] = lambda _: None) -> list[int]:
    """Row groups that have been read since; `failure` is called before each with their number."""
    reads: list[int] = []
    read = pq.ParquetFile.read_row_group

    def counted(file: pq.ParquetFile, group: int, **arguments: object) -> object:
        failure(len(reads))
        reads.append(group)
        return read(file, group, **arguments)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    return reads


def test_ids_and_places_of_all_rows(directory: Path):
    ids, group, row = SegmentTable(directory).ids()
    assert ids["clip_id"].to_pylist() == CLIPS
    assert ids["speaker_id"].to_pylist() == [clip[:2] for clip in CLIPS]
    assert group.tolist() == [number // ROWS_PER_GROUP for number in range(len(CLIPS))]
    assert row.tolist() == [number % ROWS_PER_GROUP for number in range(len(CLIPS))]


@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_hold_the_rows_that_were_asked_for(directory: Path, shuffled: bool):
    order = np.random.default_rng(0).permutation(len(CLIPS) - 2) if shuffled else np.arange(len(CLIPS) - 2)
    order = order[: len(order) // BATCH * BATCH]
    found = list(opened(directory).read_ahead(blocks(order)))
    assert len(found) == len(order) // BATCH > GROUPS
    for batch, numbers in zip(found, order.reshape(-1, BATCH), strict=True):
        assert batch.clip_ids == [CLIPS[n] for n in numbers]
        assert batch.speaker_ids == [CLIPS[n][:2] for n in numbers]
        assert batch.target.tolist() == (1000 + numbers).tolist()
        expected = np.stack([heard(n, batch.heard.shape[1:]) for n in numbers])
        assert torch.equal(batch.heard, torch.from_numpy(expected).to(batch.heard.dtype))


def test_one_block_is_read_ahead_and_no_more(directory: Path, monkeypatch: pytest.MonkeyPatch):
    table = opened(directory)
    reads = count_reads(monkeypatch)
    batches = table.read_ahead(blocks(np.arange(len(CLIPS))))
    assert not reads
    for number, _ in enumerate(batches):
        time.sleep(0.01)  # in which threads without a bound would read all
        num_blocks = (number + 1) * BATCH // (2 * ROWS_PER_GROUP) + 2
        assert len(reads) <= 2 * num_blocks
        if number == 0:
            assert len(reads) >= 2
    assert len(reads) == GROUPS


@pytest.mark.parametrize("end", ["used up", "closed", "forgotten", "failed"])
def test_the_threads_end_with_the_iterator(directory: Path, end: str, monkeypatch: pytest.MonkeyPatch):
    table, before = opened(directory), threading.active_count()

    def fail(reads: int) -> None:
        if end == "failed" and reads == 5:
            raise MemoryError("no room")

    count_reads(monkeypatch, fail)
    batches = table.read_ahead(blocks(np.arange(len(CLIPS))))
    next(batches)
    assert threading.active_count() > before
    if end == "used up":
        for _ in batches:
            pass
    elif end == "closed":
        batches.close()  # type: ignore[attr-defined]
    elif end == "failed":
        with pytest.raises(MemoryError, match=r"^no room$"):
            list(batches)
    del batches
    assert threading.active_count() == before


def test_a_shard_of_another_table_is_named_in_one_line(directory: Path):
    write_clips(directory, [clip_row("s/v/1", np.zeros(300, np.int16))])  # in place of shard-0
    with pytest.raises(ValueError, match=r"shard-1.parquet has other columns than shard-0.parquet; run: dvc repro$"):
        opened(directory)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_damaged_shard_is_named_in_one_line(directory: Path, when: str):
    path = directory / "shard-1.parquet"
    content = path.read_bytes()
    table = opened(directory)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"shard-1.parquet cannot be read \(.+\); delete it and run: dvc repro"
    ) as error:
        if when == "before":
            opened(directory)
        else:
            list(table.read_ahead(blocks(np.arange(len(CLIPS)))))
    assert "\n" not in str(error.value)
