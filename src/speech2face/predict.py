"""From a recording to the face that such a voice typically has."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from speech2face.audio.extraction import segment_samples, spectrogram_of
from speech2face.audio.reading import read_audio
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, read_about
from speech2face.pipeline.atomic import replacing
from speech2face.pipeline.rejects import UnusableError, errors_of

MIN_CLIP_S = 1.0
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
REMEDIES = {
    "too_short": f"less than {MIN_CLIP_S:g} s of sound; use a longer recording",
    "timeout": "decoding takes too long; re-encode it, for example as wav",
}
"""What to say where the pipeline says to lower or to raise one of its parameters, of which a single prediction has none."""
NOTE = (
    "A face that is typical of such a voice. It is not the speaker's face: do not use it to identify or judge anyone."
)


@dataclass(frozen=True)
class Speech2Face:
    """A trained voice encoder and face decoder, on one device."""

    encoder: VoiceEncoder
    decoder: FaceDecoder
    device: torch.device
    segment_s: float

    @classmethod
    def load(cls, models: Path, device: torch.device) -> "Speech2Face":
        """Load `models`/encoder and `models`/decoder. Raises FileNotFoundError or ValueError with the remedy."""
        encoder = load_network(VoiceEncoder, models / "encoder" / "encoder", device)
        decoder = load_network(FaceDecoder, models / "decoder" / "decoder", device)
        if encoder.fc2.out_features != decoder.feature_dim:
            raise ValueError(f"{models} holds an encoder and a decoder of different features; run: dvc repro")
        segment_s = read_about(models / "encoder" / "encoder.safetensors").get("segment_s")
        if not isinstance(segment_s, int | float):
            raise ValueError(
                f"{models}/encoder does not say how many seconds it hears (segment_s: {segment_s}); train it again: dvc repro"
            )
        return cls(encoder.eval(), decoder.eval(), device, float(segment_s))

    @torch.inference_mode()
    def features(self, waveform: np.ndarray) -> torch.Tensor:
        """Face feature [1, D] of a voice, float32 [T] at 16 kHz; its first `segment_s`, repeated if shorter."""
        spectrogram = spectrogram_of(waveform, segment_samples(self.segment_s))
        return self.encoder(spectrogram[None].to(self.device))

    @torch.inference_mode()
    def face(self, features: torch.Tensor) -> np.ndarray:
        """Picture of one feature [1, D]: uint8 RGB [224, 224, 3]."""
        return to_picture(self.decoder(features.to(self.device)).image[0])


def to_picture(image: torch.Tensor) -> np.ndarray:
    """Float [3, H, W] in 0..1, clipped to it, as uint8 RGB [H, W, 3]."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def predict(voice: Path, out: Path, models: Path, device: torch.device) -> str:
    """Draw the face of a recording into `out`; returns what to print.

    Raises ValueError (UnusableError for the recording) or OSError that says what is wrong, and then leaves `out` unchanged.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{out} must end in one of {', '.join(SUFFIXES)}")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(
            f"{out} cannot be written: {out.parent} must be a folder that exists and that you may write to"
        )
    model = Speech2Face.load(models, device)
    waveform = _heard(voice, model.segment_s)
    picture = Image.fromarray(model.face(model.features(waveform)))
    with replacing(out) as partial:
        picture.save(partial, Image.registered_extensions()[out.suffix.lower()])
    return f"{out}: drawn from {len(waveform) / SAMPLE_RATE_HZ:.1f} s of {voice}.\n{NOTE}"


def _heard(voice: Path, max_duration_s: float) -> np.ndarray:
    """The recording, float32 [T] at 16 kHz. Raises UnusableError whose remedy does not name parameters of the pipeline."""
    try:
        with errors_of(voice):
            return read_audio(voice, SAMPLE_RATE_HZ, min_duration_s=MIN_CLIP_S, max_duration_s=max_duration_s)
    except UnusableError as error:
        if remedy := REMEDIES.get(error.reason):
            raise UnusableError(error.reason, f"{voice}: {remedy}") from None
        raise
