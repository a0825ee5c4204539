"""What other face networks see in decoded faces: who it is, how old, which sex.

The network that describes faces in training also judges the decoded ones. These have had no part in training. They are instruments
with biases of their own, made for photographs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from speech2face.measures.statistics import Bootstrap, Statistic, accuracy, mean, pearson
from speech2face.measures.views import group_sums

SEXES = ("f", "m")  # the two that the models distinguish, as manifests name them


class Opinion(NamedTuple):
    """Of N faces: embedding float [N, D], age_years [N], male_probability [N] in 0..1."""

    embedding: np.ndarray
    age_years: np.ndarray
    male_probability: np.ndarray


Judge = Callable[[np.ndarray, np.ndarray], Opinion]
"""Pictures uint8 [N, 224, 224, 3] and landmarks [N, 68, 2] (x, y) to an opinion."""


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
    summary["identity_cosine"] = over_rows.estimate(mean((unit["voice"] * unit["true_feature"]).sum(1)))
    if (chance := _between_speakers(unit["voice"], unit["true_feature"], over_rows.of_row)) is not None:
        summary["identity_cosine_chance"] = chance
    return summary


def _over(rows: np.ndarray, statistic: Statistic) -> Statistic:
    """A statistic of the rows that `rows` (bool [N]) picks, as one of all N."""
    return lambda weights: statistic(weights.of(rows))


def _between_speakers(first: np.ndarray, second: np.ndarray, speakers: np.ndarray) -> float | None:
    """Mean product of unit vectors [N, D] of rows of different speakers (int [N]); None where there is one speaker.

    By sums over each speaker's rows: the sum over all pairs of rows is the product of the sums.
    """
    clips = np.bincount(speakers)
    sums = [group_sums(values.astype(np.float64), speakers) for values in (first, second)]
    pairs = clips.sum() ** 2 - (clips**2).sum()
    within = (sums[0] * sums[1]).sum()
    return float((sums[0].sum(0) @ sums[1].sum(0) - within) / pairs) if pairs else None
