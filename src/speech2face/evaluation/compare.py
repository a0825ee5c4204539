"""Files of other experiments on the same clips, compared with this run's."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speech2face.measures.differences import MEASURES, REPORTED, Comparisons, differences, is_measure
from speech2face.pipeline.params import Evaluation

IDS = ("clip_id", "speaker_id")


class NotComparableError(ValueError):
    """A run that was evaluated on other test clips than another, or by other measures."""


def compare_with_all(own: Path, directory: Path | None, settings: Evaluation, seed: int) -> Comparisons:
    """Compare the clips.csv of a run with every *.csv of `directory`, each that of another experiment, named by its file.

    A file of other test clips or other measures is set aside and not an error, because corpus and code may change after the file was
    kept.
    Raises ValueError if a file is not the clips.csv of an evaluation.
    """
    found = Comparisons()
    for path in sorted(directory.glob("*.csv")) if directory is not None else []:
        try:
            found.tables[path.stem] = compare(own, path, settings, seed, REPORTED)
        except NotComparableError:
            found.skipped.append(path.stem)
    return found


def compare(
    first: Path, second: Path, settings: Evaluation, seed: int, chosen: Sequence[str] | None = None
) -> pd.DataFrame:
    """`differences` between two runs' clips.csv. Raises NotComparableError, a ValueError, if they are not of the same test clips."""
    tables = read_clips(first), read_clips(second)
    if not tables[0]["clip_id"].equals(tables[1]["clip_id"]):
        raise NotComparableError(
            f"{first} and {second} must hold the same test clips; compare runs on one corpus and split"
        )
    return differences(*tables, settings, seed, chosen)


def read_clips(path: Path) -> pd.DataFrame:
    """Ids and measures of a clips.csv.

    Raises NotComparableError for one of other measures, as another version of the evaluation writes it, ValueError for a file that is
    no clips.csv.
    """
    try:
        # The ids as the text they are: a speaker may be called "007" or "NA".
        table = pd.read_csv(
            path, usecols=_is_read, dtype=dict.fromkeys(IDS, str), keep_default_na=False, na_values=[""]
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is not a table ({error}); give the clips.csv of an evaluation") from error
    if missing := [name for name in IDS if name not in table]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; give the clips.csv of an evaluation")
    if missing := [name for name in MEASURES if name not in table]:
        raise NotComparableError(f"{path} lacks the measures {', '.join(missing)}; evaluate that run again")
    return table


def _is_read(column: str) -> bool:
    return column in IDS or is_measure(column)
