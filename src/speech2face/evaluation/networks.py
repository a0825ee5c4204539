"""What the trained networks say about unseen speakers, in the form that the evaluation takes."""

import numpy as np
import torch

from speech2face.face_networks.backends import Backend
from speech2face.face_networks.extraction import to_crops
from speech2face.measures.inputs import Decode, Embed
from speech2face.measures.stored import StoredFeatures
from speech2face.measures.views import Features, group_means, picked
from speech2face.models.encoders import Encoder
from speech2face.models.face_decoder import FaceDecoder, to_pictures
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import HOP_LENGTH, MIN_FRAMES, SAMPLE_RATE_HZ
from speech2face.pipeline import machine
from speech2face.speaker_networks.table import rows_of
from speech2face.training.encoder import to_input
from speech2face.training.pairs import Pairs

BATCH = 8
LENGTHS_S = (6.0, 3.0, 1.5)
"""Oh et al. 2019 compare 3 and 6 s of speech."""


@torch.inference_mode()
def predict_test_clips(
    encoder: Encoder, clips: Pairs, segment_s: float, device: torch.device
) -> tuple[list[str], dict[str, Features]]:
    """Ids [N] of the clips, and features [N, D] predicted from parts of them, by how much was heard, the most first: `all` segments,
    where clips have more than one, whose predictions are averaged; the first segment ("6 s"); and, as far as they are shorter, its first
    6 s, 3 s and 1.5 s. In float32, in temporary files."""
    encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    lengths = [segment_s, *(length for length in LENGTHS_S if length < segment_s)]
    rows: list[str] = []
    predicted = {f"{length:g} s": StoredFeatures(clips.targets.features.shape[1]) for length in lengths}
    for batch in clips.in_order(BATCH):
        rows += batch.clip_ids
        heard = to_input(batch.heard, device)
        for length in lengths:
            predicted[f"{length:g} s"].append(_predict(encoder, heard, length, segment_s).cpu().numpy())
    clip_ids, first, row_clip = np.unique(rows, return_index=True, return_inverse=True)
    by_row = {name: stored.view() for name, stored in predicted.items()}
    found: dict[str, Features] = {name: picked(features, first) for name, features in by_row.items()}
    if len(clip_ids) < len(rows):
        averaged = StoredFeatures(clips.targets.features.shape[1])
        for _, means in group_means(by_row[f"{segment_s:g} s"], row_clip):
            averaged.append(means)
        found = {"all": averaged.view(), **found}
    return clip_ids.tolist(), found


def _predict(encoder: Encoder, heard: torch.Tensor, length_s: float, segment_s: float) -> torch.Tensor:
    """Features [B, D] from the first `length_s` of segments."""
    if isinstance(encoder, SpeakerEncoder):
        return encoder(heard[:, rows_of(length_s, segment_s)])
    if length_s == segment_s:
        return encoder(heard)
    # What is shorter than a segment is repeated, as short recordings are.
    frames = round(length_s * SAMPLE_RATE_HZ / HOP_LENGTH)
    if frames >= MIN_FRAMES:
        return encoder(heard[..., : frames + 1])
    return encoder(heard[..., :frames].repeat(1, 1, 1, -(-MIN_FRAMES // frames)))


def decode_with(decoder: FaceDecoder, device: torch.device) -> Decode:
    """The decoder as a function of arrays. Pictures are clipped to 0..255 and otherwise as they are, never exaggerated."""
    decoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def draw(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        face = decoder(torch.from_numpy(features).float().to(device))
        return to_pictures(face.image), face.landmarks.cpu().numpy()

    def decode(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with machine.threads(on_device=True) as pool:
            images, landmarks = zip(*pool.map(draw, _batches(features)), strict=True)
        return np.concatenate(images), np.concatenate(landmarks)

    return decode


def embed_with(backend: Backend, device: torch.device) -> Embed:
    """The face network as a function of arrays."""
    network = backend.to(device)

    @torch.inference_mode()
    def read(images: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        points = torch.from_numpy(landmarks).float().to(device)
        return network.embed(to_crops(list(images)).to(device), points).float().cpu().numpy()

    def embed(images: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        with machine.threads(on_device=True) as pool:
            return np.concatenate(pool.starmap(read, zip(_batches(images), _batches(landmarks), strict=True)))

    return embed


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
