"""A teacher for the published network: what linear regression from the embeddings of frozen speaker networks makes of a voice.

Of a person's face, a voice says little, and the rest is noise to whoever learns from a few hundred people. The teacher's predictions
leave it out (knowledge distillation, Hinton et al. 2015, arXiv 1503.02531).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from speech2face.corpus.ids import speaker_of
from speech2face.measures.ridge import STRENGTHS, fit_ridge
from speech2face.speaker_networks.table import table_weights
from speech2face.training.pairs import VOICES, Targets, read_targets

FOLDS = 3


@dataclass(frozen=True)
class Teacher:
    """faces: the feature that is predicted from each video's voice; variance: of those of the training videos, summed over the numbers of
    a feature; speaker_networks: whose embeddings it hears, and the digests of their weights."""

    faces: Targets
    variance: float
    speaker_networks: Mapping[str, str]

    def error(self, predicted: Tensor, clip_ids: Sequence[str]) -> Tensor:
        """Squared distance of features [B, D], predicted of clips, from the teacher's, as a part of the variance; mean over the clips whose
        videos the teacher has heard, 0 where there is none."""
        rows = self.faces.rows(pa.chunked_array([list(clip_ids)]))
        taught = torch.from_numpy(self.faces.features[rows]).to(predicted.device)
        known = torch.from_numpy(rows >= 0).to(predicted.device)
        distances = (predicted - taught).square().sum(1)
        return (distances * known).sum() / known.sum().clamp(min=1) / self.variance


def read_teacher(table: Path, faces: Targets) -> Teacher:
    """The teacher that hears the mean embedding of each video's segments, by a table of embeddings: ridge regression of `faces` over the
    training videos that have one, its strength by cross-validation over speakers.

    Raises ValueError if fewer than three training speakers have a voice and a face, and as `read_targets`.
    """
    voices = read_targets(table, faces.splits, columns=VOICES)
    videos = list(voices.index)
    rows = faces.rows(pa.chunked_array([[f"{video}/" for video in videos]]))
    training = np.array([faces.splits[speaker_of(video)] == "train" for video in videos])
    known = np.flatnonzero(training & (rows >= 0))
    speakers, number = np.unique([speaker_of(videos[i]) for i in known], return_inverse=True)
    if (count := len(speakers)) < FOLDS:
        raise ValueError(
            f"the teacher needs at least {FOLDS} training speakers with a voice and a face (got {count}); add speakers, or set "
            "encoder.weights.teacher to 0"
        )
    heard = voices.features.astype(np.float64)
    spread = heard[known].std(0)
    heard = (heard - heard[known].mean(0)) / np.where(spread > 0, spread, 1)
    line = fit_ridge(heard[known], faces.features[rows[known]], rows[known], number % FOLDS, STRENGTHS)
    taught = line.predict(heard)
    variance = float(taught[training].var(0).sum())
    return Teacher(Targets(taught.astype(np.float32), voices.index, faces.splits), variance, table_weights(table))
