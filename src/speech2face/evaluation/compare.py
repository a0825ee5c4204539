"""Two experiments on the same clips, compared pair by pair."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speech2face.evaluation.statistics import Bootstrap, mean, p_value

MEASURES = ("cosine", "recall_at_1", "recall_at_10_percent", "reciprocal_rank", "one_of_2")


def compare(first: Path, second: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Differences `second` minus `first` between two runs' clips.csv, with an interval by bootstrap over speakers and the
    two-sided p-value of swapping the runs at random, speaker by speaker.

    settings: the `evaluation` section of params.yaml. Attributes are compared by accuracy, numbers by mean absolute error.
    Raises ValueError if the files are not of the same test clips.
    """
    tables = [_read(path) for path in (first, second)]
    if not tables[0]["clip_id"].equals(tables[1]["clip_id"]):
        raise ValueError(f"{first} and {second} must hold the same test clips; compare runs on one corpus and split")
    bootstrap = Bootstrap(tables[0]["speaker_id"], settings["resamples"], settings["confidence"], seed)
    signs = np.random.default_rng([seed, 4]).choice([-1.0, 1.0], (settings["resamples"], len(bootstrap.first)))
    rows = []
    for measure, values in _measures(tables).items():
        before, after = values
        difference = after - before
        estimate = bootstrap.estimate(mean(difference))
        of_speaker = np.bincount(bootstrap.of_row, np.nan_to_num(difference))
        drawn = np.abs(signs @ of_speaker)
        row = {"measure": measure, "first": np.nanmean(before), "second": np.nanmean(after)}
        row |= {"difference": estimate["value"], "low": estimate["low"], "high": estimate["high"]}
        rows.append(row | {"p_value": p_value(float(np.abs(of_speaker.sum())), drawn)})
    return pd.DataFrame(rows)


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    if missing := [name for name in ("clip_id", "speaker_id", *MEASURES) if name not in table]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; give the clips.csv of an evaluation")
    return table


def _measures(tables: list[pd.DataFrame]) -> dict[str, list[np.ndarray]]:
    """Of each measure that both runs have, its rows in the first and in the second."""
    found = {name: [table[name].to_numpy(np.float64) for table in tables] for name in MEASURES}
    for column in tables[0].columns:
        name = column.removesuffix("_true")
        read = f"{name}_from_voice"
        if name == column or any(needed not in table for table in tables for needed in (column, read)):
            continue
        if pd.api.types.is_numeric_dtype(tables[0][column]):
            found[f"{name}_absolute_error"] = [(t[column] - t[read]).abs().to_numpy(np.float64) for t in tables]
        else:
            found[f"{name}_accuracy"] = [
                np.where(t[column].isna(), np.nan, t[column] == t[read]).astype(np.float64) for t in tables
            ]
    return found
