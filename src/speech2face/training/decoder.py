"""Training of the face decoder on canonical faces (Cole et al. 2017)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.face_networks.backends import Backend
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.losses import DecoderLossWeights, decoder_loss
from speech2face.training.canonical import CanonicalFaces
from speech2face.training.loop import Metrics, Task, train
from speech2face.training.morphs import nearest_neighbours
from speech2face.training.pairs import Targets


@dataclass(frozen=True)
class _Faces:
    """A batch on the device: features [B, D], textures [B, 3, 224, 224] in 0..1, landmarks [B, 68, 2]."""

    features: torch.Tensor
    textures: torch.Tensor
    landmarks: torch.Tensor


@dataclass(frozen=True)
class DecoderData:
    """Canonical faces of some speakers with the mean feature of each, float32 [S, D]."""

    textures: np.ndarray
    landmarks: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def blend(self, first: np.ndarray, second: np.ndarray, part: np.ndarray, device: torch.device) -> _Faces:
        """Faces number `first` moved by `part` (0..1, [B]) of the way to number `second`, in texture, landmarks and feature."""

        def mix(values: np.ndarray) -> torch.Tensor:
            weight = part.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
            return torch.from_numpy(values[first] * (1 - weight) + values[second] * weight).to(device)

        return _Faces(mix(self.features), mix(self.textures) / 255, mix(self.landmarks))


def decoder_data(faces: CanonicalFaces, targets: Targets, split: str) -> DecoderData:
    """The canonical faces of one split."""
    rows = [i for i, s in enumerate(faces.splits) if s == split and faces.speaker_ids[i] in targets.splits]
    features = targets.speaker_means([faces.speaker_ids[i] for i in rows]) if rows else targets.features[:0]
    return DecoderData(faces.textures[rows], faces.landmarks[rows], features)


def train_decoder(
    settings: dict[str, Any],
    seed: int,
    faces: CanonicalFaces,
    targets: Targets,
    backend: Backend,
    device: torch.device,
    fingerprint: str,
    live_directory: Path,
) -> tuple[FaceDecoder, dict[str, Any]]:
    """Train a decoder with the `decoder` section of params.yaml. Best epoch by the smallest validation loss.

    Raises ValueError if the training or validation speakers have fewer than two canonical faces.
    """
    training, validation = decoder_data(faces, targets, "train"), decoder_data(faces, targets, "val")
    for name, data in (("training", training), ("validation", validation)):
        if len(data) < 2:
            raise ValueError(
                f"{len(data)} {name} speakers have a canonical face, 2 are needed; loosen decoder.frontal or add speakers"
            )
    torch.manual_seed(seed)
    network = FaceDecoder(targets.features.shape[1], settings["texture"])
    mean_texture = torch.from_numpy(training.textures.mean(0, dtype=np.float64)).float() / 255
    network.set_means(torch.from_numpy(faces.mean_landmarks), mean_texture)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    neighbours = nearest_neighbours(training.landmarks, training.textures, settings["morph_neighbours"])
    weights = DecoderLossWeights(**settings["weights"])
    batch_size = min(settings["batch_size"], len(training))
    num_batches = len(training) // batch_size

    def batches(epoch: int) -> Iterator[_Faces]:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(training))
        for start in range(0, num_batches * batch_size, batch_size):
            first = order[start : start + batch_size]
            second = neighbours[first, rng.integers(neighbours.shape[1], size=batch_size)]
            part = rng.uniform(size=batch_size) * (rng.uniform(size=batch_size) < settings["morph_fraction"])
            yield training.blend(first, second, part, device)

    def losses(batch: _Faces, generator: torch.Generator | None) -> dict[str, torch.Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bfloat16"):
            decoded = network(batch.features)
        return decoder_loss(
            decoded,
            batch.textures,
            batch.landmarks,
            batch.features,
            # clamped, because face networks take 0..1 only
            embed=lambda image: backend.embed(image.clamp(0, 1), decoded.landmarks),
            weights=weights,
        )._asdict()

    @torch.inference_mode()
    def validate() -> Metrics:
        sums: dict[str, float] = {}
        for start in range(0, len(validation), batch_size):
            rows = np.arange(start, min(start + batch_size, len(validation)))
            batch = validation.blend(rows, rows, np.zeros(len(rows)), device)
            for name, value in losses(batch, None).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows)
        return {name: value / len(validation) for name, value in sums.items()}

    optimizer = torch.optim.Adam(network.parameters(), lr=settings["lr"], fused=True)
    steps = max(1, settings["epochs"] * num_batches)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    task = Task(
        "train_decoder",
        network,
        optimizer,
        scheduler,
        settings["epochs"],
        num_batches,
        batches,
        losses,
        validate,
        lambda m: (-m["total"],),
        settings["max_gradient_norm"],
    )
    return network, train(task, seed, fingerprint, live_directory)
