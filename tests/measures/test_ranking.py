"""Recall and matching against enumeration of galleries."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from speech2face.measures.aligned import align
from speech2face.measures.distances import distances
from speech2face.measures.ranking import (
    chance_median_rank,
    drawn_recall_table,
    matched,
    rank_among_speakers,
    rank_among_videos,
    recall_curve,
    summarise_matching,
    summarise_ranks,
    summarise_small_galleries,
    within_groups,
)
from speech2face.measures.retrieval import Ranks, compare
from speech2face.measures.statistics import Bootstrap
from tests.simulated import simulate


def centred(aligned, *features):
    """Features as differences from the mean training face, which is that of the videos of training speakers."""
    middle = aligned.means[[split == "train" for split in aligned.video_splits]].mean(0)
    return [values - middle for values in features]


def ranks_of(nearer, size):
    return Ranks(np.array(nearer), np.zeros(len(nearer), int), np.full(len(nearer), size))


@pytest.mark.parametrize(("drawn", "k"), [(2, 1), (4, 1), (4, 2), (8, 3), (1, 1)])
def test_small_galleries_are_counted_as_if_all_were_drawn(drawn, k):
    size = 8
    for rank in range(1, size + 1):
        others = [place for place in range(1, size + 1) if place != rank]
        galleries = list(combinations(others, drawn - 1))
        inside = sum(sum(place < rank for place in gallery) < k for gallery in galleries)
        assert drawn_recall_table(k, drawn, size)[rank - 1] == pytest.approx(inside / len(galleries))


def test_one_of_two_is_the_part_of_others_that_are_farther():
    aligned = align(simulate(80))
    predicted = simulate(80).predicted["6 s"]
    matrix = distances(*centred(aligned, predicted, aligned.gallery))
    own = aligned.clips["speaker"].to_numpy()
    by_hand = [(np.delete(row, s) > row[s]).mean() for row, s in zip(matrix, own, strict=True)]
    assert np.allclose(matched(rank_among_speakers(aligned, predicted), 2), by_hand)


def test_ties_count_half_in_one_of_two():
    found = Ranks(np.array([1]), np.array([4]), np.array([9]))  # 1 nearer, 4 as near, 3 farther
    assert matched(found, 2)[0] == pytest.approx((3 + 4 / 2) / 8)


def test_galleries_that_are_too_small_are_left_out():
    found = ranks_of([0, 1, 2], 4)
    bootstrap = Bootstrap(["a", "b", "c"], 100, 0.95, 0)
    assert list(summarise_matching(found, bootstrap)) == ["gallery_size", "clips", "one_of_2"]
    assert summarise_small_galleries(found, bootstrap) == {}


def test_galleries_of_100_have_chance_one_tenth_at_ten():
    size = 400
    found = ranks_of(range(size), size)  # every rank once: a random order
    summary = summarise_small_galleries(found, Bootstrap([str(i) for i in range(size)], 200, 0.95, 0))
    for k in (1, 2, 5, 10):
        assert summary[f"recall_at_{k}"]["value"] == pytest.approx(k / 100)
        assert summary[f"recall_at_{k}"]["chance"] == k / 100


def test_summary_of_known_ranks():
    summary = summarise_ranks(ranks_of([0, 1, 4, 30], 48), Bootstrap(list("abcd"), 200, 0.95, 0))
    assert summary["gallery_size"] == 48
    assert summary["recall_at_1"]["value"] == 0.25
    assert summary["recall_at_5"]["value"] == 0.75
    assert summary["recall_at_10_percent"] | {"low": 0, "high": 0} == {
        "value": 0.75,
        "low": 0,
        "high": 0,
        "chance": 5 / 48,
    }
    assert summary["median_rank"]["value"] == 3.5
    assert summary["median_rank"]["chance"] == 24.5
    assert summary["mean_reciprocal_rank"]["value"] == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 31) / 4)
    assert summary["mean_reciprocal_rank"]["chance"] == pytest.approx(np.mean([1 / r for r in range(1, 49)]))
    assert np.allclose(recall_curve(ranks_of([0, 1, 1], 3)), [1 / 3, 1, 1])


def test_a_random_order_has_the_stated_chance():
    for size in (7, 48):
        summary = summarise_ranks(ranks_of(range(size), size), Bootstrap([str(i) for i in range(size)], 100, 0.95, 0))
        for name, entry in summary.items():
            if isinstance(entry, dict):
                assert entry["value"] == pytest.approx(entry["chance"]), name


def test_median_rank_of_galleries_that_differ_in_size_has_the_chance_of_random_orders():
    sizes = np.repeat([2, 30, 101], [50, 10, 50])
    rng = np.random.default_rng(0)
    drawn = np.median(rng.integers(1, sizes + 1, size=(4000, len(sizes))), axis=1)
    assert chance_median_rank(sizes) == pytest.approx(
        np.median(drawn), abs=0.51
    )  # 3 or so, where half the mean size is 25
    for size in (1, 2, 45, 46):
        assert chance_median_rank(np.full(7, size)) == (size + 1) / 2


def test_same_video_and_other_video_galleries_hold_each_speaker_once():
    inputs = simulate(60, videos=3, noise=4.0)
    aligned = align(inputs)
    predicted = inputs.predicted["6 s"]
    exact, usable = rank_among_videos(aligned, aligned.true, 0)
    assert usable.all()
    assert (exact.nearer == 0).all()
    assert (exact.gallery_size == len(aligned.speakers)).all()
    other, _ = rank_among_videos(aligned, predicted, 1)
    # by hand: each speaker is represented by the video after the query's own
    videos = {
        s: [v for v in range(len(aligned.videos)) if aligned.videos[v].startswith(f"{s}/")] for s in aligned.speakers
    }
    for row in range(0, len(aligned.clips), 7):
        speaker, video = aligned.clips.loc[row, ["speaker_id", "video_row"]]
        place = (videos[speaker].index(video) + 1) % 3
        gallery = aligned.means[[videos[s][place] for s in aligned.speakers]]
        found = distances(*centred(aligned, predicted[row : row + 1], gallery))[0]
        assert other.nearer[row] == (found < found[aligned.speakers.index(speaker)]).sum()


@pytest.mark.parametrize("shift", [0, 1])
def test_clips_whose_video_has_no_face_are_in_no_gallery_of_videos(shift):
    inputs = simulate(60, videos=3, noise=4.0)
    aligned, predicted = align(inputs), inputs.predicted["6 s"]
    lost = np.zeros(len(aligned.clips), bool)
    lost[[0, 5, 6, 7, 8]] = True  # of one speaker all three
    clips = aligned.clips.assign(video_row=aligned.clips["video_row"].mask(lost, -1))
    whole, _ = rank_among_videos(aligned, predicted, shift)
    found, usable = rank_among_videos(replace(aligned, clips=clips), predicted, shift)
    assert np.array_equal(usable, ~lost)
    for column, reference in zip(found, whole, strict=True):
        assert np.array_equal(column, reference[~lost])


def test_speakers_with_one_video_have_no_other_video():
    aligned = align(simulate(40, videos=1))
    _, usable = rank_among_videos(aligned, aligned.true, 1)
    assert not usable.any()


def test_among_alike_only_the_own_group_counts():
    inputs = simulate(100)
    aligned = align(inputs)
    sexes = inputs.attributes["sex"].groupby(inputs.attributes.index.str.split("/").str[0]).first()
    sexes[aligned.speakers[0]] = None
    predicted = inputs.predicted["6 s"]
    order, usable = within_groups(aligned, sexes)
    speakers, middle = aligned.clips["speaker"], aligned.training_mean
    found = Ranks(*(c[usable] for c in compare(predicted, aligned.gallery, speakers, [order], middle)[0].ranks))
    assert not usable[(aligned.clips["speaker"] == 0).to_numpy()].any()
    matrix = distances(*centred(aligned, predicted, aligned.gallery))
    of_gallery = sexes.reindex(aligned.speakers).to_numpy()
    for place, row in enumerate(np.flatnonzero(usable)):
        speaker = aligned.clips.loc[row, "speaker"]
        alike = pd.notna(of_gallery) & (of_gallery == of_gallery[speaker])
        assert found.gallery_size[place] == alike.sum()
        assert found.nearer[place] == (matrix[row, alike] < matrix[row, speaker]).sum()
