"""The two voice encoders, each of which may have been trained."""

from pathlib import Path

import torch

from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, network_name, read_about

Encoder = VoiceEncoder | SpeakerEncoder
"""Both have `mean_feature`, the mean training face."""


def load_encoder(models: Path, device: torch.device | str = "cpu") -> Encoder:
    """The encoder in the folder `models`/encoder, whichever it is. Raises as `load_network`."""
    path = models / "encoder" / "encoder"
    if network_name(path) == SpeakerEncoder.__name__:
        return load_network(SpeakerEncoder, path, device)
    return load_network(VoiceEncoder, path, device)


def read_stretch(models: Path) -> float:
    """How many times farther from the mean face real faces lie than the predictions of the encoder in `models`, by its validation; 1
    where its file does not say. Raises as `read_about`."""
    about = read_about(models / "encoder" / "encoder.safetensors")
    history = about.get("history", [])
    return float(history[about["best_epoch"]].get("val/stretch", 1.0)) if history else 1.0
