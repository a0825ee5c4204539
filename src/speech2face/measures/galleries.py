"""Retrieval, matching and verification of one system, in each gallery that the corpus allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from speech2face.corpus.ids import speaker_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.distances import Metric
from speech2face.measures.hubs import measure_hubs
from speech2face.measures.ranking import (
    rank_among_videos,
    summarise_matching,
    summarise_ranks,
    summarise_small_galleries,
    within_groups,
)
from speech2face.measures.retrieval import Order, Ranks
from speech2face.measures.statistics import Bootstrap, resample_speakers
from speech2face.measures.systems import System
from speech2face.measures.verification import Verified, verify
from speech2face.pipeline.params import Evaluation

HELD_EQUAL = (("sex",), ("sex", "nationality"))
"""Attributes that all of a smaller gallery have in common, where the corpus knows them."""
DISTANCES: tuple[Metric, ...] = ("l1", "l2")
GALLERIES = ("speaker_mean", "speaker_mean_raw_cosine", "speaker_mean_l1", "speaker_mean_l2")
"""The orders of all mean faces: by centred cosine, raw cosine, L1 and L2. (To L1 and L2 centring would make no difference.)"""


@dataclass(frozen=True)
class Galleries:
    """results: `retrieval`, `matching` and `verification`, each by gallery, and `hubs`, by the gallery's name in `retrieval`; ranks,
    verified: those of the gallery of all test speakers."""

    results: dict[str, dict[str, Any]]
    ranks: Ranks
    verified: Verified


def measure_galleries(
    aligned: Aligned, system: System, table: pd.DataFrame, settings: Evaluation, seed: int
) -> Galleries:
    """Measures of one system; table: attributes by clip_id.

    All by centred cosine, see `Aligned.centred`, but for those in `retrieval` and `hubs` whose name says otherwise.
    """
    over_rows = resample_speakers(aligned.clips, settings, seed)
    predicted = system.features
    of_groups = {f"same_{'_and_'.join(names)}": _groups(table, names, aligned.speakers) for names in HELD_EQUAL}
    within = {name: within_groups(aligned, groups) for name, groups in of_groups.items()}
    orders = [Order(metric) for metric in DISTANCES] + [order for order, _ in within.values()]
    found = system.compare(*orders)
    ranks, among_all = found[0].ranks, verify(aligned, predicted, over_rows)
    retrieval = {name: summarise_ranks(c.ranks, over_rows) for name, c in zip(GALLERIES, found, strict=False)}
    hubs = {
        name: measure_hubs(c.nearest, len(aligned.speakers), over_rows)
        for name, c in zip(GALLERIES[:2], found, strict=False)
    }
    for name, shift in (("same_video", 0), ("cross_video", 1)):
        of_videos, usable = rank_among_videos(aligned, predicted, shift)
        if usable.any():
            retrieval[name] = summarise_ranks(of_videos, resample_speakers(aligned.clips, settings, seed, usable))
    matching = {"all": summarise_matching(ranks, over_rows)}
    verified = {"all": _summarise(among_all, over_rows)}
    for (label, (_, usable)), compared in zip(within.items(), found[len(GALLERIES) :], strict=True):
        if usable.any():
            over_usable = resample_speakers(aligned.clips, settings, seed, usable)
            of_usable = Ranks(*(column[usable] for column in compared.ranks))
            retrieval[label] = summarise_ranks(of_usable, over_usable)
            matching[label] = summarise_matching(of_usable, over_usable)
            codes = pd.factorize(of_groups[label])[0]
            verified[label] = _summarise(verify(aligned, predicted, over_usable, codes, usable), over_usable)
    if small := summarise_small_galleries(ranks, over_rows):
        retrieval["galleries_of_100"] = small
    results = {"retrieval": retrieval, "matching": matching, "verification": verified, "hubs": hubs}
    return Galleries(results, ranks, among_all)


def _summarise(found: Verified, bootstrap: Bootstrap) -> dict[str, Any]:
    values = {"area_under_curve": found.area_under_curve, "equal_error_rate": found.equal_error_rate}
    estimates = {name: bootstrap.interval(of_resamples) for name, of_resamples in values.items()}
    return {name: value | {"chance": 0.5} for name, value in estimates.items() if value}


def _groups(table: pd.DataFrame, names: Sequence[str], speakers: list[str]) -> pd.Series:
    """The attributes `names` of each speaker as one text, in the order of `speakers`; null where one of them is unknown."""
    known = table.loc[:, [name for name in names if name in table]].dropna()
    known = known[known.index.map(speaker_of).isin(speakers)]
    if known.empty or len(known.columns) < len(names):
        return pd.Series(index=speakers, dtype=object)
    first = known.groupby(known.index.map(speaker_of)).first()
    return first.astype(str).agg(" ".join, axis=1).reindex(speakers)
