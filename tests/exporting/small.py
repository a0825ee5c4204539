"""Small random networks to export, whose answers differ from voice to voice, and a recording."""

import wave
from pathlib import Path

import numpy as np
import torch
from torch import nn

from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network

ENCODER = {"base_channels": 2, "feature_dim": 16, "hidden_dim": 8}
DECODER = {"feature_dim": 16, "texture": "resize", "first_dim": 16, "landmark_hidden_dim": 8, "texture_channels": 8}
SEGMENT_S = 6.0
ABOUT = {
    "segment_s": SEGMENT_S,
    "best_epoch": 1,
    "history": [{"val/stretch": 9.0}, {"val/stretch": 2.5, "train/total": 1.0}, {"val/stretch": 9.0}],
    "fingerprint": "0123456789abcdef",
    "counts": {"clips": 258},
}


def voice_encoder() -> VoiceEncoder:
    """Its batch norms have seen random spectrograms: with the statistics that they start with, it would hear next to nothing."""
    torch.manual_seed(0)
    encoder = VoiceEncoder(**ENCODER)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        encoder(torch.randn(4, 2, 257, 300))
        encoder.mean_feature.normal_()
    return encoder.eval()


def face_decoder(texture: str = "resize") -> FaceDecoder:
    torch.manual_seed(1)
    decoder = FaceDecoder(**{**DECODER, "texture": texture})
    y, x = torch.meshgrid(torch.linspace(40, 180, 8), torch.linspace(40, 180, 9), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], 1)[:68]
    decoder.set_means(points, torch.rand(3, 28, 28).repeat_interleave(8, 1).repeat_interleave(8, 2))
    with torch.no_grad():
        for module in decoder.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                module.bias.normal_(std=0.05)
    return decoder.eval()


def save_models(folder: Path) -> Path:
    save_network(voice_encoder(), folder / "encoder" / "encoder", ABOUT, **ENCODER)
    save_network(face_decoder(), folder / "decoder" / "decoder", **DECODER)
    return folder


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16_000, width: int = 2) -> Path:
    """Samples [T] or [T, channels] in -1..1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        largest = 2 ** (8 * width - 1) - 1
        numbers = np.round(samples.astype(np.float64) * largest).astype("<i4")
        numbers = numbers + 128 if width == 1 else numbers
        file.writeframes(numbers.astype("<i4")[..., None].view(np.uint8)[..., :width].tobytes())
    return path
