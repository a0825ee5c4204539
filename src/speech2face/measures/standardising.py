"""Features of mean 0 and variance 1, block by block."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from speech2face.measures.views import Features, View, blocks


def standardised(features: Features) -> tuple[StandardScaler, View]:
    """A scaler of features [N, D] to mean 0 and variance 1, and the features `scaled` by it."""
    scaler = StandardScaler()
    for rows in blocks(features):
        scaler.partial_fit(features[rows].astype(np.float64, copy=False))
    return scaler, scaled(scaler, features)


def scaled(scaler: StandardScaler, features: Features) -> View:
    """Features [N, D] scaled, float64, where they are looked at."""
    return View(features.shape, lambda rows: scaler.transform(features[rows].astype(np.float64, copy=False)))
