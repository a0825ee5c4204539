"""The face classifier whose last layer the distillation term looks at, for backends that come without one."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from speech2face.pipeline.provenance import stable_fraction
from speech2face.pipeline.shards import iterate_rows, shard_paths

FACES_PER_SPEAKER, MOST_CLASSES = 16, 2622
"""They bound the fit's memory and time, however large the corpus; VGG-Face tells 2,622 people apart."""
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


def choose_faces(faces: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of faces (face_id, speaker_id) at most `FACES_PER_SPEAKER` of each speaker, chosen by their ids alone: face_id to speaker_id, in the
    order of the ids."""
    chosen: dict[str, list[tuple[float, str]]] = {}  # of each speaker a heap, the first of which is the next to go
    for face_id, speaker_id in faces:
        of_speaker = chosen.setdefault(speaker_id, [])
        entry = -stable_fraction(f"head {face_id}"), face_id
        (heapq.heappush if len(of_speaker) < FACES_PER_SPEAKER else heapq.heappushpop)(of_speaker, entry)
    return dict(sorted((face_id, speaker) for speaker, entries in chosen.items() for _, face_id in entries))


# threads that wait for each other over a few hundred faces take longer than one, on a busy machine many times
@threadpool_limits.wrap(1)
def fit_head(features: np.ndarray, labels: np.ndarray, l2: float) -> LinearHead:
    """Multinomial logistic regression of `labels` int [N] on `features` [N, D]: mean cross-entropy + l2 / 2 |W|^2, by L-BFGS from zero.

    The problem is convex, so the result does not depend on a seed. Raises ValueError for fewer than two classes.
    """
    # here, because those that only load a head do without its second of importing
    from sklearn.linear_model import LogisticRegression

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

    Memory has a bound however large the table: of more than `MOST_CLASSES` training speakers as many are chosen by their ids, and of the
    features only those of chosen faces are ever in memory. How the rows are cut into shards changes nothing.

    Args:
        directory: the feature table.
        splits: split of each speaker.
        l2: as `fit_head`.

    Raises:
        ValueError: fewer than two training speakers, or a speaker without a split.
    """
    paths = shard_paths(directory)
    speakers = {name for path in paths for name in pq.read_table(path, columns=["speaker_id"])[0].unique().to_pylist()}
    if unknown := sorted(speakers - set(splits)):
        raise ValueError(
            f"every speaker of {directory} must have a split, and {len(unknown)} have none, for example {unknown[0]}: run dvc repro"
        )
    training = [speaker for speaker in speakers if splits[speaker] == "train"]
    if not training:
        raise ValueError(f"{directory} has no face of a training speaker; add speakers or lower corpus.splits")
    classes = set(sorted(training, key=lambda speaker: stable_fraction(f"head {speaker}"))[:MOST_CLASSES])
    chosen = choose_faces(face for path in paths for face in _ids(path) if face[1] in classes)
    place = {face_id: index for index, face_id in enumerate(chosen)}
    features: np.ndarray | None = None
    for row in (row for path in paths for row in iterate_rows(path, ["face_id", "feature"]) if row["face_id"] in place):
        if features is None:
            features = np.empty((len(place), len(row["feature"])), np.float32)
        features[place[row["face_id"]]] = row["feature"]
    assert features is not None
    return fit_head(features, np.unique(list(chosen.values()), return_inverse=True)[1], l2)


def _ids(path: Path) -> Iterator[tuple[str, str]]:
    ids = pq.read_table(path, columns=["face_id", "speaker_id"])
    return zip(ids["face_id"].to_pylist(), ids["speaker_id"].to_pylist(), strict=True)
