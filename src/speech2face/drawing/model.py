"""From a voice to the face that such a voice typically has: `from speech2face import Speech2Face`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from speech2face.audio.extraction import segment_samples, spectrogram
from speech2face.audio.segments import fit_length
from speech2face.drawing.heard import Heard, Voice
from speech2face.drawing.loading import Trained
from speech2face.models.face_decoder import FaceDecoder, to_pictures
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline import machine
from speech2face.speaker_networks.backends import open_networks
from speech2face.speaker_networks.extraction import embed
from speech2face.speaker_networks.table import rows_of
from speech2face.training.encoder import to_input
from speech2face.training.validation import MAX_STRETCH

NOTE = (
    "A face that is typical of such a voice. It is not the speaker's face: do not use it to identify or judge anyone."
)
FACES_AT_ONCE = 8

Features = npt.NDArray[np.float32]
Listen = Callable[[np.ndarray], torch.Tensor]
"""A segment, float32 [T] at 16 kHz, to the feature [1, D] of a face."""


@dataclass(frozen=True)
class Speech2Face:
    """A trained voice encoder and face decoder, on one device.

    Its pictures are faces that are typical of a voice, never the speaker's: they must not be used to identify or judge anyone.
    A voice is a file's path, or a waveform with its `sample_rate_hz`; `drawing.heard` says more. All of a recording is heard, by
    segments of `segment_s` every half of that, whose features are averaged; a shorter one is repeated (Oh et al. 2019, section 4).
    Several threads may use one model at the same time.
    """

    listen: Listen
    decoder: FaceDecoder
    device: torch.device
    segment_s: float
    mean_feature: Features
    """The mean training face, float32 [D]."""
    stretch: float
    """How many times farther from it real faces lie than what voices predict."""

    @classmethod
    def load(cls, models: str | PathLike[str] = "models", device: str | torch.device | None = None) -> "Speech2Face":
        """Load `models`/encoder and `models`/decoder, onto `device` or where `S2F_DEVICE` says, else a GPU, else the processor.

        Raises FileNotFoundError or ValueError with the remedy.
        """
        place = machine.device() if device is None else torch.device(device)
        trained = Trained.load(Path(models), place)
        encoder, segment_s = trained.encoder, trained.segment_s
        if isinstance(encoder, SpeakerEncoder):
            listen = _by_speaker_networks(encoder, trained.speaker_weights, segment_s, place)
        else:
            listen = _by_spectrogram(encoder, place)
        return cls(listen, trained.decoder, place, segment_s, encoder.mean_feature.cpu().numpy(), trained.stretch)

    def heard(self, voice: Voice, sample_rate_hz: int | None = None) -> Heard:
        """The segments of a voice as this model hears them. Raises ValueError for a waveform of another form than `Voice` says."""
        return Heard(voice, self.segment_s, sample_rate_hz)

    def features(self, voice: Voice, sample_rate_hz: int | None = None) -> Features:
        """The predicted face of a voice as numbers, float32 [D].

        Raises UnusableError, a ValueError, with a `reason` and one line for people if the voice cannot be used.
        """
        return self.features_of(self.heard(voice, sample_rate_hz))

    @torch.inference_mode()
    def features_of(self, segments: Iterable[np.ndarray]) -> Features:
        """As `features`, of segments float32 [T] at 16 kHz: the mean of what they say. Raises ValueError where there is none."""
        num_samples = segment_samples(self.segment_s)
        heard = [self.listen(fit_length(segment, num_samples))[0] for segment in segments]
        if not heard:
            raise ValueError("no segment of a voice was given; give at least one")
        return torch.stack(heard).mean(0).cpu().numpy()

    def draw(self, voice: Voice, sample_rate_hz: int | None = None, *, stretch: float = 1.0) -> Image.Image:
        """The face of a voice, an RGB picture of 224 x 224. `stretch` as in `faces`; raises as `features` and `faces`."""
        return self.draw_all([voice], sample_rate_hz, stretch=stretch)[0]

    def draw_all(
        self, voices: Iterable[Voice], sample_rate_hz: int | None = None, *, stretch: float = 1.0
    ) -> list[Image.Image]:
        """The faces of several voices, each as `draw` draws it; waveforms share one rate. The first that cannot be used ends it."""
        found = [self.features(voice, sample_rate_hz) for voice in voices]
        if not found:
            return []
        return [Image.fromarray(face) for face in self.faces(np.stack(found), stretch=stretch)]

    @torch.inference_mode()
    def faces(self, features: Features, *, stretch: float = 1.0) -> npt.NDArray[np.uint8]:
        """Pictures of features [N, D], uint8 RGB [N, 224, 224, 3], each `stretch` times as far from the mean face: 0 draws the mean face,
        `self.stretch` one as far from it as real faces are.

        Raises ValueError for a `stretch` that is not within 0..10.
        """
        if not 0 <= stretch <= MAX_STRETCH:
            raise ValueError(f"stretch must be from 0 to {MAX_STRETCH:g} (got {stretch:g})")
        stretched = torch.from_numpy(self.mean_feature + np.float32(stretch) * (features - self.mean_feature))
        parts = [to_pictures(self.decoder(part.to(self.device)).image) for part in stretched.split(FACES_AT_ONCE)]
        return np.concatenate(parts)

    def mean_face(self) -> Image.Image:
        """The mean training face, which everything that is drawn differs from."""
        return Image.fromarray(self.faces(self.mean_feature[None])[0])


def _by_spectrogram(encoder: VoiceEncoder, device: torch.device) -> Listen:
    encoder.to(memory_format=torch.channels_last)
    return lambda segment: encoder(to_input(spectrogram(segment)[None], device))


def _by_speaker_networks(
    encoder: SpeakerEncoder, weights: Mapping[str, Path], segment_s: float, device: torch.device
) -> Listen:
    networks, whole = open_networks(weights, device), rows_of(segment_s, segment_s)
    return lambda segment: encoder(torch.from_numpy(embed(networks, segment[None], device)[:, whole]).to(device))
