"""A second opinion on decoded faces by insightface's models, where it is asked for: who, how old, which sex.

The networks that describe faces in training also judge the decoded ones; these have seen neither the training nor its loss. They are
instruments with biases of their own, made for photographs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from speech2face.face_networks.arcface import face_boxes, load_age_sex, load_arcface
from speech2face.measures.statistics import Bootstrap, Statistic, accuracy, mean, pearson
from speech2face.pipeline.params import resolve_path

BATCH = 16
SEXES = ("f", "m")  # the two that the models tell apart, as manifests name them


class Opinion(NamedTuple):
    """Of N faces: embedding float [N, D], age_years [N], male_probability [N] in 0..1."""

    embedding: np.ndarray
    age_years: np.ndarray
    male_probability: np.ndarray


Judge = Callable[[np.ndarray, np.ndarray], Opinion]
"""Pictures uint8 [N, 224, 224, 3] and landmarks [N, 68, 2] (x, y) to an opinion."""


def load_judge(pack: str | None, device: torch.device) -> Judge | None:
    """The recognition and the age and sex model of a pack, the folder that `evaluation.second_opinion` names; None for null.

    Raises FileNotFoundError if the folder or one of the models is not there, ValueError for a pack that is damaged.
    """
    if pack is None:
        return None
    folder = resolve_path(pack)
    recogniser, estimator = load_arcface(folder).to(device), load_age_sex(folder).to(device)

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

    opinions: by source, `true_feature` and `voice`, rows as in `over_rows`; attributes: sex and age_years of the same rows. Each is
    compared over the rows that know it; the models know the sexes f and m, and rows of any other are left out. `sex_majority` is the
    part of the commoner sex among those rows. `identity_cosine` is between the two faces of a row, `identity_cosine_chance` between
    faces of different speakers.
    """
    summary: dict[str, Any] = {}
    for source, opinion in opinions.items():
        read: dict[str, Any] = {}
        if "sex" in attributes and (known := attributes["sex"].isin(SEXES).to_numpy()).any():
            male = (attributes["sex"][known] == "m").to_numpy()
            right = accuracy(male, opinion.male_probability[known] > 0.5)
            read["sex_accuracy"] = over_rows.estimate(_over(known, right))
            read["sex_majority"] = float(max(male.mean(), 1 - male.mean()))
        if "age_years" in attributes and (known := attributes["age_years"].notna().to_numpy()).any():
            ages = attributes["age_years"][known].to_numpy(np.float64)
            read["age_correlation"] = over_rows.estimate(_over(known, pearson(ages, opinion.age_years[known])))
        summary[f"decoded_{source}"] = {name: value for name, value in read.items() if value != {}}
    unit = {s: o.embedding / np.linalg.norm(o.embedding, axis=1, keepdims=True) for s, o in opinions.items()}
    cosines = unit["voice"] @ unit["true_feature"].T
    others = over_rows.of_row[:, None] != over_rows.of_row[None]
    summary["identity_cosine"] = over_rows.estimate(mean(np.diag(cosines)))
    if others.any():
        summary["identity_cosine_chance"] = float(cosines[others].mean())
    return summary


def _over(rows: np.ndarray, statistic: Statistic) -> Statistic:
    """A statistic of the rows that `rows` (bool [N]) picks, as one of all N."""
    return lambda weights: statistic(weights[:, rows])
