"""The face classifier whose last layer the distillation term looks at, for backends that come without one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from speech2face.pipeline.provenance import stable_fraction
from speech2face.pipeline.shards import iterate_rows, read_columns, shard_paths

FACES_PER_SPEAKER = 16  # bounds the fit's memory by the number of speakers, however many clips they have
TOLERANCE = 1e-6  # of the gradient; 1e-4 leaves weights that are off by a tenth
MAX_ITERATIONS = 1000


class LinearHead(nn.Linear):
    """Features [B, feature_dim] to logits [B, num_classes], through a ReLU first if `relu`."""

    def __init__(self, feature_dim: int, num_classes: int, relu: bool = False) -> None:
        super().__init__(feature_dim, num_classes)
        self.relu = relu

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [B, num_classes], before the softmax."""
        return super().forward(torch.relu(features) if self.relu else features)


def choose_faces(face_ids: list[str], speaker_ids: list[str]) -> list[int]:
    """Indices of at most `FACES_PER_SPEAKER` faces of each speaker, chosen by their ids alone."""
    chosen: dict[str, list[int]] = {}
    for index in sorted(range(len(face_ids)), key=lambda i: stable_fraction(f"head {face_ids[i]}")):
        of_speaker = chosen.setdefault(speaker_ids[index], [])
        if len(of_speaker) < FACES_PER_SPEAKER:
            of_speaker.append(index)
    return sorted(index for indices in chosen.values() for index in indices)


@threadpool_limits.wrap(
    1
)  # threads that wait for each other over a few hundred faces take longer than one, on a busy machine many times
def fit_head(features: np.ndarray, labels: np.ndarray, l2: float) -> LinearHead:
    """Multinomial logistic regression of `labels` int [N] on `features` [N, D]: mean cross-entropy + l2 / 2 |W|^2, by L-BFGS from zero.

    The problem is convex, so the result does not depend on a seed. Raises ValueError for fewer than two classes.
    """
    from sklearn.linear_model import (
        LogisticRegression,
    )  # here, because those that only load a head do without its second of importing

    num_classes = int(labels.max()) + 1
    if num_classes < 2:
        raise ValueError(
            f"a classifier needs at least two training speakers (got {num_classes}); add speakers or lower corpus.splits"
        )
    # scikit-learn minimises the sum of the cross-entropies + |W|^2 / (2 C), and of two classes fits the difference alone, whose square is
    # twice |W|^2.
    strength = l2 * len(labels) / (2 if num_classes == 2 else 1)
    fitted = LogisticRegression(C=1 / strength, tol=TOLERANCE, max_iter=MAX_ITERATIONS)
    fitted.fit(features.astype(np.float64), labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if num_classes == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = LinearHead(features.shape[1], num_classes)
    head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return head.requires_grad_(False)


def fit_head_of_table(directory: Path, splits: Mapping[str, str], l2: float) -> LinearHead:
    """Fit the head to the training speakers of a feature table, classes in the order of their ids.

    Of the features only those of the chosen faces are ever in memory. How the rows are cut into shards changes nothing.

    Args:
        directory: the feature table.
        splits: split of each speaker.
        l2: as `fit_head`.

    Raises:
        ValueError: fewer than two training speakers, or a speaker without a split.
    """
    ids = read_columns(directory, ["face_id", "speaker_id"])
    speakers = dict(zip(ids["face_id"].to_pylist(), ids["speaker_id"].to_pylist(), strict=True))
    if unknown := sorted(set(speakers.values()) - set(splits)):
        raise ValueError(
            f"every speaker of {directory} must have a split, and {len(unknown)} have none, for example {unknown[0]}: run dvc repro"
        )
    training = [face_id for face_id, speaker_id in speakers.items() if splits[speaker_id] == "train"]
    if not training:
        raise ValueError(f"{directory} has no face of a training speaker; add speakers or lower corpus.splits")
    order = sorted(training[i] for i in choose_faces(training, [speakers[face_id] for face_id in training]))
    chosen = set(order)
    features = {
        row["face_id"]: row["feature"]
        for path in shard_paths(directory)
        for row in iterate_rows(path, ["face_id", "feature"])
        if row["face_id"] in chosen
    }
    labels = np.unique([speakers[face_id] for face_id in order], return_inverse=True)[1]
    return fit_head(np.stack([features[face_id] for face_id in order]), labels, l2)
