"""Two experiments on the same clips: the difference of each measure, clip by clip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.statistics import mean, p_value, resample_speakers
from speech2face.pipeline.params import Evaluation

MEASURES = (
    "cosine",
    "centred_cosine",
    "recall_at_1",
    "recall_at_10_percent",
    "recall_at_10_percent_raw",
    "reciprocal_rank",
    "one_of_2",
)
OF_DECODED = ("decoded_cosine", "decoded_true_cosine")
OF_ATTRIBUTES = ("_accuracy", "_absolute_error")
"""How the names of columns end that say whether a clip's class was read rightly, or by how much a number was missed."""
REPORTED = (
    "cosine",
    "centred_cosine",
    "recall_at_10_percent",
    "recall_at_10_percent_raw",
    "reciprocal_rank",
    "one_of_2",
    "sex_accuracy",
    "age_years_absolute_error",
    *OF_DECODED,
)
"""What the report has of every comparison, where both runs have it."""


@dataclass(frozen=True)
class Comparisons:
    """Tables as `differences` makes them by the other experiment's name, and the names of those that cannot be compared."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def as_results(self) -> dict[str, Any]:
        """`difference`, `low`, `high` and `p_value` by experiment and measure."""
        columns = ["difference", "low", "high", "p_value"]
        return {name: table.set_index("measure")[columns].to_dict("index") for name, table in self.tables.items()}


def differences(
    first: pd.DataFrame, second: pd.DataFrame, settings: Evaluation, seed: int, chosen: Sequence[str] | None = None
) -> pd.DataFrame:
    """`second` minus `first`, two runs' tables of the same clips in the same order, with an interval by bootstrap over speakers and the
    two-sided p-value of swapping the runs at random, speaker by speaker.

    Attributes are compared by accuracy, numbers by mean absolute error. chosen: the measures wanted, in their order; None compares
    every measure that both runs have.
    """
    bootstrap = resample_speakers(first, settings, seed)
    signs = np.random.default_rng([seed, 4]).choice([-1.0, 1.0], (settings.resamples, bootstrap.counts.shape[1]))
    rows = []
    found = _shared_measures(first, second)
    for measure in found if chosen is None else [name for name in chosen if name in found]:
        before, after = found[measure]
        difference = after - before
        estimate = bootstrap.estimate(mean(difference))
        of_speaker = np.bincount(bootstrap.of_row, np.nan_to_num(difference))
        drawn = np.abs(signs @ of_speaker)
        row = {"measure": measure, "first": np.nanmean(before), "second": np.nanmean(after)}
        row |= {"difference": estimate["value"], "low": estimate["low"], "high": estimate["high"]}
        rows.append(row | {"p_value": p_value(float(np.abs(of_speaker.sum())), drawn)})
    return pd.DataFrame(rows)


def is_measure(column: str) -> bool:
    """Whether a column of the table of clips can be compared."""
    return column in (*MEASURES, *OF_DECODED) or column.endswith(OF_ATTRIBUTES)


def _shared_measures(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each measure that both runs have, its rows in the first and in the second."""
    read = [name for name in map(str, first) if name.endswith(OF_ATTRIBUTES)]
    shared = [name for name in (*MEASURES, *OF_DECODED, *read) if name in first and name in second]
    return {name: (first[name].to_numpy(np.float64), second[name].to_numpy(np.float64)) for name in shared}
