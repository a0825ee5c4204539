"""The trained networks of a folder, checked that they belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speech2face.models.encoders import Encoder, load_encoder, read_stretch
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.weight_files import load_network, read_about
from speech2face.speaker_networks.backends import converted_weights
from speech2face.speaker_networks.table import describe_networks


@dataclass(frozen=True)
class Trained:
    """Both networks, in eval mode; the converted weight files of the speaker networks that the encoder hears through, by name, if any;
    the seconds that it hears; how many times farther from the mean face real faces lie than its predictions; and what the two weight
    files say, by "encoder" and "decoder"."""

    encoder: Encoder
    decoder: FaceDecoder
    speaker_weights: Mapping[str, Path]
    segment_s: float
    stretch: float
    about: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, models: Path, device: torch.device | str = "cpu") -> "Trained":
        """Load `models`/encoder and `models`/decoder. Raises FileNotFoundError or ValueError with the remedy."""
        encoder = load_encoder(models, device).eval()
        decoder = load_network(FaceDecoder, models / "decoder" / "decoder", device).eval()
        if encoder.feature_dim != decoder.feature_dim:
            raise ValueError(f"{models} holds an encoder and a decoder of different features; run: dvc repro")
        about = {part: read_about(models / part / f"{part}.safetensors") for part in ("encoder", "decoder")}
        segment_s = about["encoder"].get("segment_s")
        if not isinstance(segment_s, int | float):
            raise ValueError(
                f"{models}/encoder does not say how many seconds it hears (segment_s: {segment_s}); train it again: dvc repro"
            )
        learned = about["encoder"]["speaker_networks"] if isinstance(encoder, SpeakerEncoder) else {}
        return cls(encoder, decoder, _weights_of(learned), float(segment_s), read_stretch(models), about)


def _weights_of(learned: Mapping[str, str]) -> dict[str, Path]:
    """The weight files of the speaker networks `learned` from, name and digest. Raises ValueError if those here are others."""
    weights = converted_weights(list(learned))
    found = {name: path.stem for name, path in weights.items()}
    if found != dict(learned):
        raise ValueError(
            f"the encoder learned from {describe_networks(learned)}, and here are {describe_networks(found)}: install the versions of "
            "requirements-speakers.txt, or train again: dvc repro"
        )
    return weights
