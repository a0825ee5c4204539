"""From recordings to rows of the spectrogram table."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from speech2face.audio.reading import Sound, checked, stream_audio
from speech2face.audio.segments import fit_length
from speech2face.audio.spectrogram import HOP_LENGTH, SAMPLE_RATE_HZ, compress, num_frames, stft
from speech2face.audio.speech import load_detector, speech_fraction
from speech2face.audio.stored import to_16_bit
from speech2face.audio.table import spectrograms_schema, waveforms_schema
from speech2face.corpus.paths import inside, why_changed
from speech2face.pipeline.params import Audio, Segments
from speech2face.pipeline.plan import ShardFunction
from speech2face.pipeline.provenance import chunk
from speech2face.pipeline.rejects import Reject, UnusableError, errors_of

ROW_KEYS = ("clip_id", "speaker_id", "audio_path", "audio_sha256", "audio_bytes", "start_s", "end_s")

Segment = tuple[int, int, Sound]
"""Number, first sample and sound at 16 kHz."""
Describe = Callable[[np.ndarray], dict[str, Any]]


def segment_samples(segment_s: float) -> int:
    """Samples in a segment. Raises ValueError if that is not a whole number of hops of 10 ms."""
    samples = round(segment_s * SAMPLE_RATE_HZ)
    if abs(samples - segment_s * SAMPLE_RATE_HZ) > 1e-6 or samples % HOP_LENGTH:
        raise ValueError(
            f"audio.segment_s must be a whole number of {HOP_LENGTH / SAMPLE_RATE_HZ:g} s steps (got {segment_s:g})"
        )
    return samples


def segment_frames(segment_s: float) -> int:
    """Frames in a segment's spectrogram: 601 for 6 s."""
    return num_frames(segment_samples(segment_s))


def spectrogram(waveform: np.ndarray) -> torch.Tensor:
    """float32 [T] at 16 kHz to its compressed spectrogram [2, 257, frames]."""
    return compress(stft(torch.from_numpy(waveform)))


def read_segments(
    path: Path, segment_samples: int, stride_samples: int, *, start_s: float, end_s: float | None, time_limit_s: float
) -> Generator[Segment, None, None]:
    """The segments of a recording, read as a stream: no more than one segment is in memory.

    One begins at every multiple of the stride from which a whole segment is left, counted from `start_s`; nothing after `end_s` is
    read, and what remains at the end is not used. A recording shorter than a segment is one, of its own length. Raises UnusableError as
    `stream_audio` does.
    """
    left = None if end_s is None else round((end_s - start_s) * SAMPLE_RATE_HZ)
    held = Sound(np.zeros(0, np.float32), np.zeros(0, np.bool_))
    number = skip = 0
    with closing(stream_audio(path, SAMPLE_RATE_HZ, start_s=start_s, time_limit_s=time_limit_s)) as stream:
        for piece in stream:
            fresh = _cut(piece, 0, left)
            left = None if left is None else left - len(fresh.samples)
            held = Sound(np.concatenate([held.samples, fresh.samples]), np.concatenate([held.cancels, fresh.cancels]))
            skipped = min(skip, len(held.samples))
            held, skip = _cut(held, skipped), skip - skipped
            while len(held.samples) >= segment_samples:
                yield number, number * stride_samples, _cut(held, 0, segment_samples)
                number += 1
                skip = max(0, stride_samples - len(held.samples))
                held = _cut(held, stride_samples)
            if left == 0:
                break
    if number == 0:
        yield 0, 0, held


def _cut(sound: Sound, first: int, end: int | None = None) -> Sound:
    return Sound(sound.samples[first:end], sound.cancels[first:end])


def recordings(clips: Iterable[dict[str, Any]], per_shard: int) -> Iterator[list[dict[str, Any]]]:
    """The clips that have a recording, of clips sorted by clip_id, in shards of about `per_shard`."""
    return chunk((row for row in clips if row["audio_path"] is not None), per_shard, itemgetter("clip_id"))


def table_of(settings: Audio) -> tuple[ShardFunction, pa.Schema]:
    """What makes the rows of the table that `settings.stored` asks for, and the table's schema."""
    if settings.stored == "waveform":
        return waveform_shard, waveforms_schema(segment_samples(settings.segment_s))
    return spectrogram_shard, spectrograms_schema(segment_frames(settings.segment_s))


def spectrogram_shard(
    rows: Sequence[dict[str, Any]], settings: Segments, context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the spectrogram table, one a segment; a recording or a segment that cannot be used becomes a reject.

    `rows` are clips, their columns `ROW_KEYS`; `context` is of `corpus.paths.places`.
    """
    return segment_rows(rows, settings, context, lambda waveform: {"spectrogram": spectrogram(waveform).half().numpy()})


def waveform_shard(
    rows: Sequence[dict[str, Any]], settings: Segments, context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """As `spectrogram_shard`, of a table of waveforms."""
    return segment_rows(rows, settings, context, lambda waveform: {"waveform": to_16_bit(waveform)})


def segment_rows(
    rows: Sequence[dict[str, Any]], settings: Segments, context: dict[str, Any], describe: Describe
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of a table of segments: which part of which recording, and what `describe` says of it. Arguments and rejects as those of
    `spectrogram_shard`; `describe` hears float32 [T] at 16 kHz, T as `segment_samples` gives it: what is shorter is repeated."""
    root = Path(context["root"])
    if settings.min_speech_fraction:
        load_detector()  # here, because that it cannot be loaded is no recording's fault
    for row in rows:
        path = inside(root, row["audio_path"], context.get("caches", ()))
        yield from _without_runs(_rows(path, row, settings, describe))


def _rows(path: Path, row: dict[str, Any], settings: Segments, describe: Describe) -> Iterator[dict[str, Any] | Reject]:
    try:
        with errors_of(path):
            if changed := why_changed(path, row["audio_bytes"]):
                raise UnusableError("vanished", changed)
            for segment in _segments(path, row, settings):
                item = row["clip_id"] if settings.segments == "first" else f"{row['clip_id']}#{segment[0]}"
                yield _segment_row(item, path, row, segment, settings, describe)
    except UnusableError as error:
        yield Reject(row["clip_id"], error.reason, str(error))


def _without_runs(found: Iterator[dict[str, Any] | Reject]) -> Iterator[dict[str, Any] | Reject]:
    """Of segments left out one after the other for one reason, one reject: a pause of hours is one fault, and not hundreds."""
    first: Reject | None = None
    last, num_left_out = "", 0
    for item in chain(found, [None]):
        if first is not None and not (isinstance(item, Reject) and item.reason == first.reason):
            more = f" (and all segments up to {last}, {num_left_out} in all)" if num_left_out > 1 else ""
            yield Reject(first.item, first.reason, first.message + more)
            first = None
        if isinstance(item, Reject):
            first = first or item
            last, num_left_out = item.item, num_left_out + 1 if item is not first else 1
        elif item is not None:
            yield item


def _segments(path: Path, row: dict[str, Any], settings: Segments) -> Iterator[Segment]:
    found = read_segments(
        path,
        segment_samples(settings.segment_s),
        round(settings.stride_s * SAMPLE_RATE_HZ),
        start_s=row["start_s"] or 0.0,
        end_s=row["end_s"],
        time_limit_s=settings.decode_limit_s,
    )
    with closing(found):
        yield from islice(found, 1 if settings.segments == "first" else None)


def _segment_row(
    item: str, path: Path, row: dict[str, Any], segment: Segment, settings: Segments, describe: Describe
) -> dict[str, Any] | Reject:
    number, first, sound = segment
    start_s = (row["start_s"] or 0.0) + first / SAMPLE_RATE_HZ
    try:
        waveform = checked(path, sound, SAMPLE_RATE_HZ, settings.min_clip_s)
    except UnusableError as error:
        return Reject(item, error.reason, f"{error} (from {start_s:g} s on)" if number else str(error))
    if settings.min_speech_fraction and (part := speech_fraction(waveform)) < settings.min_speech_fraction:
        needed = f"{settings.min_speech_fraction:.0%} are needed"
        return Reject(item, "silent", f"{path}: {part:.0%} of the segment from {start_s:g} s on is speech, {needed}")
    return {
        "clip_id": row["clip_id"],
        "speaker_id": row["speaker_id"],
        "segment": number,
        "start_s": start_s,
        "duration_s": len(waveform) / SAMPLE_RATE_HZ,
        **describe(fit_length(waveform, segment_samples(settings.segment_s))),
    }
