"""Area under the curve and equal error rate against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics

from speech2face.measures.aligned import align
from speech2face.measures.distances import distances
from speech2face.measures.statistics import Bootstrap
from speech2face.measures.verification import verify
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


def resampled(bootstrap, resample):
    """How often each row counts; resample 0 is that of no resampling."""
    return bootstrap.drawn[resample][bootstrap.of_row].astype(int)


def crossing(labels, scores):
    """The equal error rate by scikit-learn's curve; along its length, as a vertical piece has no single rate."""
    false_positives, true_positives, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    length = np.arange(len(false_positives))
    place = brentq(interp1d(length, false_positives - (1 - true_positives)), 0, length[-1], xtol=1e-14)
    return float(interp1d(length, false_positives)(place))


def test_area_and_equal_error_rate_of_every_resample_are_scikit_learns(case):
    aligned, predicted, bootstrap = case
    found = verify(aligned, predicted, bootstrap)
    assert len(found.area_under_curve) == len(found.equal_error_rate) == 201
    for resample in range(21):
        labels, scores = pooled(aligned, predicted, resampled(bootstrap, resample))
        assert found.area_under_curve[resample] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
        assert found.equal_error_rate[resample] == pytest.approx(crossing(labels, scores), abs=1e-9)


def test_curve_is_scikit_learns(case):
    aligned, predicted, bootstrap = case
    found = verify(aligned, predicted, bootstrap)
    ours = np.stack([found.false_positives, found.true_positives])
    assert (np.diff(ours, axis=1) >= -1e-12).all()
    assert np.allclose(ours[:, [0, -1]], [0, 1])
    false_positives, true_positives, _ = metrics.roc_curve(*pooled(aligned, predicted), drop_intermediate=False)
    # Both are followed along their length, as on a vertical piece no rate says where one is.
    assert np.allclose(np.interp(false_positives + true_positives, ours.sum(0), ours[0]), false_positives, atol=1e-9)


def test_corners_that_are_left_out_change_no_number(case, monkeypatch):
    aligned, predicted, bootstrap = case
    whole = verify(aligned, predicted, bootstrap)
    monkeypatch.setattr("speech2face.measures.verification.MOST_CORNERS", 9)
    thinned = verify(aligned, predicted, bootstrap)
    assert np.array_equal(thinned.area_under_curve, whole.area_under_curve)
    assert np.array_equal(thinned.equal_error_rate, whole.equal_error_rate)
    of_whole, of_thinned = (
        set(zip(found.false_positives, found.true_positives, strict=True)) for found in (whole, thinned)
    )
    assert of_thinned < of_whole


@pytest.mark.parametrize("name", ["PAIRS_AT_ONCE", "SPEAKERS_PER_BLOCK", "ROWS_PER_BLOCK"])
def test_blocks_change_no_number(case, monkeypatch, name):
    aligned, predicted, bootstrap = case
    groups = np.arange(len(aligned.speakers)) % 3
    whole = verify(aligned, predicted, bootstrap, groups)
    monkeypatch.setattr(f"speech2face.measures.verification.{name}", 1)
    for one, other in zip(whole, verify(aligned, predicted, bootstrap, groups), strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-12)


def test_perfect_features_make_no_errors():
    inputs = simulate(60, quality="perfect")
    aligned = align(inputs)
    bootstrap = Bootstrap(aligned.clips["speaker_id"], 200, 0.95, 0)
    found = verify(aligned, inputs.predicted["6 s"], bootstrap)
    assert bootstrap.interval(found.area_under_curve) == {"value": 1, "low": 1, "high": 1}
    assert bootstrap.interval(found.equal_error_rate) == {"value": 0, "low": 0, "high": 0}


def test_impostors_of_the_own_group_only():
    inputs = simulate(60, noise=4.0)
    aligned = align(inputs)
    predicted = inputs.predicted["6 s"]
    groups = np.arange(len(aligned.speakers)) % 2
    own = aligned.clips["speaker"].to_numpy()
    usable = own % 5 != 0
    bootstrap = Bootstrap(aligned.clips["speaker_id"][usable], 200, 0.95, 0)
    found = verify(aligned, predicted, bootstrap, groups, usable)
    scores = np.round(1 - distances(*centred(aligned, predicted)), 12)
    labels = own[:, None] == np.arange(len(groups))
    kept = groups[own][:, None] == groups
    for resample in range(5):
        repeat = np.zeros(len(own), int)
        repeat[usable] = resampled(bootstrap, resample)
        of_rows, of_labels, of_kept = (np.repeat(values, repeat, axis=0) for values in (scores, labels, kept))
        expected = of_labels[of_kept], of_rows[of_kept]
        assert found.area_under_curve[resample] == pytest.approx(metrics.roc_auc_score(*expected), abs=1e-12)
        assert found.equal_error_rate[resample] == pytest.approx(crossing(*expected), abs=1e-9)


def test_a_group_of_one_has_no_impostors_and_no_rates():
    inputs = simulate(60, noise=4.0)
    aligned = align(inputs)
    bootstrap = Bootstrap(aligned.clips["speaker_id"], 200, 0.95, 0)
    found = verify(aligned, inputs.predicted["6 s"], bootstrap, np.arange(len(aligned.speakers)))
    assert np.isnan(found.area_under_curve).all()
    assert np.isnan(found.equal_error_rate).all()
    assert bootstrap.interval(found.area_under_curve) == {}
