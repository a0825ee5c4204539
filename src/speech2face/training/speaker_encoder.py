"""Training of the second voice encoder: from the embeddings of frozen speaker networks to face features."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from speech2face.corpus.ids import speaker_of
from speech2face.models.losses import info_nce
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.pipeline.params import SpeakerEmbedding
from speech2face.speaker_networks.table import rows_of, table_segment_s, table_weights
from speech2face.training import ranks
from speech2face.training.encoder import predict_features
from speech2face.training.loop import Metrics, Task
from speech2face.training.pairs import Pairs, Targets, read_targets
from speech2face.training.reading import Batch
from speech2face.training.validation import rank_validation


def build_speaker_encoder(
    *, data: Path, splits: Mapping[str, str], target: str, settings: SpeakerEmbedding, seed: int, device: torch.device
) -> Task:
    """The training of an encoder on the tables of embeddings and of features below `data`; `splits` by speaker, `target` as in `Targets`.

    The best epoch is the one whose predictions rank the validation speakers best on average. Raises ValueError if there are fewer
    training segments than a batch holds.
    """
    table, targets = data / "embeddings", read_targets(data / "features", splits, target)
    pinned = device.type == "cuda"
    training, validation = (Pairs(table, targets, split, pinned) for split in ("train", "val"))
    batch_size = min(settings.batch_size, len(training))
    ranks.check_batch(batch_size)
    torch.manual_seed(seed)
    mean, deviation = embedding_statistics(training.in_order(batch_size))
    dimensions = {
        "embedding_dim": len(mean),
        "feature_dim": targets.features.shape[1],
        "hidden_dim": settings.hidden_dim,
        "num_layers": settings.num_layers,
        "members": settings.members,
        "dropout": settings.dropout,
    }
    network = SpeakerEncoder(**dimensions)
    segment_s = table_segment_s(table)
    objective = _Objective(settings, targets, network, device, rows_of(segment_s, segment_s))
    feature_deviation = (objective.variance / targets.features.shape[1]).sqrt()
    network.set_means(mean, deviation, torch.from_numpy(targets.mean_face()), feature_deviation)
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), settings.lr, weight_decay=settings.weight_decay)
    num_batches = training.num_batches(batch_size)
    return Task(
        "train_encoder",
        network,
        optimizer,
        torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=settings.epochs * num_batches + 1),
        settings.epochs,
        num_batches,
        lambda epoch, first_step=0: training.shuffled(batch_size, seed, epoch, first_step),
        objective.losses,
        lambda: objective.validate(validation),
        lambda m: (m["one_of_two"], -m["total"]),
        dimensions=dimensions,
        about={"segment_s": segment_s, "speaker_networks": table_weights(table)},
        counts={"clips": len(training), "clips_without_face": training.num_without_face},
    )


def embedding_statistics(batches: Iterable[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [D] of the embeddings of whole segments."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        whole = batch.heard[:, 0].double()
        count, total, squares = count + len(whole), total + whole.sum(0), squares + whole.square().sum(0)
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp(min=0).sqrt().float()


def random_stretch(embeddings: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """[B, S, D] to [B, D]: of each segment the whole, a window or its beginning."""
    chosen = torch.randint(embeddings.shape[1], (len(embeddings),), generator=generator)
    return embeddings[torch.arange(len(embeddings)), chosen]


class _Objective:
    """The loss on a batch of training segments, and the metrics on the validation segments.

    Two terms, of each member of the ensemble, for how far it puts the face from the mean face: the squared error, as a part of what the
    mean face alone would make, and the contrastive term. Both look at differences from the mean face, because faces' features differ far
    less from each other than from zero: of plain features all cosines are near 1, and no softmax tells them apart.
    """

    def __init__(
        self,
        settings: SpeakerEmbedding,
        targets: Targets,
        network: SpeakerEncoder,
        device: torch.device,
        whole: slice,
    ) -> None:
        self.settings, self.targets, self.network, self.device = settings, targets, network, device
        self.whole = whole
        self.deviations = (torch.from_numpy(targets.features) - torch.from_numpy(targets.mean_face())).to(device)
        training = [i for video, i in targets.index.items() if targets.splits[speaker_of(video)] == "train"]
        self.variance = self.deviations[training].square().sum(1).mean()
        self.speakers = {speaker: i for i, speaker in enumerate(sorted(targets.splits))}

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        heard = ranks.mine(random_stretch(batch.heard, generator)).to(self.device)
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # of dropout, which has no generator
        found = ranks.gathered(self.network.deviations(heard), dim=1)
        return self._compare(found, batch.target, batch.speaker_ids)

    @torch.inference_mode()
    def validate(self, validation: Pairs) -> Metrics:
        batches = validation.in_order(self.settings.batch_size)
        predicted, clip_ids = predict_features(lambda heard: self.network(heard[:, self.whole]), batches, self.device)
        metrics: Metrics = {}
        for batch in validation.in_order(self.settings.batch_size):  # read again: memory does not grow with the corpus
            found = self.network.deviations(batch.heard[:, 0].to(self.device))
            terms = self._compare(found, batch.target, batch.speaker_ids)
            for name, value in terms.items():
                metrics[name] = metrics.get(name, 0.0) + float(value) * len(batch.clip_ids) / len(clip_ids)
        return metrics | rank_validation(predicted.numpy(), [speaker_of(clip) for clip in clip_ids], self.targets)

    def _compare(self, found: torch.Tensor, rows: torch.Tensor, speaker_ids: list[str]) -> dict[str, torch.Tensor]:
        target = self.deviations[rows.to(self.device)]
        error = (found - target).square().sum(-1).mean() / self.variance
        identities = torch.tensor([self.speakers[speaker] for speaker in speaker_ids], device=self.device)
        temperature = self.settings.contrastive_temperature
        contrastive = torch.stack([info_nce(member, target, temperature, identities) for member in found]).mean()
        return {"total": error + self.settings.contrastive * contrastive, "error": error, "contrastive": contrastive}
