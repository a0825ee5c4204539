"""From a recording to the face that such a voice typically has."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from speech2face.audio.extraction import read_segments, segment_samples, spectrogram
from speech2face.audio.reading import checked
from speech2face.audio.segments import fit_length
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.models.encoders import load_encoder, read_stretch
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, read_about
from speech2face.pipeline.atomic import replacing
from speech2face.pipeline.progress import progress
from speech2face.pipeline.rejects import UnusableError, errors_of
from speech2face.speaker_networks.backends import converted_weights, open_networks
from speech2face.speaker_networks.extraction import embed
from speech2face.speaker_networks.table import describe_networks, rows_of

MAX_STRETCH = 10.0
MIN_CLIP_S = 1.0
DECODE_LIMIT_S = 300.0
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
REMEDIES = {
    "too_short": f"less than {MIN_CLIP_S:g} s of sound; use a longer recording",
    "timeout": "decoding takes too long; re-encode it, for example as wav",
}
"""What to say where the pipeline says to lower or to raise one of its parameters, of which a single prediction has none."""
NOTE = (
    "A face that is typical of such a voice. It is not the speaker's face: do not use it to identify or judge anyone."
)


Listen = Callable[[np.ndarray], torch.Tensor]
"""A segment, float32 [T] at 16 kHz, to the feature [1, D] of a face."""


@dataclass(frozen=True)
class Speech2Face:
    """A trained voice encoder and face decoder, on one device. `listen` hears a segment of at most `segment_s`; a shorter one is
    repeated."""

    listen: Listen
    decoder: FaceDecoder
    device: torch.device
    segment_s: float
    mean_feature: torch.Tensor
    """The mean training face, [D]."""
    stretch: float
    """How many times farther from it real faces lie than what voices predict."""

    @classmethod
    def load(cls, models: Path, device: torch.device) -> "Speech2Face":
        """Load `models`/encoder and `models`/decoder. Raises FileNotFoundError or ValueError with the remedy."""
        encoder = load_encoder(models, device).eval()
        decoder = load_network(FaceDecoder, models / "decoder" / "decoder", device)
        if encoder.feature_dim != decoder.feature_dim:
            raise ValueError(f"{models} holds an encoder and a decoder of different features; run: dvc repro")
        about = read_about(models / "encoder" / "encoder.safetensors")
        segment_s = about.get("segment_s")
        if not isinstance(segment_s, int | float):
            raise ValueError(
                f"{models}/encoder does not say how many seconds it hears (segment_s: {segment_s}); train it again: dvc repro"
            )
        if isinstance(encoder, SpeakerEncoder):
            listen = _by_speaker_networks(encoder, about["speaker_networks"], float(segment_s), device)
        else:
            listen = _by_spectrogram(encoder, device)
        mean_feature = encoder.mean_feature.cpu()
        return cls(listen, decoder.eval(), device, float(segment_s), mean_feature, read_stretch(models))

    @torch.inference_mode()
    def features(self, segments: Iterable[np.ndarray]) -> torch.Tensor:
        """Face feature [1, D] of a voice: the mean of what its segments say."""
        num_samples, total, count = segment_samples(self.segment_s), torch.zeros(()), 0
        for segment in segments:
            total, count = total + self.listen(fit_length(segment, num_samples)), count + 1
        return total / count

    @torch.inference_mode()
    def face(self, features: torch.Tensor, stretch: float = 1.0) -> np.ndarray:
        """Picture of one feature [1, D], `stretch` times as far from the mean face: uint8 RGB [224, 224, 3]."""
        features = self.mean_feature + stretch * (features.cpu() - self.mean_feature)
        return to_picture(self.decoder(features.to(self.device)).image[0])


def to_picture(image: torch.Tensor) -> np.ndarray:
    """Float [3, H, W] in 0..1, clipped to it, as uint8 RGB [H, W, 3]."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _by_spectrogram(encoder: VoiceEncoder, device: torch.device) -> Listen:
    return lambda segment: encoder(spectrogram(segment)[None].to(device))


def _by_speaker_networks(
    encoder: SpeakerEncoder, learned: Mapping[str, str], segment_s: float, device: torch.device
) -> Listen:
    """Raises ValueError if the speaker networks here are not those that the encoder learned from."""
    weights = converted_weights(list(learned))
    found = {name: path.stem for name, path in weights.items()}
    if found != dict(learned):
        raise ValueError(
            f"the encoder learned from {describe_networks(learned)}, and here are {describe_networks(found)}: install the versions of "
            "requirements-speakers.txt, or train again: dvc repro"
        )
    networks, whole = open_networks(weights, device), rows_of(segment_s, segment_s)
    return lambda segment: encoder(torch.from_numpy(embed(networks, segment, device)[None, whole]).to(device))


def predict(voice: Path, out: Path, models: Path, device: torch.device, stretch: float = 1.0) -> str:
    """Draw the face of a recording into `out`; returns what to print. `stretch` as `Speech2Face.face`.

    Raises ValueError (UnusableError for the recording) or OSError that says what is wrong, and then leaves `out` unchanged.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{out} must end in one of {', '.join(SUFFIXES)}")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(
            f"{out} cannot be written: {out.parent} must be a folder that exists and that you may write to"
        )
    if not 0 <= stretch <= MAX_STRETCH:
        raise ValueError(f"--stretch must be from 0 to {MAX_STRETCH:g} (got {stretch:g})")
    model = Speech2Face.load(models, device)
    heard = Heard(voice, model.segment_s)
    picture = Image.fromarray(model.face(model.features(progress(heard, None, "listening", "segments")), stretch))
    with replacing(out) as partial:
        picture.save(partial, Image.registered_extensions()[out.suffix.lower()])
    how = f"{stretch:.2g} times as far from the mean face as predicted; real faces are {model.stretch:.2g} times as far"
    far = f"\nThe face is {how}." if stretch != 1 else ""
    return f"{out}: drawn from {heard.duration_s:.1f} s of {voice}.{far}\n{NOTE}"


@dataclass
class Heard:
    """The usable segments of a recording, float32 [T] at 16 kHz, one every half of their length; after they were gone through,
    `duration_s` says how much of the recording they cover.

    Raises UnusableError, whose remedy does not name parameters of the pipeline, if none can be used.
    """

    path: Path
    segment_s: float
    duration_s: float = 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        num_samples, end, reason = segment_samples(self.segment_s), 0, None
        try:
            with errors_of(self.path):
                for _, first, sound in read_segments(
                    self.path, num_samples, num_samples // 2, start_s=0.0, end_s=None, time_limit_s=DECODE_LIMIT_S
                ):
                    try:
                        yield checked(self.path, sound, SAMPLE_RATE_HZ, MIN_CLIP_S)
                    except UnusableError as error:  # a pause, as long as not all is
                        reason = reason or error
                        continue
                    self.duration_s += (first + len(sound.samples) - max(first, end)) / SAMPLE_RATE_HZ
                    end = first + len(sound.samples)
                if not end and reason:
                    raise reason
        except UnusableError as error:
            if remedy := REMEDIES.get(error.reason):
                raise UnusableError(error.reason, f"{self.path}: {remedy}") from None
            raise
