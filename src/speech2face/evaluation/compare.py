"""Two experiments on the same clips, compared pair by pair."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.statistics import Bootstrap, mean, p_value

MEASURES = ("cosine", "centred_cosine", "recall_at_1", "recall_at_10_percent", "reciprocal_rank", "one_of_2")
OF_DECODED = ("decoded_cosine", "decoded_true_cosine")
OF_ATTRIBUTES = ("_accuracy", "_absolute_error")
"""How the names of columns end that tell whether a clip's class was read rightly, or by how much a number was missed."""
REPORTED = (
    "cosine",
    "centred_cosine",
    "recall_at_10_percent",
    "reciprocal_rank",
    "one_of_2",
    "sex_accuracy",
    "age_years_absolute_error",
    *OF_DECODED,
)
"""What the report tells of every comparison, where both runs have it."""


class OtherClipsError(ValueError):
    """Two runs that were not evaluated on the same test clips."""


@dataclass(frozen=True)
class Comparisons:
    """Tables as `compare` makes them by the other experiment's name, and the names of those on other clips."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def as_metrics(self) -> dict[str, Any]:
        """`difference`, `low`, `high` and `p_value` by experiment and measure."""
        columns = ["difference", "low", "high", "p_value"]
        return {name: table.set_index("measure")[columns].to_dict("index") for name, table in self.tables.items()}


def compare_with_all(own: Path, directory: Path | None, settings: dict[str, Any], seed: int) -> Comparisons:
    """Compare the clips.csv of a run with every *.csv of `directory`, each that of another experiment, named by its file.

    A file of other test clips is set aside and not an error, because a corpus may change after the file was kept.
    Raises ValueError if a file is not the clips.csv of an evaluation.
    """
    found = Comparisons()
    for path in sorted(directory.glob("*.csv")) if directory is not None else []:
        try:
            found.tables[path.stem] = compare(own, path, settings, seed, REPORTED)
        except OtherClipsError:
            found.skipped.append(path.stem)
    return found


def compare(
    first: Path, second: Path, settings: dict[str, Any], seed: int, chosen: Sequence[str] | None = None
) -> pd.DataFrame:
    """Differences `second` minus `first` between two runs' clips.csv, with an interval by bootstrap over speakers and the
    two-sided p-value of swapping the runs at random, speaker by speaker.

    settings: the `evaluation` section of params.yaml. Attributes are compared by accuracy, numbers by mean absolute error.
    chosen: the measures wanted, in their order; None compares every measure that both runs have.
    Raises OtherClipsError, a ValueError, if the files are not of the same test clips.
    """
    tables = [_read(path) for path in (first, second)]
    if not tables[0]["clip_id"].equals(tables[1]["clip_id"]):
        raise OtherClipsError(
            f"{first} and {second} must hold the same test clips; compare runs on one corpus and split"
        )
    bootstrap = Bootstrap(tables[0]["speaker_id"], settings["resamples"], settings["confidence"], seed)
    signs = np.random.default_rng([seed, 4]).choice([-1.0, 1.0], (settings["resamples"], len(bootstrap.first)))
    rows = []
    found = _measures(tables)
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


def _read(path: Path) -> pd.DataFrame:
    try:
        # Only ids and measures are read, the ids as the text they are: a speaker may be called "007" or "NA".
        text = {"clip_id": str, "speaker_id": str}
        table = pd.read_csv(path, usecols=_is_read, dtype=text, keep_default_na=False, na_values=[""])
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is not a table ({error}); give the clips.csv of an evaluation") from error
    if missing := [name for name in ("clip_id", "speaker_id", *MEASURES) if name not in table]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; give the clips.csv of an evaluation")
    return table


def _is_read(column: str) -> bool:
    return column in ("clip_id", "speaker_id", *MEASURES, *OF_DECODED) or column.endswith(OF_ATTRIBUTES)


def _measures(tables: list[pd.DataFrame]) -> dict[str, list[np.ndarray]]:
    """Of each measure that both runs have, its rows in the first and in the second."""
    read = [name for name in map(str, tables[0]) if name.endswith(OF_ATTRIBUTES)]
    shared = [name for name in (*MEASURES, *OF_DECODED, *read) if all(name in table for table in tables)]
    return {name: [table[name].to_numpy(np.float64) for table in tables] for name in shared}
