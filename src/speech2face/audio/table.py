"""The spectrogram table: one row a segment of a recording."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.audio.spectrogram import HOP_LENGTH, NUM_BINS, SAMPLE_RATE_HZ
from speech2face.pipeline.shards import CLIP, Tensor, shard_paths, table_schema


def spectrograms_schema(num_frames: int) -> pa.Schema:
    """Compressed spectrograms float16 [2, 257, num_frames] (real and imaginary, frequency, time); `start_s` and `duration_s` say which
    part of the recording was heard."""
    return table_schema(
        *CLIP,
        ("segment", pa.int32()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("spectrogram", Tensor("float16", (2, NUM_BINS, num_frames))),
    )


def table_segment_s(directory: Path) -> float:
    """Length of speech, in seconds, that a spectrogram table holds in a row."""
    frames = pq.read_schema(shard_paths(directory)[0]).field("spectrogram").type.shape[-1]
    return (frames - 1) * HOP_LENGTH / SAMPLE_RATE_HZ
