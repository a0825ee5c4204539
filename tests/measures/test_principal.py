"""Principal axes against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from speech2face.measures import principal, views
from speech2face.measures.principal import principal_axes

FEATURES = 7 + np.random.default_rng(0).normal(size=(40, 5)) * [1, 4, 2, 3, 0.5]


@pytest.mark.parametrize("most_at_once", [100, 2])
@pytest.mark.parametrize("features", [FEATURES, FEATURES[:4], FEATURES[:, :2]], ids=["many rows", "few", "a plane"])
def test_axes_are_those_of_scikit_learn(features, most_at_once, monkeypatch):
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 3)
    monkeypatch.setattr(principal, "MOST_AT_ONCE", most_at_once)
    expected = PCA(2, svd_solver="full").fit(features)
    mean, axes = principal_axes(features, 2)
    assert np.allclose(mean, expected.mean_)
    assert np.allclose(axes, expected.components_)


def test_features_that_are_all_the_same_have_some_axes():
    _, axes = principal_axes(np.ones((3, principal.MOST_AT_ONCE + 1)), 2)
    assert np.allclose(axes @ axes.T, np.eye(2))


def test_a_line_has_no_plane():
    with pytest.raises(ValueError, match="features of 1 dimensions have no 2 principal axes"):
        principal_axes(FEATURES[:, :1], 2)
