"""Training of the voice encoder against fixed face features (Oh et al. 2019, section 3)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from speech2face.measures.retrieval import middle_rank, recall_at_percent, standing
from speech2face.models.losses import EncoderLossWeights, encoder_loss
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.training.loop import Metrics, Task, train
from speech2face.training.pairs import Batch, Pairs, Targets

PERCENT = 10.0
START_GAIN = 0.1


def random_crop(spectrograms: torch.Tensor, frames: int | None, generator: torch.Generator) -> torch.Tensor:
    """[B, 2, 257, T] cut to `frames` frames from a place of its own in each clip; all of it where `frames` is None or at least T."""
    length = spectrograms.shape[-1]
    if frames is None or frames >= length:
        return spectrograms
    starts = torch.randint(length - frames + 1, (len(spectrograms),), generator=generator).tolist()
    return torch.stack([clip[..., start : start + frames] for clip, start in zip(spectrograms, starts, strict=True)])


@torch.inference_mode()
def predict_features(
    network: nn.Module, batches: Iterator[Batch], device: torch.device, precision: str
) -> tuple[torch.Tensor, list[str]]:
    """Features float32 [N, D] of the clips of `batches`, whole clips, and their clip_ids. The network must be in eval mode."""
    features, clip_ids = [], []
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            predicted = network(to_input(batch.spectrograms, device))
        features.append(predicted.float().cpu())
        clip_ids += batch.clip_ids
    return torch.cat(features), clip_ids


def to_input(spectrograms: torch.Tensor, device: torch.device) -> torch.Tensor:
    """float16 spectrograms as the network wants them: float32, on the device, channels last, which convolutions are fastest in."""
    return spectrograms.to(device, non_blocking=True).float().contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def start_at(network: VoiceEncoder, mean_feature: np.ndarray) -> None:
    """Make an untrained network's first answers lie near `mean_feature` [D], the mean face.

    The features of faces differ far less from each other than from zero. A network that first has to find their mean takes its first
    hundred steps all in one direction, which at small widths leaves its hidden layer dead.
    """
    network.fc2.bias.copy_(torch.from_numpy(mean_feature))
    network.fc2.weight.mul_(START_GAIN)


def train_encoder(
    settings: dict[str, Any],
    lr: float,
    seed: int,
    spectrograms: Path,
    targets: Targets,
    f_dec: nn.Module,
    face_logits: nn.Module,
    device: torch.device,
    fingerprint: str,
    live_directory: Path,
) -> tuple[VoiceEncoder, dict[str, Any]]:
    """Train an encoder with the `encoder` section of params.yaml; `f_dec` and `face_logits` stay as they are.

    The best epoch is the one of greatest recall at 10 % of the gallery of validation speakers, then of smallest loss.
    """
    training, validation = Pairs(spectrograms, targets, "train"), Pairs(spectrograms, targets, "val")
    batch_size = settings["batch_size"]
    if len(training) < batch_size:
        raise ValueError(
            f"encoder.batch_size must be at most the number of training clips, {len(training)} (got {batch_size})"
        )
    torch.manual_seed(seed)
    network = VoiceEncoder(settings["base_channels"], targets.features.shape[1], settings["hidden_dim"])
    start_at(network, targets.speaker_means(targets.speakers("train")).mean(0))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    f_dec, face_logits = (frozen.to(device).requires_grad_(False) for frozen in (f_dec, face_logits))
    features = torch.from_numpy(targets.features)
    terms = dict(settings["weights"])
    temperatures = {
        "temperature": terms.pop("temperature"),
        "contrastive_temperature": terms.pop("contrastive_temperature"),
    }
    weights = EncoderLossWeights(**terms)
    speakers = {speaker: i for i, speaker in enumerate(sorted(targets.splits))}
    gallery_speakers = targets.speakers("val")
    gallery = targets.speaker_means(gallery_speakers)
    gallery_rows = {speaker: row for row, speaker in enumerate(gallery_speakers)}

    def compare(predicted: torch.Tensor, target_rows: torch.Tensor, speaker_ids: list[str]) -> dict[str, torch.Tensor]:
        identities = torch.tensor([speakers[s] for s in speaker_ids], device=device)
        target = features[target_rows].to(device)
        return encoder_loss(
            predicted,
            target,
            f_dec=f_dec,
            face_logits=face_logits,
            weights=weights,
            identities=identities,
            **temperatures,
        )._asdict()

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        cropped = random_crop(batch.spectrograms, settings["crop_frames"], generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bfloat16"):
            predicted = network(to_input(cropped, device))
        return compare(predicted.float(), batch.target, batch.speaker_ids)

    @torch.inference_mode()
    def validate() -> Metrics:
        predicted, clip_ids = predict_features(network, validation.in_order(batch_size), device, settings["precision"])
        clip_speakers = [clip.split("/")[0] for clip in clip_ids]
        rows = torch.tensor([targets.row(clip) for clip in clip_ids])
        metrics: Metrics = {}
        for start in range(
            0, len(clip_ids), batch_size
        ):  # as in training: the contrastive term looks at pairs within a batch
            part = slice(start, start + batch_size)
            terms = compare(predicted[part].to(device), rows[part], clip_speakers[part])
            share = len(rows[part]) / len(rows)
            for name, value in terms.items():
                metrics[name] = metrics.get(name, 0.0) + share * float(value)
        found = standing(predicted.numpy(), gallery, [gallery_rows[s] for s in clip_speakers], "cosine")
        return metrics | {
            "recall_at_10_percent": recall_at_percent(found, PERCENT),
            "mean_rank": float(middle_rank(found).mean()),
        }

    optimizer = torch.optim.Adam(
        network.parameters(), lr=lr, betas=(settings["beta1"], 0.999), eps=settings["eps"], fused=True
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings["lr_decay_steps"], settings["lr_decay"])
    task = Task(
        "train_encoder",
        network,
        optimizer,
        scheduler,
        settings["epochs"],
        training.num_batches(batch_size),
        lambda epoch: training.shuffled(batch_size, seed, epoch),
        losses,
        validate,
        lambda m: (m["recall_at_10_percent"], -m["total"]),
    )
    return network, {"clips": len(training), "clips_without_face": training.num_without_face} | train(
        task, seed, fingerprint, live_directory
    )
