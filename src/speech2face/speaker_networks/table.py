"""The table of voices' embeddings: one row a segment of a recording, as in the spectrogram table."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.pipeline.shards import CLIP, footer_text, shard_paths, table_schema

WINDOW_S, HOP_S = 3.0, 1.5
SHORTER_S = (1.5, 3.0, 6.0)
"""Lengths from a segment's start that are embedded as if nothing followed, to see how much of a voice is enough."""


def stretches_s(segment_s: float) -> list[tuple[float, float]]:
    """The parts of a segment that are embedded as parts of it, (start, end) in seconds: the whole, then windows of 3 s every 1.5 s."""
    num_windows = int((segment_s - WINDOW_S) / HOP_S + 1e-9) + 1 if segment_s > WINDOW_S else 0
    return [(0.0, segment_s), *((i * HOP_S, i * HOP_S + WINDOW_S) for i in range(num_windows))]


def shorter_s(segment_s: float) -> list[float]:
    """Those of `SHORTER_S` that are shorter than a segment."""
    return [length for length in SHORTER_S if length < segment_s]


def rows_of(length_s: float, segment_s: float) -> slice:
    """The rows of an embedding that stand for the first `length_s` of a segment: all its stretches for the whole of it."""
    num_stretches = len(stretches_s(segment_s))
    if length_s == segment_s:
        return slice(0, num_stretches)
    row = num_stretches + shorter_s(segment_s).index(length_s)
    return slice(row, row + 1)


def embeddings_schema(segment_s: float, embedding_dim: int) -> pa.Schema:
    """`embedding` float32 [S, embedding_dim]: a row for each of `stretches_s`, then one for each of `shorter_s`; the numbers of several
    networks stand side by side. `start_s` and `duration_s` say which part of the recording was heard, `segment_s` how long the
    segment is, with what was repeated."""
    num_rows = len(stretches_s(segment_s)) + len(shorter_s(segment_s))
    return table_schema(
        *CLIP,
        ("segment", pa.int32()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("segment_s", pa.float64()),
        ("embedding", pa.fixed_shape_tensor(pa.float32(), [num_rows, embedding_dim])),
    )


def table_segment_s(directory: Path) -> float:
    """Length of speech, in seconds, that a row of the table stands for."""
    return float(
        pq.ParquetFile(shard_paths(directory)[0]).read_row_group(0, columns=["segment_s"])["segment_s"][0].as_py()
    )


def table_weights(directory: Path) -> dict[str, str]:
    """The speaker networks that made the table, in their order, and the digests of their weights."""
    ingredients = json.loads(footer_text(shard_paths(directory)[0], "ingredients"))
    return {name: ingredients["weights"][name] for name in ingredients["settings"]["networks"]}


def describe_networks(weights: Mapping[str, str]) -> str:
    """Networks and the beginnings of their weights' digests, in words."""
    return ", ".join(f"{name} ({digest[:8]})" for name, digest in weights.items())
