"""From recordings to rows of the table of embeddings."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from speech2face.audio.extraction import segment_rows
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.pipeline.params import Segments
from speech2face.pipeline.rejects import Reject
from speech2face.speaker_networks.backends import SpeakerNetwork, open_networks
from speech2face.speaker_networks.table import shorter_s, stretches_s


class Embedding(BaseModel):
    """What decides an embedding: how recordings are cut, and the networks that hear them."""

    model_config = ConfigDict(frozen=True)

    audio: Segments
    networks: list[str]


def embedding_shard(
    rows: Sequence[dict[str, Any]], settings: Embedding, context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Rows of the table of embeddings, one a segment; what cannot be used becomes a reject, as in `audio.extraction`.

    `rows` are clips, their columns `ROW_KEYS`; `context`: that of `corpus.paths.places`; `weights`, what `backends.converted_weights`
    returned; `device`.
    """
    device = context["device"]
    networks = _networks(tuple(context["weights"].items()), device)

    def describe(waveform: np.ndarray) -> dict[str, Any]:
        return {"segment_s": len(waveform) / SAMPLE_RATE_HZ, "embedding": embed(networks, waveform, device)}

    return segment_rows(rows, settings.audio, context, describe)


@torch.inference_mode()
def embed(networks: Sequence[SpeakerNetwork], waveform: np.ndarray, device: torch.device) -> np.ndarray:
    """Embeddings float32 [S, D] of a segment [T] at 16 kHz, as `table.embeddings_schema` says, the networks' side by side."""
    heard = torch.from_numpy(waveform)[None].to(device)
    segment_s = len(waveform) / SAMPLE_RATE_HZ
    parts = [_side_by_side(networks, heard, stretches_s(segment_s))]
    parts += [
        _side_by_side(networks, heard[:, : round(length * SAMPLE_RATE_HZ)], [(0.0, length)])
        for length in shorter_s(segment_s)
    ]
    return torch.cat(parts).cpu().numpy()


def _side_by_side(
    networks: Sequence[SpeakerNetwork], heard: torch.Tensor, stretches: list[tuple[float, float]]
) -> torch.Tensor:
    return torch.cat([network.embed(heard, stretches)[0] for network in networks], -1)


@cache
def _networks(weights: tuple[tuple[str, Path], ...], device: torch.device) -> list[SpeakerNetwork]:
    return open_networks(dict(weights), device)
