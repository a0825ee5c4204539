"""The spectrogram table: one row a segment of a recording, as its spectrogram or as the waveform that this is computed from."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.audio.spectrogram import HOP_LENGTH, NUM_BINS, SAMPLE_RATE_HZ
from speech2face.pipeline.shards import CLIP, Tensor, shard_paths, table_schema

STORED = ("spectrogram", "waveform")
"""The columns of which a table has one."""


def spectrograms_schema(num_frames: int) -> pa.Schema:
    """Compressed spectrograms float16 [2, 257, num_frames] (real and imaginary, frequency, time); `start_s` and `duration_s` say which
    part of the recording was heard."""
    return _schema("spectrogram", Tensor("float16", (2, NUM_BINS, num_frames)))


def waveforms_schema(num_samples: int) -> pa.Schema:
    """Waveforms int16 [num_samples] at 16 kHz, 32768 for full scale, in place of their spectrograms; the rest as `spectrograms_schema`."""
    return _schema("waveform", Tensor("int16", (num_samples,)))


def _schema(name: str, kind: Tensor) -> pa.Schema:
    times = ("segment", pa.int32()), ("start_s", pa.float64()), ("duration_s", pa.float64())
    return table_schema(*CLIP, *times, (name, kind))


def stored_column(schema: pa.Schema) -> str:
    """The one of `STORED` that a table has."""
    return next(name for name in STORED if name in schema.names)


def table_segment_s(directory: Path) -> float:
    """Length of speech, in seconds, that a spectrogram table holds in a row."""
    schema = pq.read_schema(shard_paths(directory)[0])
    column = stored_column(schema)
    length = schema.field(column).type.shape[-1]
    return (length if column == "waveform" else (length - 1) * HOP_LENGTH) / SAMPLE_RATE_HZ
