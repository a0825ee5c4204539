"""Scores of each test row, for tables that set models, baselines and groups of speakers side by side."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from speech2face.corpus.ids import speaker_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.attributes import ORIGIN, Attribute
from speech2face.measures.retrieval import percent_to_k
from speech2face.measures.statistics import Floats, Statistic, Weights, accuracy, mean, pearson, resample_speakers
from speech2face.measures.systems import COSINES, System
from speech2face.pipeline.params import Evaluation

GROUPED = ("sex", "age_years", "age", "nationality", "ethnicity", "accent", "skin_tone", ORIGIN)
"""Attributes by which quality is shown to be even or not, where the corpus has them."""
BANDS = {
    "age_years": (30, 45, 60),
    "age": (30, 45, 60),
    "skin_tone": (1 / 3, 2 / 3),
}
"""Where numbers are cut into groups."""
RECALLS = ("recall_at_10_percent", "recall_at_10_percent_raw")
"""By centred and by raw cosine."""
FEWEST_SPEAKERS = 3  # of a group that is shown by itself; an interval over fewer says nothing


def chance_scores(gallery_size: int) -> dict[str, float]:
    """What a random order gives, for the scores that have such a chance."""
    return {
        "recall_at_1": 1 / gallery_size,
        **dict.fromkeys(RECALLS, percent_to_k(10, gallery_size) / gallery_size),
        "reciprocal_rank": float((1 / np.arange(1, gallery_size + 1)).mean()),
        "one_of_2": 0.5,
    }


def attribute_statistic(attribute: Attribute, system: System, rows: np.ndarray | None = None) -> Statistic:
    """Correlation of a number, accuracy of a name, as read from a system's features, over the test rows that it is known of, or those
    of them that `rows` (bool [N]) picks."""
    used = attribute.known if rows is None else attribute.known & rows
    return (pearson if attribute.is_number else accuracy)(
        attribute.truth[used[attribute.known]], system.read(attribute)[used]
    )


def attribute_measure(attribute: Attribute) -> str:
    """Name of what `attribute_statistic` gives."""
    return f"{attribute.name}_{'correlation' if attribute.is_number else 'accuracy'}"


def score_systems(
    aligned: Aligned,
    systems: Mapping[str, System],
    attributes: Sequence[Attribute],
    settings: Evaluation,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The same measures of each system; of all but the first also `difference`, this minus the first, paired:
    both are measured on the same resamples."""
    over_rows = resample_speakers(aligned.clips, settings, seed)
    of_known = {attribute_measure(a): resample_speakers(aligned.clips, settings, seed, a.known) for a in attributes}
    table: dict[str, dict[str, Any]] = {}
    first: dict[str, Statistic] = {}
    for name, system in systems.items():
        statistics = {score: mean(rows) for score, rows in system.scores.items()}
        statistics |= {attribute_measure(a): attribute_statistic(a, system) for a in attributes}
        first = first or statistics
        table[name] = {}
        for score, statistic in statistics.items():
            bootstrap = of_known.get(score, over_rows)
            if estimate := bootstrap.estimate(statistic):
                table[name][score] = dict(estimate)
                if statistics is not first:
                    table[name][score]["difference"] = bootstrap.estimate(_difference(statistic, first[score]))
    return table


def fraction_of_knowable(
    aligned: Aligned,
    systems: Mapping[str, System],
    attributes: Sequence[Attribute],
    settings: Evaluation,
    seed: int,
) -> dict[str, dict[str, float]]:
    """(voice - chance) / (oracle - chance) of each measure: 0 nothing, 1 all that can be known from the linked attributes.

    systems: those of `voice`, `oracle` and `mean_feature`. Chance of a cosine is that of `mean_feature`, of an accuracy
    the commonest class's, of a correlation 0. Measures on which the oracle is not above chance have no such fraction and are left out.
    """
    voice, oracle, mean_feature = (systems[name] for name in ("voice", "oracle", "mean_feature"))
    fractions = {}
    over_rows = resample_speakers(aligned.clips, settings, seed)
    chances = chance_scores(len(aligned.gallery))
    of_voice, of_oracle, of_mean = (system.scores for system in (voice, oracle, mean_feature))
    for name, rows in of_voice.items():
        chance = mean(of_mean[name]) if name in COSINES else mean(np.full(len(rows), chances[name]))
        fractions[name] = over_rows.estimate(_fraction(mean(rows), mean(of_oracle[name]), chance))
    for attribute in attributes:
        bootstrap = resample_speakers(aligned.clips, settings, seed, attribute.known)
        commonest = pd.Series(attribute.truth).mode()[0]
        chance = mean(np.zeros(len(attribute.truth)) if attribute.is_number else attribute.truth == commonest)
        learned, knowable = (attribute_statistic(attribute, system) for system in (voice, oracle))
        fractions[attribute_measure(attribute)] = bootstrap.estimate(_fraction(learned, knowable, chance))
    return {name: value for name, value in fractions.items() if value}


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return lambda weights: one(weights) - other(weights)


def _fraction(learned: Statistic, knowable: Statistic, chance: Statistic) -> Statistic:
    def statistic(weights: Weights) -> Floats:
        low = chance(weights)
        above, whole = learned(weights) - low, knowable(weights) - low
        return np.divide(above, whole, out=np.full(len(low), np.nan), where=whole > 1e-3)

    return statistic


def groups_of(table: pd.DataFrame, clip_ids: pd.Series) -> dict[str, pd.Series]:
    """By attribute, the group of each test row: a class, a band of ages, or `others` for classes of too few speakers;
    null where unknown."""
    grouped = {}
    speakers = clip_ids.map(speaker_of)
    for name in GROUPED:
        if name not in table or (pd.api.types.is_numeric_dtype(table[name]) and name not in BANDS):
            continue
        column = table[name].reindex(clip_ids).reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(column):
            column = _bands(column, BANDS[name])
        else:
            sizes = speakers.groupby(column).nunique()
            small = column.isin(sizes.index[sizes < FEWEST_SPEAKERS])
            column = column.mask(small, "others") if small.any() and len(sizes) > 2 else column
        if column.notna().any():
            grouped[name] = column
    return grouped


def score_groups(
    aligned: Aligned,
    system: System,
    groups: Mapping[str, pd.Series],
    attributes: Sequence[Attribute],
    settings: Evaluation,
    seed: int,
) -> dict[str, dict[str, dict[str, Any]]]:
    """The row-wise measures of each group of `FEWEST_SPEAKERS` or more, and how well its attributes are read. The gallery stays
    whole."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, column in groups.items():
        result[name] = {}
        for group in column.dropna().sort_values().unique():
            chosen = (column == group).to_numpy()
            speakers = aligned.clips["speaker_id"][chosen]
            if speakers.nunique() < FEWEST_SPEAKERS:
                continue
            bootstrap = resample_speakers(aligned.clips, settings, seed, chosen)
            entry: dict[str, Any] = {"speakers": int(speakers.nunique()), "clips": int(chosen.sum())}
            entry |= {score: bootstrap.estimate(mean(values[chosen])) for score, values in system.scores.items()}
            for attribute in attributes:
                if (attribute.known & chosen).any():
                    of_known = resample_speakers(aligned.clips, settings, seed, attribute.known & chosen)
                    statistic = attribute_statistic(attribute, system, chosen)
                    entry[attribute_measure(attribute)] = of_known.estimate(statistic)
            result[name][str(group)] = {score: value for score, value in entry.items() if value != {}}
    return {name: entries for name, entries in result.items() if entries}


def _bands(column: pd.Series, edges: Sequence[float]) -> pd.Series:
    texts = [f"{edge:.3g}" for edge in edges]
    names = [
        f"below {texts[0]}",
        *(f"{a} to {b}" for a, b in pairwise(texts)),
        f"{texts[-1]} and over",
    ]
    values = [None if np.isnan(value) else names[int(np.digitize(value, edges))] for value in column.astype(float)]
    return pd.Series(pd.Categorical(values, names, ordered=True))
