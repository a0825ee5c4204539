"""Features standardised block by block, against scikit-learn on the whole."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from speech2face.measures import views
from speech2face.measures.standardising import standardised

FEATURES = np.random.default_rng(0).normal(size=(5, 4))


def test_features_are_standardised_as_by_scikit_learn(monkeypatch):
    expected = StandardScaler().fit_transform(FEATURES)
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 2)
    scaler, scaled = standardised(FEATURES)
    assert np.allclose(scaled[:], expected, rtol=1e-12)
    assert np.allclose(scaler.transform(FEATURES), expected, rtol=1e-12)
