"""Ridge regression by sums against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from speech2face.measures.ridge import fit_ridge, speaker_folds
from speech2face.measures.views import picked

RNG = np.random.default_rng(0)
SAME = np.repeat(np.arange(40), 3)
FOLDS = SAME % 3
SHOWN = RNG.normal(size=(120, 7))
STRENGTHS = np.logspace(-2, 6, 9)


def outputs(noise: float) -> np.ndarray:
    """Outputs [40, 5] of three rows each, far from 0; the last is always 0, as a feature that no face has."""
    means = SHOWN.reshape(40, 3, 7).mean(1)
    return np.column_stack([50 + means @ RNG.normal(size=(7, 4)) + noise * RNG.normal(size=(40, 4)), np.zeros(40)])


@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_it_is_scikit_learns(noise):
    true = outputs(noise)[SAME]
    folds = [(np.flatnonzero(fold != FOLDS), np.flatnonzero(fold == FOLDS)) for fold in range(3)]
    model = RidgeCV(STRENGTHS, cv=folds).fit(SHOWN, true)
    asked = RNG.normal(size=(11, 7))
    found = fit_ridge(SHOWN, true, SAME, FOLDS, STRENGTHS)
    assert np.allclose(found.predict(asked), model.predict(asked), rtol=1e-9)
    assert model.alpha_ < STRENGTHS[-1] or noise > 1


def test_blocks_and_views_change_nothing(monkeypatch):
    table = outputs(1.0)
    whole = fit_ridge(SHOWN, table[SAME], SAME, FOLDS, STRENGTHS)
    monkeypatch.setattr("speech2face.measures.ridge.ROWS_PER_BLOCK", 3)
    for first, second in zip(whole, fit_ridge(SHOWN, picked(table, SAME), SAME, FOLDS, STRENGTHS), strict=True):
        assert np.allclose(first, second, rtol=1e-9)


def test_a_speaker_is_in_one_fold():
    speakers = np.array(list("abacbdbaee"))
    fold = speaker_folds(speakers, 3)
    assert set(fold) == {0, 1, 2}
    assert all(len(set(fold[speakers == name])) == 1 for name in "abcde")
    assert set(speaker_folds(np.array(list("aab")), 3)) == {0, 1}
