"""Training of the face decoder on canonical faces (Cole et al. 2017)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from speech2face.face_networks.backends import Backend, open_backend
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.losses import DecoderLoss, DecoderLossWeights, decoder_loss
from speech2face.pipeline.params import Decoder, Features
from speech2face.training import ranks
from speech2face.training.canonical import MASK_SHAPE, TEXTURE_SHAPE, CanonicalFaces, canonical_faces
from speech2face.training.loop import Metrics, Task
from speech2face.training.micro_batches import parts, recomputed
from speech2face.training.morphs import nearest_neighbours
from speech2face.training.pairs import Targets, read_targets


@dataclass(frozen=True)
class FaceBatch:
    """A batch on the device: features [B, D], textures [B, 3, 224, 224] in 0..1, their known pixels, bool [B, 224, 224], and landmarks
    [B, 68, 2]."""

    features: torch.Tensor
    textures: torch.Tensor
    masks: torch.Tensor
    landmarks: torch.Tensor

    def __getitem__(self, rows: slice) -> "FaceBatch":
        """Some of its faces."""
        return FaceBatch(self.features[rows], self.textures[rows], self.masks[rows], self.landmarks[rows])


@dataclass(frozen=True)
class DecoderData:
    """Some of the canonical faces, by their numbers, int [S], with the mean feature of each, float32 [S, D]."""

    faces: CanonicalFaces
    rows: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def blend(self, first: np.ndarray, second: np.ndarray, part: np.ndarray, device: torch.device) -> FaceBatch:
        """Faces number `first` moved by `part` (0..1, [B]) of the way to number `second`, in texture, landmarks and feature.

        Of a morph's texture the pixels are known that both show.
        """
        start, end = self.rows[first], self.rows[second]

        def mix(starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
            weight = part.reshape(-1, *[1] * (starts.ndim - 1)).astype(np.float32)
            return torch.from_numpy(starts * (1 - weight) + ends * weight).to(device)

        textures, masks, landmarks = self.faces.textures, self.faces.masks, self.faces.landmarks
        shown = masks[start] & (masks[end] | (part == 0)[:, None, None])
        return FaceBatch(
            mix(self.features[first], self.features[second]),
            mix(textures[start], textures[end]) / 255,
            torch.from_numpy(np.asarray(shown)).to(device),
            mix(landmarks[start], landmarks[end]),
        )

    def mean_texture(self) -> np.ndarray:
        """The mean over the faces that show a pixel, float64 [3, 224, 224] in 0..1; black where none does."""
        total, shown = np.zeros(TEXTURE_SHAPE), np.zeros(MASK_SHAPE)
        for row in self.rows:
            mask = self.faces.masks[row]
            total += self.faces.textures[row] * mask
            shown += mask
        return total / shown.clip(min=1) / 255


@dataclass(frozen=True)
class DecoderInputs:
    """What a decoder learns from: canonical faces, the features of all faces, and the face network that looks at decoded ones."""

    faces: CanonicalFaces
    targets: Targets
    backend: Backend


def read_decoder_inputs(
    data: Path, splits: Mapping[str, str], decoder: Decoder, features: Features, weights: Path | None
) -> DecoderInputs:
    """The inputs below the folder of the tables; `splits` by speaker, `weights` as `backends.converted_weights` returns them."""
    faces = canonical_faces(data / "faces", splits, decoder.frontal)
    backend = open_backend(features.backend, features.layer, weights)
    return DecoderInputs(faces, read_targets(data / "features", splits), backend)


def build_decoder(
    *,
    data: Path,
    splits: Mapping[str, str],
    decoder: Decoder,
    features: Features,
    weights: Path | None,
    seed: int,
    device: torch.device,
) -> Task:
    """The training of a decoder on what `read_decoder_inputs` reads. Raises as `decoder_task`."""
    return decoder_task(decoder, seed, read_decoder_inputs(data, splits, decoder, features, weights), device)


def decoder_data(faces: CanonicalFaces, targets: Targets, split: str) -> DecoderData:
    """The canonical faces of one split, of the speakers whose faces have features."""
    known = set(targets.speakers(split))
    rows = [i for i, speaker in enumerate(faces.speaker_ids) if speaker in known]
    features = targets.speaker_means([faces.speaker_ids[i] for i in rows]) if rows else targets.features[:0]
    return DecoderData(faces, np.array(rows, np.int64), features)


def decoder_task(settings: Decoder, seed: int, inputs: DecoderInputs, device: torch.device) -> Task:
    """The training of a decoder.

    The best epoch is that of the smallest error of the validation faces' textures: their landmarks, of which there are few numbers, are
    predicted best after an epoch or two, when all faces still look alike.

    Raises ValueError if the training or validation speakers have fewer than two canonical faces.
    """
    faces, targets = inputs.faces, inputs.targets
    training, validation = decoder_data(faces, targets, "train"), decoder_data(faces, targets, "val")
    for name, data in (("training", training), ("validation", validation)):
        if len(data) < 2:
            raise ValueError(
                f"{len(data)} {name} speakers have a canonical face, 2 are needed; loosen decoder.frontal or add speakers"
            )
    torch.manual_seed(seed)
    dimensions = {"feature_dim": targets.features.shape[1], "texture_channels": settings.texture_channels}
    network = FaceDecoder(texture=settings.texture, **dimensions)
    network.set_means(torch.from_numpy(faces.mean_landmarks), torch.from_numpy(training.mean_texture()).float())
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch_size = min(settings.batch_size, len(training))
    ranks.check_batch(batch_size)
    num_batches = len(training) // batch_size
    objective = _Objective(settings, network, inputs.backend.to(device), device)
    neighbours = nearest_neighbours(
        faces.landmarks[training.rows],
        (faces.textures[row] for row in training.rows),
        (faces.masks[row] for row in training.rows),
        settings.morph_neighbours,
        device,
    )

    def batches(epoch: int, first_step: int = 0) -> Iterator[FaceBatch]:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(training))
        for start in range(0, num_batches * batch_size, batch_size):
            first = order[start : start + batch_size]
            second = neighbours[first, rng.integers(neighbours.shape[1], size=batch_size)]
            part = rng.uniform(size=batch_size) * (rng.uniform(size=batch_size) < settings.morph_fraction)
            if start >= first_step * batch_size:
                yield training.blend(ranks.mine(first), ranks.mine(second), ranks.mine(part), device)

    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
    return Task(
        "train_decoder",
        network,
        optimizer,
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, settings.epochs * num_batches)),
        settings.epochs,
        num_batches,
        batches,
        objective.losses,
        lambda: objective.validate(validation, batch_size),
        lambda m: (-m["texture"], -m["landmarks"]),
        settings.max_gradient_norm,
        dimensions={**dimensions, "texture": settings.texture},
        counts={**faces.counts(), "canonical_faces": len(faces.speaker_ids)},
    )


class _Objective:
    """The decoder's loss on a batch of faces, and its mean over the validation faces."""

    def __init__(self, settings: Decoder, network: FaceDecoder, backend: Backend, device: torch.device) -> None:
        self.settings, self.network, self.backend, self.device = settings, network, backend, device
        terms = settings.weights
        self.weights = DecoderLossWeights(terms.texture, terms.landmarks, terms.embedding)

    def losses(self, batch: FaceBatch, generator: torch.Generator | None) -> dict[str, torch.Tensor]:
        rows = len(batch.features)
        drawn = range(math.ceil(self.settings.embedding_fraction * ranks.count() * rows))
        own_drawn = len(ranks.mine(drawn))  # the first: a batch's faces are in random order
        sums: dict[str, torch.Tensor] = {}
        for part in parts(rows):
            num_drawn = len(range(own_drawn)[part])
            # of the faces, and of those that are drawn in units of what each of the ranks draws on average
            share, share_drawn = len(range(rows)[part]) / rows, ranks.count() * num_drawn / len(drawn)
            weights = replace(self.weights, embedding=share_drawn / share * self.weights.embedding)
            for name, value in self._of_part(batch[part], num_drawn, weights, recompute=share < 1).items():
                sums[name] = sums.get(name, 0.0) + (share_drawn if name == "embedding" else share) * value
        return ranks.averaged(sums)

    def _of_part(
        self, batch: FaceBatch, num_drawn: int, weights: DecoderLossWeights, recompute: bool
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss on a micro-batch, or on all of a batch if nothing is to be recomputed for the gradient."""
        if not recompute:
            return self._losses(batch, num_drawn, weights)

        def terms(features: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self._losses(replace(batch, features=features), num_drawn, weights).values())

        return dict(zip(DecoderLoss._fields, recomputed(terms, batch.features.clone().requires_grad_()), strict=True))

    def _losses(self, batch: FaceBatch, num_drawn: int, weights: DecoderLossWeights) -> dict[str, torch.Tensor]:
        num_drawn = num_drawn if weights.embedding else 0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            decoded = self.network(batch.features, num_drawn)
        return decoder_loss(
            decoded,
            batch.textures,
            batch.landmarks,
            batch.features,
            mask=batch.masks,
            # clamped, because face networks take 0..1 only
            embed=lambda image: self.backend.embed(image.clamp(0, 1), decoded.landmarks[: len(image)]),
            weights=weights,
        )._asdict()

    @torch.inference_mode()
    def validate(self, validation: DecoderData, batch_size: int) -> Metrics:
        sums: Metrics = {}
        for start in range(0, len(validation), batch_size):
            rows = np.arange(start, min(start + batch_size, len(validation)))
            batch = validation.blend(rows, rows, np.zeros(len(rows)), self.device)
            for name, value in self._losses(batch, len(rows), self.weights).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows)
        return {name: value / len(validation) for name, value in sums.items()}
