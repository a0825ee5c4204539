"""Small networks with random weights, saved as trained ones are, and recordings to try them on."""

import wave
from pathlib import Path

import numpy as np
import torch

from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network

ENCODER = {"base_channels": 2, "feature_dim": 16, "hidden_dim": 8}
DECODER = {"feature_dim": 16, "first_dim": 16, "landmark_hidden_dim": 8, "texture_channels": 8}
SPEAKER_ENCODER = {"embedding_dim": 192, "feature_dim": 16, "hidden_dim": 8}
SEGMENT_S = 6.0


def save_models(root: Path) -> Path:
    """An encoder and a decoder below `root`; returns it."""
    torch.manual_seed(0)
    encoder, decoder = VoiceEncoder(**ENCODER), FaceDecoder(**DECODER)
    with torch.no_grad():  # without training, what such networks hear and draw hardly differs
        encoder.fc2.weight.mul_(30)
        for last in (decoder.landmark_network[-1], decoder.texture_network.get_submodule("to_rgb")):
            last.weight.mul_(10)  # type: ignore[operator, union-attr]
    y, x = torch.meshgrid(torch.linspace(40, 180, 9)[:8], torch.linspace(40, 180, 9), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], 1)[:68]
    decoder.set_means(points, torch.linspace(0, 1, 224).expand(3, 224, 224))
    save_network(encoder, root / "encoder" / "encoder", {"segment_s": SEGMENT_S}, **ENCODER)
    save_network(decoder, root / "decoder" / "decoder", **DECODER)
    return root


def save_speaker_encoder(root: Path, digest: str) -> None:
    """An encoder below `root` that hears the CAM++ of this digest."""
    about = {"segment_s": SEGMENT_S, "speaker_networks": {"campplus": digest}}
    torch.manual_seed(0)
    save_network(SpeakerEncoder(**SPEAKER_ENCODER), root / "encoder" / "encoder", about, **SPEAKER_ENCODER)


def noise(seconds: float, seed: int = 0, sample_rate_hz: int = 16_000) -> np.ndarray:
    """Noise, float32 [T], a tenth of full scale as its rms; the greater the seed, the darker it sounds."""
    white = np.random.default_rng(seed).normal(size=round(seconds * sample_rate_hz))
    width = 1 + 2 * seed
    dark = np.convolve(white, np.ones(width), "same") / np.sqrt(width)
    return (dark * 0.1).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int = 16_000) -> Path:
    """Mono samples in -1..1, clipped to that, as 16-bit wav."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return path
