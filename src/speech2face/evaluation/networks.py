"""What the trained networks say about unseen speakers, in the form that the evaluation takes."""

import numpy as np
import torch

from speech2face.face_networks.backends import Backend
from speech2face.face_networks.extraction import to_crops
from speech2face.measures.inputs import Decode, Embed
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import HOP_LENGTH, MIN_FRAMES, SAMPLE_RATE_HZ, VoiceEncoder
from speech2face.training.encoder import to_input
from speech2face.training.pairs import Pairs

BATCH = 8
LENGTHS_S = (3.0, 6.0)
"""The lengths of speech that Oh et al. 2019 compare."""


@torch.inference_mode()
def predict_test_clips(
    encoder: VoiceEncoder, clips: Pairs, segment_s: float, device: torch.device
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Ids [N] of the clips, and features [N, D] predicted from the whole segment and, as far as they are shorter, from its
    first 3 s and 6 s, by length ("6 s"); the whole segment first. In float32."""
    encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    lengths = [segment_s, *(length for length in LENGTHS_S if length < segment_s)]
    frames = {f"{length:g} s": 1 + round(length * SAMPLE_RATE_HZ / HOP_LENGTH) for length in lengths}
    frames = {name: count for name, count in frames.items() if count >= MIN_FRAMES}
    clip_ids: list[str] = []
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in frames}
    for batch in clips.in_order(BATCH):
        clip_ids += batch.clip_ids
        spectrogram = to_input(batch.spectrograms, device)
        for name, count in frames.items():
            predicted[name].append(encoder(spectrogram[..., :count]).cpu().numpy())
    return clip_ids, {name: np.concatenate(parts) for name, parts in predicted.items()}


def decode_with(decoder: FaceDecoder, device: torch.device) -> Decode:
    """The decoder as a function of arrays. Pictures are clipped to 0..255 and otherwise as they are, never exaggerated."""
    decoder.to(device).eval()

    @torch.inference_mode()
    def decode(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, landmarks = [], []
        for start in range(0, len(features), BATCH):
            face = decoder(torch.from_numpy(features[start : start + BATCH]).float().to(device))
            pixels = (face.image.clamp(0, 1) * 255).round().to(torch.uint8)
            images.append(pixels.permute(0, 2, 3, 1).cpu().numpy())
            landmarks.append(face.landmarks.cpu().numpy())
        return np.concatenate(images), np.concatenate(landmarks)

    return decode


def embed_with(backend: Backend, device: torch.device) -> Embed:
    """The face network as a function of arrays."""
    network = backend.to(device)

    @torch.inference_mode()
    def embed(images: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        features = []
        for start in range(0, len(images), BATCH):
            crops = to_crops(list(images[start : start + BATCH])).to(device)
            points = torch.from_numpy(landmarks[start : start + BATCH]).float().to(device)
            features.append(network.embed(crops, points).float().cpu().numpy())
        return np.concatenate(features)

    return embed
