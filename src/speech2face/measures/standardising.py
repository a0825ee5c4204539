"""Features of mean 0 and variance 1, block by block."""

from sklearn.preprocessing import StandardScaler

from speech2face.measures.views import Features, View, blocks


def standardised(features: Features) -> tuple[StandardScaler, View]:
    """A scaler of features [N, D] to mean 0 and variance 1, and the features scaled by it, float64 [N, D], made where they are looked
    at."""
    scaler = StandardScaler()
    for rows in blocks(features):
        scaler.partial_fit(features[rows])
    return scaler, View(features.shape, lambda rows: scaler.transform(features[rows]))
