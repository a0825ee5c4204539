"""Features standardised block by block, against scikit-learn on the whole."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from speech2face.measures import views
from speech2face.measures.standardising import scaled, standardised

FEATURES = np.random.default_rng(0).normal(size=(5, 4))


def test_features_are_standardised_as_by_scikit_learn(monkeypatch):
    expected = StandardScaler().fit_transform(FEATURES)
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 2)
    scaler, held = standardised(FEATURES)
    assert np.allclose(held[:], expected, rtol=1e-12)
    assert np.allclose(scaler.transform(FEATURES), expected, rtol=1e-12)


def test_single_precision_is_scaled_in_double():
    single = FEATURES.astype(np.float32)
    scaler, held = standardised(single)
    assert held[:].dtype == np.float64
    assert np.allclose(held[:], StandardScaler().fit_transform(single.astype(np.float64)), rtol=1e-12)
    assert np.array_equal(scaled(scaler, single[:2])[:], held[:2])
