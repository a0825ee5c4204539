"""Features of mean 0 and variance 1, block by block."""

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from speech2face.measures.views import Features, blocks


def standardised(features: Features) -> tuple[StandardScaler, npt.NDArray[np.float64]]:
    """A scaler of features [N, D] to mean 0 and variance 1, and the features scaled by it, float64 [N, D]: the only copy that is made."""
    scaler = StandardScaler()
    for rows in blocks(features):
        scaler.partial_fit(features[rows])
    scaled = np.empty(features.shape)
    for rows in blocks(features):
        scaled[rows] = scaler.transform(features[rows])
    return scaler, scaled
