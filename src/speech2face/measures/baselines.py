"""What simpler models and an all-knowing one would predict, to be measured as the voice encoder is.

mean feature: the mean true feature of training speakers, for everyone. Ridge regressions: from the mean spectrogram or the
fundamental frequency of a voice. Oracle: a regression from the true linked attributes; what it leaves is not in the voice, so it
is the ceiling of the knowable.
"""

import numpy as np
import pandas as pd
from sklearn.preprocessing import PolynomialFeatures

from speech2face.corpus.ids import video_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.inputs import Inputs
from speech2face.measures.ridge import STRENGTHS, fit_ridge, speaker_folds
from speech2face.measures.standardising import scaled, standardised
from speech2face.measures.views import Features, View, picked

FOLDS = 3


def predict_baselines(inputs: Inputs, aligned: Aligned) -> dict[str, Features]:
    """Features [N, D] that each baseline predicts for the test rows, by name; every one fitted on training speakers."""
    training = aligned.training
    groups = training["speaker_id"].to_numpy(str)
    baselines: dict[str, Features] = {}
    if len(training):
        baselines["mean_feature"] = picked(aligned.training_mean[None], np.zeros(len(aligned.clips), np.int64))
    for name, table in inputs.voices.items():
        known = training["clip_id"].isin(table.index).to_numpy()
        if not set(aligned.clips["clip_id"]) <= set(table.index):
            raise ValueError(f"the voices' {name} lacks test clips; describe every clip that is evaluated")
        if len(np.unique(groups[known])) >= FOLDS:
            values = table.to_numpy()
            described, asked = (
                picked(values, table.index.get_indexer(pd.Index(clips)))
                for clips in (training["clip_id"][known], aligned.clips["clip_id"])
            )
            baselines[f"ridge_{name}"] = _regress(aligned, known, described, asked, degree=1)
    linked = [name for name, role in inputs.roles.items() if role == "linked" and name in inputs.attributes]
    if linked and len(np.unique(groups)) >= FOLDS:
        numbers = _as_numbers(inputs.attributes[linked])
        shown, hidden = (numbers.reindex(rows["clip_id"]).to_numpy() for rows in (training, aligned.clips))
        complete = ~np.isnan(shown).any(1)
        if not np.isnan(hidden).any() and len(np.unique(groups[complete])) >= FOLDS:
            baselines["oracle"] = _regress(aligned, complete, shown[complete], hidden, degree=3)
    return baselines


def _regress(aligned: Aligned, known: np.ndarray, shown: Features, hidden: Features, degree: int) -> View:
    """Ridge regression of features on standardised inputs and their products up to `degree`; strength by cross-validation
    over speakers.

    known: the training rows used, bool [T]; shown: their inputs; hidden: inputs of the rows [N] to be predicted.
    """
    rows = aligned.training[known]
    folds = speaker_folds(rows["speaker_id"].to_numpy(str), FOLDS)
    videos = pd.factorize(rows["clip_id"].map(video_of))[0]  # clips of one video are set beside the same face
    true = picked(aligned.training_true, np.flatnonzero(known))
    scaler, learned = standardised(shown)
    asked = scaled(scaler, hidden)
    if degree > 1:
        products = PolynomialFeatures(degree, include_bias=False)
        scaler, learned = standardised(products.fit_transform(learned[:]))
        asked = scaled(scaler, products.transform(asked[:]))
    line = fit_ridge(learned, true, videos, folds, STRENGTHS)
    return View((len(hidden), true.shape[1]), lambda rows: line.predict(asked[rows]))


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Names as one column a class but the first, numbers as they are, NaN where unknown."""
    columns: dict[str, pd.Series] = {}
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            columns[name] = column.astype(float)
        else:
            for label in sorted(column.dropna().unique())[1:]:
                columns[f"{name}_{label}"] = (column == label).astype(float).where(column.notna())
    return pd.DataFrame(columns)
