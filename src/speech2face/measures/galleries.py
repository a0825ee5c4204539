"""Retrieval, matching and verification of one system, in each gallery that the corpus allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from speech2face.corpus.ids import speaker_of
from speech2face.measures import verification
from speech2face.measures.aligned import Aligned
from speech2face.measures.hubs import measure_hubs
from speech2face.measures.ranking import (
    rank_among_videos,
    rank_within_groups,
    summarise_matching,
    summarise_ranks,
    summarise_small_galleries,
)
from speech2face.measures.retrieval import Metric, Ranks, nearest, rank_matches
from speech2face.measures.statistics import Bootstrap, resample_speakers
from speech2face.measures.systems import System
from speech2face.pipeline.params import Evaluation

HELD_EQUAL = (("sex",), ("sex", "nationality"))
"""Attributes that all of a smaller gallery have in common, where the corpus knows them."""
DISTANCES: tuple[Metric, ...] = ("l1", "l2")
RAW = {"cosine": "speaker_mean_raw_cosine", "l1": "speaker_mean_l1", "l2": "speaker_mean_l2"}
"""By metric, the results in the gallery of mean faces where features are not centred. (To L1 and L2 that would make no difference.)"""


@dataclass(frozen=True)
class Galleries:
    """results: `retrieval`, `matching` and `verification`, each by gallery, and `hubs`, by the gallery's name in `retrieval`; ranks,
    trials: those of the gallery of all test speakers."""

    results: dict[str, dict[str, Any]]
    ranks: Ranks
    trials: verification.Trials


def measure_galleries(
    aligned: Aligned, system: System, table: pd.DataFrame, settings: Evaluation, seed: int
) -> Galleries:
    """Measures of one system; table: attributes by clip_id.

    All by centred cosine, see `Aligned.centred`, but for those in `retrieval` and `hubs` whose name says otherwise.
    """
    over_rows = resample_speakers(aligned.clips, settings, seed)
    predicted, ranks = system.features, system.ranks
    trials = verification.trials(aligned, predicted, over_rows)
    retrieval = {
        name: summarise_ranks(r, over_rows) for name, r in (("speaker_mean", ranks), (RAW["cosine"], system.raw_ranks))
    }
    for metric in DISTANCES:
        found = rank_matches(predicted, aligned.gallery, aligned.clips["speaker"], metric)
        retrieval[RAW[metric]] = summarise_ranks(found, over_rows)
    hubs = {}
    for name, centre in (("speaker_mean", aligned.training_mean), (RAW["cosine"], None)):
        found_nearest = nearest(predicted, aligned.gallery, centre=centre)
        hubs[name] = measure_hubs(found_nearest, len(aligned.speakers), over_rows)
    for name, shift in (("same_video", 0), ("cross_video", 1)):
        found, usable = rank_among_videos(aligned, predicted, shift)
        if usable.any():
            retrieval[name] = summarise_ranks(found, resample_speakers(aligned.clips, settings, seed, usable))
    matching = {"all": summarise_matching(ranks, over_rows)}
    verified = {"all": _verify(trials, over_rows)}
    for names in HELD_EQUAL:
        groups = _groups(table, names, aligned.speakers)
        found, usable = rank_within_groups(aligned, predicted, groups)
        if usable.any():
            label = f"same_{'_and_'.join(names)}"
            over_usable = resample_speakers(aligned.clips, settings, seed, usable)
            retrieval[label] = summarise_ranks(found, over_usable)
            matching[label] = summarise_matching(found, over_usable)
            codes = pd.factorize(groups)[0]
            verified[label] = _verify(verification.trials(aligned, predicted, over_usable, codes, usable), over_usable)
    if small := summarise_small_galleries(ranks, over_rows):
        retrieval["galleries_of_100"] = small
    results = {"retrieval": retrieval, "matching": matching, "verification": verified, "hubs": hubs}
    return Galleries(results, ranks, trials)


def _verify(trials: verification.Trials, bootstrap: Bootstrap) -> dict[str, Any]:
    measures = {
        "area_under_curve": verification.area_under_curve(trials, bootstrap),
        "equal_error_rate": verification.equal_error_rate(trials),
    }
    estimates = {name: bootstrap.estimate(statistic) for name, statistic in measures.items()}
    return {name: value | {"chance": 0.5} for name, value in estimates.items() if value}


def _groups(table: pd.DataFrame, names: Sequence[str], speakers: list[str]) -> pd.Series:
    """The attributes `names` of each speaker as one text, in the order of `speakers`; null where one of them is unknown."""
    known = table.loc[:, [name for name in names if name in table]].dropna()
    known = known[known.index.map(speaker_of).isin(speakers)]
    if known.empty or len(known.columns) < len(names):
        return pd.Series(index=speakers, dtype=object)
    first = known.groupby(known.index.map(speaker_of)).first()
    return first.astype(str).agg(" ".join, axis=1).reindex(speakers)
