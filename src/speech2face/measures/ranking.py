"""Retrieval and matching measures of unseen speakers, each with its gallery's size and chance.

Voices are compared with faces by centred cosine: that of their differences from the mean training face, see `Aligned.centred`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from speech2face.corpus.ids import speaker_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.retrieval import Order, Ranks, expected, middle_rank, percent_to_k, rank_matches
from speech2face.measures.statistics import Bootstrap, mean, median
from speech2face.measures.views import Features, picked

RANKS = (1, 2, 5, 10)
PERCENTS = (1, 2, 5, 10)
MATCHED = (2, 5, 10)
"""Sizes N of 1-of-N matching."""
SMALL_GALLERY = 100
"""SF2F (Bai et al. 2022) averages galleries of 100; chance of recall at 10 is 0.1 there."""


def recall_table(k: int, size: int) -> np.ndarray:
    """1 for ranks up to `k`, else 0, [size]."""
    return (np.arange(1, size + 1) <= k).astype(np.float64)


def drawn_recall_table(k: int, drawn: int, size: int) -> np.ndarray:
    """Chance, for each rank in a gallery of `size`, to be within the first `k` of `drawn` entries: the match and others
    drawn at random. The mean over every possible small gallery, and so better than the mean over some."""
    nearer = np.arange(size)
    return hypergeom.cdf(k - 1, size - 1, nearer, drawn - 1)


def row_values(found: Ranks, table: Callable[[int], np.ndarray], smallest: int = 1) -> np.ndarray:
    """Expected value of `table(gallery size)` at each query's rank [N]; NaN for galleries below `smallest`."""
    values = np.full(len(found.nearer), np.nan)
    for size in np.unique(found.gallery_size):
        rows = np.flatnonzero(found.gallery_size == size)
        if size >= smallest:
            values[rows] = expected(table(int(size)), Ranks(*(column[rows] for column in found)))
    return values


def summarise_ranks(found: Ranks, bootstrap: Bootstrap) -> dict[str, Any]:
    """Recall by rank and by percentage of the gallery, median rank and mean reciprocal rank, each with its chance.

    Ties are broken at random, in expectation. Chance is that of a random order. Where galleries differ in size, so that
    each query has its own chance, `gallery_size` and the chance of a recall are means over the queries.
    """
    sizes = found.gallery_size
    summary: dict[str, Any] = describe_gallery(found)

    def add(label: str, table: Callable[[int], np.ndarray]) -> None:
        chance = {int(size): float(table(int(size)).mean()) for size in np.unique(sizes)}
        summary[label] = bootstrap.estimate(mean(row_values(found, table)))
        summary[label]["chance"] = float(np.mean([chance[int(size)] for size in sizes]))

    for k in RANKS:
        add(f"recall_at_{k}", lambda size, k=k: recall_table(k, size))  # type: ignore[misc]
    for percent in PERCENTS:
        add(f"recall_at_{percent}_percent", lambda size, p=percent: recall_table(percent_to_k(p, size), size))  # type: ignore[misc]
    add("mean_reciprocal_rank", lambda size: 1 / np.arange(1, size + 1))
    summary["median_rank"] = bootstrap.estimate(median(middle_rank(found)))
    summary["median_rank"]["chance"] = chance_median_rank(sizes)
    return summary


def describe_gallery(found: Ranks) -> dict[str, Any]:
    """Size of the gallery, their mean where they differ, and the number of test clips that were looked for in it."""
    sizes = found.gallery_size
    return {"gallery_size": float(sizes.mean()) if np.ptp(sizes) else int(sizes[0]), "clips": len(sizes)}


def chance_median_rank(gallery_sizes: np.ndarray) -> float:
    """Median over the ranks of random orders of galleries of these sizes [N], each query's rank uniform in its own gallery."""
    sizes, counts = np.unique(gallery_sizes, return_counts=True)
    ranks = np.arange(1, sizes[-1] + 1)
    below = np.minimum(ranks[:, None], sizes) @ (counts / sizes) / counts.sum()  # chance of a rank up to this one
    low, high = np.searchsorted(below, [0.5 - 1e-9, 0.5 + 1e-9])
    return float(ranks[low] + ranks[high]) / 2


def summarise_small_galleries(found: Ranks, bootstrap: Bootstrap) -> dict[str, Any]:
    """Recall in galleries of 100, over every one that holds the match; empty where the gallery has fewer entries."""
    if found.gallery_size.max() < SMALL_GALLERY:
        return {}
    summary: dict[str, Any] = {"gallery_size": SMALL_GALLERY}
    for k in RANKS:
        values = row_values(found, lambda size, k=k: drawn_recall_table(k, SMALL_GALLERY, size), SMALL_GALLERY)  # type: ignore[misc]
        summary[f"recall_at_{k}"] = bootstrap.estimate(mean(values)) | {"chance": k / SMALL_GALLERY}
    return summary


def matched(found: Ranks, drawn: int) -> np.ndarray:
    """Chance of each query [N] that its match is the nearest of `drawn` entries, the others drawn at random; ties count in
    part. NaN where the gallery has fewer entries."""
    return row_values(found, lambda size: drawn_recall_table(1, drawn, size), drawn)


def summarise_matching(found: Ranks, bootstrap: Bootstrap) -> dict[str, Any]:
    """Accuracy of choosing 1 of N faces for a voice, over the clips whose gallery has N."""
    summary = describe_gallery(found)
    for drawn in MATCHED:
        values = matched(found, drawn)
        if estimate := bootstrap.estimate(mean(values)):
            summary[f"one_of_{drawn}"] = estimate | {"chance": 1 / drawn, "clips": int(np.isfinite(values).sum())}
    return summary


def recall_curve(found: Ranks) -> np.ndarray:
    """Recall at ranks 1, 2, ... of one gallery size."""
    size = int(found.gallery_size[0])
    distinct, counts = np.unique(np.stack(found, 1), axis=0, return_counts=True)
    few = Ranks(*distinct.T)
    return np.array([counts @ expected(recall_table(k, size), few) / counts.sum() for k in range(1, size + 1)])


def rank_among_speakers(aligned: Aligned, predicted: Features) -> Ranks:
    """Ranks of each test row's speaker, by features [N, D] predicted of it, among the mean features of the test speakers."""
    return rank_matches(predicted, aligned.gallery, aligned.clips["speaker"], centre=aligned.training_mean)


def within_groups(aligned: Aligned, groups: pd.Series) -> tuple[Order, np.ndarray]:
    """The order of the test speakers of the row's own group, for example sex; `groups` is indexed by speaker, null where unknown.
    Also returns which rows have a group with someone else in it, bool [N]; the ranks of others say nothing."""
    codes, _ = pd.factorize(groups.reindex(aligned.speakers))  # -1 where unknown
    counts = np.bincount(codes[codes >= 0], minlength=1)
    own = codes[aligned.clips["speaker"]]
    return Order("cosine", groups=(own, codes)), (own >= 0) & (counts[np.maximum(own, 0)] > 1)


def rank_among_videos(aligned: Aligned, predicted: Features, shift: int) -> tuple[Ranks, np.ndarray]:
    """Ranks among one video of each test speaker. Of the row's own speaker that is its own video (`shift` 0), or the next one
    (`shift` 1), which it was not recorded with. Also returns which rows have such a video, bool [N]; ranks are of these.

    No speaker is in a gallery twice, so galleries are as large as `rank_among_speakers`'. Rows whose own video has no face are left
    out of both.
    """
    of_speaker: list[list[int]] = [[] for _ in aligned.speakers]
    index = {speaker: row for row, speaker in enumerate(aligned.speakers)}
    for row, video in enumerate(aligned.videos):
        if (owner := index.get(speaker_of(video))) is not None:
            of_speaker[owner].append(row)
    speakers, own = aligned.clips["speaker"].to_numpy(), aligned.clips["video_row"].to_numpy()
    usable = (own >= 0) & np.array([len(of_speaker[s]) > shift for s in speakers])
    place = np.array([of_speaker[s].index(v) if v >= 0 else -1 for s, v in zip(speakers, own, strict=True)])
    nearer, tied, sizes = (np.zeros(len(own), np.int64) for _ in range(3))
    for number in np.unique(place[usable]):
        rows = np.flatnonzero(usable & (place == number))
        chosen = [videos[(number + shift) % len(videos)] for videos in of_speaker]
        queries, gallery = picked(predicted, rows), aligned.means[chosen]
        found = rank_matches(queries, gallery, speakers[rows], centre=aligned.training_mean)
        nearer[rows], tied[rows], sizes[rows] = found
    return Ranks(nearer[usable], tied[usable], sizes[usable]), usable
