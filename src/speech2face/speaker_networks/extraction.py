"""From recordings to rows of the table of embeddings."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from speech2face.audio.extraction import segment_rows
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.audio.speech import load_detector
from speech2face.corpus.paths import inside
from speech2face.pipeline.ahead import ahead
from speech2face.pipeline.batches import compute_in_batches, fetch, to_device
from speech2face.pipeline.params import Segments
from speech2face.pipeline.rejects import Reject, UnusableError, errors_of
from speech2face.speaker_networks.backends import SpeakerNetwork, open_networks
from speech2face.speaker_networks.table import shorter_s, stretches_s

GPU_BATCH_SIZE = 32
SEGMENTS_OF_RECORDING = 4
"""How many segments of one recording, which may have thousands, are held before the networks hear them."""


class Embedding(BaseModel):
    """What decides an embedding: how recordings are cut, and the networks that hear them."""

    model_config = ConfigDict(frozen=True)

    audio: Segments
    networks: list[str]


def embedding_shard(
    rows: Sequence[dict[str, Any]], settings: Embedding, context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the table of embeddings, one a segment; what cannot be used becomes a reject, as in `audio.extraction`. Threads read
    recordings before the networks.

    `rows` are clips, their columns `ROW_KEYS`; `context`: that of `corpus.paths.places`; `weights`, what `backends.converted_weights`
    returned; `device`.
    """
    device = context["device"]
    begin = partial(_begin, _networks(tuple(context["weights"].items()), device), device)
    size, num_threads = batch_size(device), torch.get_num_threads()
    if settings.audio.min_speech_fraction:
        load_detector()  # here, because while it is loaded the package sets the number of threads of the whole process
    held = 1 if settings.audio.segments == "first" else SEGMENTS_OF_RECORDING
    read = ahead(
        partial(_read, settings.audio, context), rows, num_threads, held * (size + 2 * num_threads), lambda row: held
    )
    for heard, embedding in compute_in_batches(read, begin, size, lambda heard: heard.num_samples):
        if isinstance(embedding, Exception):
            yield _failed(heard, embedding)
        elif embedding is None:
            yield heard.row
        else:
            segment_s = heard.row.pop("waveform").shape[0] / SAMPLE_RATE_HZ
            yield {**heard.row, "segment_s": segment_s, "embedding": embedding}


def batch_size(device: torch.device) -> int:
    """How many segments the networks hear together."""
    return 1 if device.type == "cpu" else GPU_BATCH_SIZE


class _Heard(NamedTuple):
    """A segment of the recording at `path`: its row with the `waveform`, or the reject in its place."""

    path: Path
    row: Any

    @property
    def num_samples(self) -> int | None:
        return None if isinstance(self.row, Reject) else len(self.row["waveform"])


def _read(audio: Segments, context: dict[str, Any], row: dict[str, Any]) -> Iterator[_Heard]:
    path = inside(Path(context["root"]), row["audio_path"], context.get("caches", ()))
    for segment in segment_rows([row], audio, context, lambda waveform: {"waveform": waveform}):
        yield _Heard(path, segment)


def _begin(
    networks: Sequence[SpeakerNetwork], device: torch.device, segments: Sequence[_Heard]
) -> Callable[[], np.ndarray]:
    return begin_embedding(networks, np.stack([heard.row["waveform"] for heard in segments]), device)


def _failed(heard: _Heard, error: Exception) -> Reject:
    try:
        with errors_of(heard.path):
            raise error
    except UnusableError as unusable:
        return Reject(heard.row["clip_id"], unusable.reason, str(unusable))


def embed(networks: Sequence[SpeakerNetwork], waveforms: np.ndarray, device: torch.device) -> np.ndarray:
    """Embeddings float32 [B, S, D] of segments [B, T] at 16 kHz, each as `table.embeddings_schema` says, the networks' side by side."""
    return begin_embedding(networks, waveforms, device)()


@torch.inference_mode()
def begin_embedding(
    networks: Sequence[SpeakerNetwork], waveforms: np.ndarray, device: torch.device
) -> Callable[[], np.ndarray]:
    """As `embed`, but on a GPU without waiting for it; what is returned waits and returns the embeddings."""
    heard = to_device(torch.from_numpy(waveforms), device)
    segment_s = waveforms.shape[1] / SAMPLE_RATE_HZ
    parts = [_side_by_side(networks, heard, stretches_s(segment_s))]
    parts += [
        _side_by_side(networks, heard[:, : round(length * SAMPLE_RATE_HZ)], [(0.0, length)])
        for length in shorter_s(segment_s)
    ]
    return fetch(torch.cat(parts, 1))


def _side_by_side(
    networks: Sequence[SpeakerNetwork], heard: torch.Tensor, stretches: list[tuple[float, float]]
) -> torch.Tensor:
    return torch.cat([network.embed(heard, stretches) for network in networks], -1)


@cache
def _networks(weights: tuple[tuple[str, Path], ...], device: torch.device) -> list[SpeakerNetwork]:
    return open_networks(dict(weights), device)
