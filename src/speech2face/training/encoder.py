"""Training of the voice encoder against fixed face features (Oh et al. 2019, section 3)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from speech2face.audio.stored import Crop, count_frames, spectrograms
from speech2face.audio.table import table_segment_s
from speech2face.corpus.ids import speaker_of
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import LinearHead
from speech2face.models.losses import EncoderLossWeights, encoder_loss
from speech2face.models.voice_encoder import KERNEL, VoiceEncoder
from speech2face.models.weight_files import load_network
from speech2face.pipeline.params import Encoder, SpecAugment
from speech2face.training import ranks
from speech2face.training.loop import Metrics, Task
from speech2face.training.micro_batches import over_micro_batches
from speech2face.training.pairs import Pairs, Targets, read_targets
from speech2face.training.reading import Batch
from speech2face.training.teacher import Teacher, read_teacher
from speech2face.training.validation import rank_validation

START_GAIN = 0.1
RISING = 0.2
"""Part of the training in which the learning rate rises, where it does."""


@dataclass(frozen=True)
class EncoderInputs:
    """What an encoder learns from: a spectrogram table, the faces' features, and the two frozen networks that its loss looks through,
    the decoder's first layer and the face classifier's last; and a teacher, where it has one."""

    spectrograms: Path
    targets: Targets
    f_dec: nn.Module
    face_logits: nn.Module
    teacher: Teacher | None = None


def read_encoder_inputs(
    data: Path, models: Path, splits: Mapping[str, str], target: str, with_teacher: bool = False
) -> EncoderInputs:
    """The inputs below the folders of the tables and of the models; `splits` by speaker, `target` as in `Targets`; the table of
    embeddings is read where `with_teacher` asks for it."""
    decoder = load_network(FaceDecoder, models / "decoder" / "decoder")
    head = load_network(LinearHead, models / "head" / "head")
    targets = read_targets(data / "features", splits, target)
    teacher = read_teacher(data / "embeddings", targets) if with_teacher else None
    return EncoderInputs(data / "spectrograms", targets, decoder.f_dec, head, teacher)


def build_encoder(
    *,
    data: Path,
    models: Path,
    splits: Mapping[str, str],
    encoder: Encoder,
    lr: float,
    seed: int,
    device: torch.device,
) -> Task:
    """The training of an encoder on what `read_encoder_inputs` reads. Raises as `encoder_task`."""
    inputs = read_encoder_inputs(data, models, splits, encoder.target, with_teacher=encoder.weights.teacher > 0)
    return encoder_task(encoder, lr, seed, inputs, device)


def random_crop(stored: torch.Tensor, frames: int | None, generator: torch.Generator) -> Crop | None:
    """`frames` frames from a place of its own in each of a batch's segments, stored as `spectrograms` takes them; None, for all of them,
    where `frames` is None or no less. Of several ranks, each gets the places of its own segments."""
    length = count_frames(stored)
    if frames is None or frames >= length:
        return None
    return Crop(ranks.mine(torch.randint(length - frames + 1, (len(stored),), generator=generator)), frames)


def mask_bands(spectrograms: torch.Tensor, widest: SpecAugment, generator: torch.Generator) -> torch.Tensor:
    """[B, 2, F, T] with one band of frequencies and one run of frames of each clip set to zero (Park et al. 2019, without the warping). Of
    several ranks, each has its own clips.

    Each width is uniform over 0..its greatest, at most F and T, and its place over those where it fits. Of a mask whose greatest width
    is 0 nothing is drawn.
    """
    own_clips, _, bins, frames = spectrograms.shape
    clips = own_clips * ranks.count()
    if widest.frequency_bins:
        bands = ranks.mine(_random_runs(clips, bins, widest.frequency_bins, generator)).to(spectrograms.device)
        spectrograms = spectrograms.masked_fill(bands[:, None, :, None], 0.0)
    if widest.time_frames:
        runs = ranks.mine(_random_runs(clips, frames, widest.time_frames, generator)).to(spectrograms.device)
        spectrograms = spectrograms.masked_fill(runs[:, None, None, :], 0.0)
    return spectrograms


def _random_runs(count: int, length: int, longest: int, generator: torch.Generator) -> torch.Tensor:
    """bool [count, length], in each row one run of 0..`longest` that are True."""
    widths = torch.randint(longest + 1, (count, 1), generator=generator)
    starts = (torch.rand(count, 1, generator=generator) * (length - widths + 1)).long()
    place = torch.arange(length)
    return (starts <= place) & (place < starts + widths)


@torch.inference_mode()
def predict_features(
    network: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[Batch],
    device: torch.device,
    precision: str = "float32",
) -> tuple[torch.Tensor, list[str]]:
    """Features float32 [N, D] of the segments of `batches`, heard whole, and their clip_ids. A network must be in eval mode."""
    features, clip_ids = [], []
    for batch in batches:
        heard = to_input(batch.heard, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            predicted = network(heard)
        features.append(predicted.float().cpu())
        clip_ids += batch.clip_ids
    return torch.cat(features), clip_ids


def to_input(heard: torch.Tensor, device: torch.device, crop: Crop | None = None) -> torch.Tensor:
    """What is heard of a batch, see `Batch`, as the networks want it: float32, on the device; embeddings as they are, of all else
    spectrograms, or a crop of them, channels last, which convolutions are fastest in."""
    if heard.ndim == 3:
        return heard.to(device, non_blocking=True).float()
    return spectrograms(heard, device, crop).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def start_at(network: VoiceEncoder, mean_feature: np.ndarray) -> None:
    """Make an untrained network's first answers lie near `mean_feature` [D], the mean face.

    The features of faces differ far less from each other than from zero. A network that first has to find their mean takes its first
    hundred steps all in one direction, which at small widths leaves its hidden layer dead.
    """
    network.mean_feature.copy_(torch.from_numpy(mean_feature))
    network.fc2.bias.copy_(network.mean_feature)
    network.fc2.weight.mul_(START_GAIN)


@torch.no_grad()
def smooth_in_time(network: VoiceEncoder) -> None:
    """Make the kernels of an untrained network's convolutions constant along time, but for the first, in which phases would cancel out.

    What says most of a face is how loud each frequency is on average. Random kernels blur that; constant ones are means over time. The
    variance of the weights stays as it is.
    """
    _, *others = (layer for layer in network.convolutions if isinstance(layer, nn.Conv2d))
    for convolution in others:
        mean = convolution.weight.mean(3, keepdim=True)
        convolution.weight.copy_(mean.mul_(KERNEL**0.5).expand_as(convolution.weight))


def make_optimizer(network: nn.Module, settings: Encoder, lr: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015), or with weight decay AdamW (Loshchilov and Hutter 2019): each step takes the part lr * weight_decay off
    the weights of convolutions and linear layers.

    Biases and batch normalisation do not decay: the last bias is the mean face, about which the answers lie.
    """
    betas, eps = (settings.beta1, 0.999), settings.eps
    if not settings.weight_decay:
        return torch.optim.Adam(network.parameters(), lr=lr, betas=betas, eps=eps, fused=True)
    decaying = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)


def make_scheduler(
    optimizer: torch.optim.Optimizer, settings: Encoder, num_batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """How the learning rate falls with the steps, of which an epoch has `num_batches`."""
    if settings.lr_schedule == "one_cycle":
        (lr, *_), num_steps = (group["lr"] for group in optimizer.param_groups), settings.epochs * num_batches
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lr, total_steps=num_steps + 1, pct_start=RISING, cycle_momentum=False
        )
    if settings.lr_schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * num_batches)
    return torch.optim.lr_scheduler.StepLR(optimizer, settings.lr_decay_steps, settings.lr_decay)


def encoder_task(settings: Encoder, lr: float, seed: int, inputs: EncoderInputs, device: torch.device) -> Task:
    """The training of an encoder; the frozen networks stay as they are.

    The best epoch is the one whose predictions rank the validation speakers best on average, then the one of smallest loss.
    Raises ValueError if there are fewer training clips than a batch holds.
    """
    targets = inputs.targets
    pinned = device.type == "cuda"
    training, validation = (Pairs(inputs.spectrograms, targets, split, pinned) for split in ("train", "val"))
    if len(training) < settings.batch_size:
        raise ValueError(
            f"encoder.batch_size must be at most the number of training clips, {len(training)} (got {settings.batch_size})"
        )
    ranks.check_batch(settings.batch_size)
    torch.manual_seed(seed)
    dimensions = {"base_channels": settings.base_channels, "hidden_dim": settings.hidden_dim}
    about: dict[str, Any] = {"segment_s": table_segment_s(inputs.spectrograms)}
    if inputs.teacher is not None:
        about["speaker_networks"] = dict(inputs.teacher.speaker_networks)
    network = VoiceEncoder(feature_dim=targets.features.shape[1], **dimensions)
    start_at(network, targets.mean_face())
    if settings.smooth_start:
        smooth_in_time(network)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    over_micro_batches(network.convolutions)
    objective = _Objective(settings, inputs, network, device)
    optimizer = make_optimizer(network, settings, lr)
    num_batches = training.num_batches(settings.batch_size)
    return Task(
        "train_encoder",
        network,
        optimizer,
        make_scheduler(optimizer, settings, num_batches),
        settings.epochs,
        num_batches,
        lambda epoch, first_step=0: training.shuffled(settings.batch_size, seed, epoch, first_step),
        objective.losses,
        lambda: objective.validate(validation),
        lambda m: (m["one_of_two"], -m["total"]),
        patience=settings.patience,
        dimensions={"feature_dim": targets.features.shape[1], **dimensions},
        about=about,
        counts={"clips": len(training), "clips_without_face": training.num_without_face},
    )


class _Objective:
    """The encoder's loss on a batch of training clips, and its metrics on the validation clips."""

    def __init__(self, settings: Encoder, inputs: EncoderInputs, network: VoiceEncoder, device: torch.device) -> None:
        self.settings, self.targets, self.network, self.device = settings, inputs.targets, network, device
        frozen = (inputs.f_dec, inputs.face_logits)
        self.f_dec, self.face_logits = (module.to(device).requires_grad_(False) for module in frozen)
        self.features = torch.from_numpy(self.targets.features)
        self.mean_face = torch.from_numpy(self.targets.mean_face()).to(device)
        terms = settings.weights
        self.weights = EncoderLossWeights(unit=terms.unit, distill=terms.distill, contrastive=terms.contrastive)
        self.speakers = {speaker: i for i, speaker in enumerate(sorted(self.targets.splits))}
        self.teacher = inputs.teacher

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        crop = random_crop(batch.heard, self.settings.crop_frames, generator)
        heard = mask_bands(to_input(ranks.mine(batch.heard), self.device, crop), self.settings.spec_augment, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            predicted = self.network(heard.contiguous(memory_format=torch.channels_last))
        return self._compare(ranks.gathered(predicted.float()), batch.target, batch.clip_ids)

    @torch.inference_mode()
    def validate(self, validation: Pairs) -> Metrics:
        batch_size = self.settings.batch_size
        batches = validation.in_order(batch_size)
        predicted, clip_ids = predict_features(self.network, batches, self.device, self.settings.precision)
        clip_speakers = [speaker_of(clip) for clip in clip_ids]
        rows = torch.from_numpy(self.targets.rows(pa.chunked_array([clip_ids])))
        metrics: Metrics = {}
        # Batch by batch as in training: the contrastive term looks at pairs within a batch.
        for start in range(0, len(clip_ids), batch_size):
            part = slice(start, start + batch_size)
            terms = self._compare(predicted[part].to(self.device), rows[part], clip_ids[part])
            share = len(rows[part]) / len(rows)
            for name, value in terms.items():
                metrics[name] = metrics.get(name, 0.0) + share * float(value)
        return metrics | rank_validation(predicted.numpy(), clip_speakers, self.targets)

    def _compare(
        self, predicted: torch.Tensor, target_rows: torch.Tensor, clip_ids: list[str]
    ) -> dict[str, torch.Tensor]:
        terms = encoder_loss(
            predicted,
            self.features[target_rows].to(self.device),
            f_dec=self.f_dec,
            face_logits=self.face_logits,
            weights=self.weights,
            identities=torch.tensor([self.speakers[speaker_of(clip)] for clip in clip_ids], device=self.device),
            temperature=self.settings.weights.temperature,
            contrastive_temperature=self.settings.weights.contrastive_temperature,
            centre=self.mean_face,
        )._asdict()
        if self.teacher is not None:
            terms["teacher"] = self.teacher.error(predicted, clip_ids)
            terms["total"] = terms["total"] + self.settings.weights.teacher * terms["teacher"]
        return terms
