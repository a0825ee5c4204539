"""Area under the curve and equal error rate against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics

from speech2face.measures.aligned import align
from speech2face.measures.distances import distances
from speech2face.measures.statistics import Bootstrap, Weights
from speech2face.measures.verification import area_under_curve, equal_error_rate, roc_curve, trials
from tests.simulated import simulate


def centred(aligned, predicted):
    """Predictions and faces as differences from the mean training face, which is that of the videos of training speakers."""
    middle = aligned.means[[split == "train" for split in aligned.video_splits]].mean(0)
    return predicted - middle, aligned.gallery - middle


def pooled(aligned, predicted, repeat=None):
    """All pairs as labels and scores; `repeat` says how often each row counts."""
    own = aligned.clips["speaker"].to_numpy()
    scores = np.round(1 - distances(*centred(aligned, predicted)), 12)
    labels = own[:, None] == np.arange(len(aligned.speakers))
    rows = np.arange(len(own)) if repeat is None else np.repeat(np.arange(len(own)), repeat)
    return labels[rows].ravel(), scores[rows].ravel()


@pytest.fixture(scope="module", params=["plain", "ties"])
def case(request):
    inputs = simulate(60, noise=6.0)
    aligned = align(inputs)
    predicted = inputs.predicted["6 s"]
    if request.param == "ties":  # few distinct directions: many pairs are equally alike
        predicted = np.round(predicted / 8)
        middle = np.round(aligned.training_mean / 8)
        means = np.tile(middle, (len(aligned.videos), 1))  # the same for all, and so their mean
        aligned = replace(aligned, means=means, training_mean=middle)
        aligned.gallery[:] = np.round(aligned.gallery / 8)
        aligned.gallery[10:] = aligned.gallery[:10].repeat(2, axis=0)[: len(aligned.gallery) - 10]
    return aligned, predicted, Bootstrap(aligned.clips["speaker_id"], 200, 0.95, 0)


def test_area_is_scikit_learns(case):
    aligned, predicted, bootstrap = case
    pairs = trials(aligned, predicted, bootstrap)
    ours = area_under_curve(pairs)(bootstrap.once)[0]
    assert ours == pytest.approx(metrics.roc_auc_score(*pooled(aligned, predicted)), abs=1e-12)


def test_equal_error_rate_is_where_scikit_learns_curve_crosses(case):
    aligned, predicted, bootstrap = case
    pairs = trials(aligned, predicted, bootstrap)
    ours = equal_error_rate(pairs)(bootstrap.once)[0]
    false_positives, true_positives, _ = metrics.roc_curve(*pooled(aligned, predicted), drop_intermediate=False)
    # along the curve's length, as a vertical piece has no single rate
    length = np.arange(len(false_positives))
    excess = interp1d(length, false_positives - (1 - true_positives))
    crossing = brentq(excess, 0, length[-1], xtol=1e-14)
    assert ours == pytest.approx(float(interp1d(length, false_positives)(crossing)), abs=1e-9)


def test_weights_are_repetitions_of_a_speakers_clips(case):
    aligned, predicted, bootstrap = case
    pairs = trials(aligned, predicted, bootstrap)
    counts = bootstrap.counts[:20]
    found = area_under_curve(pairs)(Weights(counts, bootstrap.of_row))
    for value, count in zip(found, counts, strict=True):
        repeat = count[bootstrap.of_row].astype(int)
        assert value == pytest.approx(metrics.roc_auc_score(*pooled(aligned, predicted, repeat)), abs=1e-12)


def test_corners_that_are_left_out_change_no_number(case, monkeypatch):
    aligned, predicted, bootstrap = case
    whole = trials(aligned, predicted, bootstrap)
    monkeypatch.setattr("speech2face.measures.verification.MOST_CORNERS", 9)
    thinned = trials(aligned, predicted, bootstrap)
    assert len(thinned.false) < len(whole.false)
    assert np.array_equal(thinned.better, whole.better)
    for weights in (bootstrap.once, Weights(bootstrap.counts, bootstrap.of_row)):
        assert np.array_equal(equal_error_rate(thinned)(weights), equal_error_rate(whole)(weights))
    of_whole, of_thinned = ({tuple(c) for c in np.stack(roc_curve(p, bootstrap.once), -1)[0]} for p in (whole, thinned))
    assert of_thinned <= of_whole


def test_rate_in_every_resample_is_where_its_whole_curve_crosses(case):
    aligned, predicted, bootstrap = case
    pairs = trials(aligned, predicted, bootstrap)
    weights = Weights(bootstrap.counts[:20], bootstrap.of_row)
    for rate, false, true in zip(equal_error_rate(pairs)(weights), *roc_curve(pairs, weights), strict=True):
        excess = false - (1 - true)
        after = np.flatnonzero(excess >= 0)[0]
        pieces = slice(after - 1, after + 1)
        assert rate == pytest.approx(np.interp(0, excess[pieces], false[pieces]), abs=1e-12)


def test_curve_rises_from_corner_to_corner(case):
    aligned, predicted, bootstrap = case
    pairs = trials(aligned, predicted, bootstrap)
    for rates in roc_curve(pairs, Weights(bootstrap.counts[:5], bootstrap.of_row)):
        assert (np.diff(rates, axis=1) >= -1e-12).all()
        assert np.allclose(rates[:, [0, -1]], [0, 1])


def test_perfect_features_make_no_errors():
    inputs = simulate(60, quality="perfect")
    aligned = align(inputs)
    bootstrap = Bootstrap(aligned.clips["speaker_id"], 200, 0.95, 0)
    pairs = trials(aligned, inputs.predicted["6 s"], bootstrap)
    assert bootstrap.estimate(area_under_curve(pairs)) == {"value": 1, "low": 1, "high": 1}
    assert bootstrap.estimate(equal_error_rate(pairs)) == {"value": 0, "low": 0, "high": 0}


def test_impostors_of_the_own_group_only():
    inputs = simulate(60, noise=4.0)
    aligned = align(inputs)
    predicted = inputs.predicted["6 s"]
    groups = np.arange(len(aligned.speakers)) % 2
    bootstrap = Bootstrap(aligned.clips["speaker_id"], 200, 0.95, 0)
    pairs = trials(aligned, predicted, bootstrap, groups)
    own = aligned.clips["speaker"].to_numpy()
    scores = 1 - distances(*centred(aligned, predicted))
    labels = own[:, None] == np.arange(len(groups))
    kept = groups[own][:, None] == groups
    ours = area_under_curve(pairs)(bootstrap.once)[0]
    assert ours == pytest.approx(metrics.roc_auc_score(labels[kept], scores[kept]), abs=1e-12)
