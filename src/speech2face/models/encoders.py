"""The two voice encoders, each of which may have been trained."""

from pathlib import Path

import torch

from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, network_name

Encoder = VoiceEncoder | SpeakerEncoder


def load_encoder(models: Path, device: torch.device | str = "cpu") -> Encoder:
    """The encoder in the folder `models`/encoder, whichever it is. Raises as `load_network`."""
    path = models / "encoder" / "encoder"
    if network_name(path) == SpeakerEncoder.__name__:
        return load_network(SpeakerEncoder, path, device)
    return load_network(VoiceEncoder, path, device)
