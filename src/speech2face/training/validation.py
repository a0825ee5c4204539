"""How well a voice encoder's predictions find the validation speakers."""

from collections.abc import Sequence

import numpy as np

from speech2face.measures.retrieval import middle_rank, rank_matches, recall_at_percent
from speech2face.training.loop import Metrics
from speech2face.training.pairs import Targets

PERCENT = 10.0
MAX_STRETCH = 10.0


def rank_validation(predicted: np.ndarray, clip_speakers: Sequence[str], targets: Targets) -> Metrics:
    """Where the predictions [N, D] for validation clips rank their speakers among all validation speakers, by the cosine of the
    differences from the mean training face (of which one face is not everyone's nearest).

    mean_rank; one_of_two, the chance that the right one of two faces is chosen, which is the mean rank as a part of the gallery;
    recall_at_10_percent. And stretch, how many times farther from the mean face the speakers' faces lie than the predictions, at most
    `MAX_STRETCH`: what cannot be heard is left out of a prediction, and so it lies nearer.
    """
    gallery_speakers = targets.speakers("val")
    rows = {speaker: row for row, speaker in enumerate(gallery_speakers)}
    mean = targets.mean_face()
    gallery = targets.speaker_means(gallery_speakers) - mean
    found = rank_matches(predicted - mean, gallery, [rows[s] for s in clip_speakers], "cosine")
    mean_rank = float(middle_rank(found).mean())
    lengths = [np.linalg.norm(part, axis=1).mean() for part in (gallery, predicted - mean)]
    return {
        "one_of_two": 1 - (mean_rank - 1) / max(1, len(gallery) - 1),
        "mean_rank": mean_rank,
        "recall_at_10_percent": recall_at_percent(found, PERCENT),
        "stretch": float(min(MAX_STRETCH, lengths[0] / max(lengths[1], lengths[0] / MAX_STRETCH))),
    }
