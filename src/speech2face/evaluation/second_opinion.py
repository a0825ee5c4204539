"""A second opinion on decoded faces by insightface's models, where a model pack is on disk: who, how old, which sex.

The networks that describe faces in training also judge the decoded ones; these have seen neither the training nor its loss. They are
instruments with biases of their own, made for photographs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from speech2face.evaluation.statistics import Bootstrap, accuracy, mean, pearson
from speech2face.features.arcface import face_boxes, load_age_sex, load_arcface

BATCH = 16


class Opinion(NamedTuple):
    """Of N faces: embedding float [N, D], age_years [N], male_probability [N] in 0..1."""

    embedding: np.ndarray
    age_years: np.ndarray
    male_probability: np.ndarray


Judge = Callable[[np.ndarray, np.ndarray], Opinion]
"""Pictures uint8 [N, 224, 224, 3] and landmarks [N, 68, 2] (x, y) to an opinion."""


def load_judge(device: torch.device) -> Judge | None:
    """The recognition and the age and sex model of the pack in insightface's usual place ($S2F_INSIGHTFACE_ROOT or ~/.insightface);
    None where they are not there. Raises ValueError for a pack that is damaged."""
    try:
        recogniser, estimator = load_arcface().to(device), load_age_sex().to(device)
    except FileNotFoundError:
        return None

    @torch.inference_mode()
    def judge(images: np.ndarray, landmarks: np.ndarray) -> Opinion:
        parts = []
        for start in range(0, len(images), BATCH):
            crops = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float().div(255).to(device)
            points = torch.from_numpy(landmarks[start : start + BATCH]).float().to(device)
            who = estimator.estimate(crops, face_boxes(points))
            parts.append((recogniser.embed(crops, points), who.age_years, who.male_probability))
        return Opinion(*(torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)))

    return judge


def summarise_opinions(
    opinions: Mapping[str, Opinion], attributes: pd.DataFrame, over_rows: Bootstrap
) -> dict[str, Any]:
    """What the models read off the faces decoded from the true feature and from the voice, against the truth.

    opinions: by source, `true_feature` and `voice`, rows as in `over_rows`; attributes: sex (f, m) and age_years of the same rows, as far
    as they are known. `identity_cosine` is between the two faces of a row, `identity_cosine_chance` between faces of different speakers.
    """
    summary: dict[str, Any] = {}
    for source, opinion in opinions.items():
        read: dict[str, Any] = {}
        if "sex" in attributes and attributes["sex"].notna().all():
            read["sex_accuracy"] = over_rows.estimate(
                accuracy(attributes["sex"] == "m", opinion.male_probability > 0.5)
            )
        if "age_years" in attributes and attributes["age_years"].notna().all():
            read["age_correlation"] = over_rows.estimate(pearson(attributes["age_years"], opinion.age_years))
        summary[f"decoded_{source}"] = read
    unit = {s: o.embedding / np.linalg.norm(o.embedding, axis=1, keepdims=True) for s, o in opinions.items()}
    cosines = unit["voice"] @ unit["true_feature"].T
    others = over_rows.of_row[:, None] != over_rows.of_row[None]
    summary["identity_cosine"] = over_rows.estimate(mean(np.diag(cosines)))
    if others.any():
        summary["identity_cosine_chance"] = float(cosines[others].mean())
    return summary
