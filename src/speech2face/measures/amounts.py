"""How much of a voice is enough: retrieval by what was heard, from a speaker's every clip down to a second and a half."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.aligned import Aligned
from speech2face.measures.scores import chance_scores
from speech2face.measures.statistics import Bootstrap, mean
from speech2face.measures.systems import System
from speech2face.measures.views import Features, View, blocks, group_sums, picked

MEASURES = ("recall_at_10_percent", "one_of_2")
SPEAKER = "speaker"


def score_amounts(
    aligned: Aligned, predicted: Mapping[str, System], over_rows: Bootstrap
) -> dict[str, dict[str, dict[str, float]]]:
    """`MEASURES` of each amount, the most first, each with its interval and its chance: 0 to 1, by centred cosine in the gallery of all
    test speakers. A measure that is undefined is left out, as one of two is where there is one test speaker.

    predicted: those of `Inputs.predicted`. `speaker` comes before them: to each test row the first prediction, averaged over all test
    rows of its speaker. So every amount is of the same rows, and a speaker of many clips counts alike in each.
    """
    averaged = of_speakers(next(iter(predicted.values())).features, aligned.clips["speaker"])
    amounts = {SPEAKER: System(aligned, averaged), **predicted}
    chances = chance_scores(len(aligned.speakers))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for amount, system in amounts.items():
        estimates = {name: over_rows.estimate(mean(system.scores[name])) for name in MEASURES}
        found[amount] = {name: value | {"chance": chances[name]} for name, value in estimates.items() if value}
    return found


def of_speakers(predicted: Features, speakers: pd.Series) -> View:
    """To each row of `predicted` [N, D] the mean, float64 [N, D], over the rows of its speaker; `speakers`: that of each row, int [N]."""
    codes = pd.factorize(speakers)[0]
    sums = np.zeros((codes.max() + 1, predicted.shape[1]))
    for rows in blocks(predicted):
        found, group = np.unique(codes[rows], return_inverse=True)
        sums[found] += group_sums(predicted[rows].astype(np.float64), group)
    return picked(sums / np.bincount(codes)[:, None], codes)


def amounts_table(amounts: Mapping[str, Any]) -> pd.DataFrame:
    """What `score_amounts` gives, one row an amount and measure: heard, measure, value, low, high, chance."""
    rows = [(heard, name, *value.values()) for heard, entry in amounts.items() for name, value in entry.items()]
    return pd.DataFrame(rows, columns=["heard", "measure", "value", "low", "high", "chance"])
