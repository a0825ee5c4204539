"""From recordings to rows of the spectrogram table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.audio.reading import AudioError, read_audio
from speech2face.audio.segments import fit_length
from speech2face.audio.spectrogram import HOP_LENGTH, SAMPLE_RATE_HZ, compress, num_frames, stft
from speech2face.corpus.manifest import inside
from speech2face.shards import Reject

ROW_KEYS = ("clip_id", "speaker_id", "split", "audio_path", "audio_sha256")


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


def spectrogram_of(waveform: np.ndarray, num_samples: int) -> torch.Tensor:
    """float32 [T] at 16 kHz to the compressed spectrogram [2, 257, frames] of its first `num_samples`, repeated if shorter."""
    return compress(stft(torch.from_numpy(fit_length(waveform, num_samples))))


def spectrogram_shard(
    rows: Sequence[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the spectrogram table, one a clip; a recording that cannot be used becomes a reject."""
    num_samples = segment_samples(settings["segment_s"])
    root = Path(context["root"])
    for row in rows:
        try:
            waveform = read_audio(
                inside(root, row["audio_path"]),
                SAMPLE_RATE_HZ,
                min_duration_s=settings["min_clip_s"],
                max_duration_s=settings["segment_s"],
            )
        except AudioError as error:
            yield Reject(row["clip_id"], error.reason, str(error))
            continue
        yield {
            "clip_id": row["clip_id"],
            "speaker_id": row["speaker_id"],
            "split": row["split"],
            "segment": 0,
            "start_s": 0.0,
            "duration_s": len(waveform) / SAMPLE_RATE_HZ,
            "spectrogram": spectrogram_of(waveform, num_samples).numpy(),
        }
