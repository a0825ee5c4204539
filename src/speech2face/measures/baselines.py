"""What simpler models and an all-knowing one would predict, to be measured as the voice encoder is.

mean feature: the mean true feature of training speakers, for everyone. Ridge regressions: from the mean spectrogram or the
fundamental frequency of a voice. Oracle: a regression that is told the true linked attributes; what it leaves is not in the
voice, so it is the ceiling of the knowable.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
import torchaudio
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from speech2face.audio.spectrogram import HOP_LENGTH, N_FFT, POWER, SAMPLE_RATE_HZ, WIN_LENGTH
from speech2face.evaluation.inputs import Aligned, Inputs
from speech2face.pipeline.shards import shard_paths, to_numpy
from speech2face.training.pairs import Targets

STRENGTHS = np.logspace(-2, 6, 9)
FOLDS = 3
F0_RANGE_HZ = (60, 400)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def predict_baselines(inputs: Inputs, aligned: Aligned) -> dict[str, np.ndarray]:
    """Features [N, D] that each baseline predicts for the test rows, by name; every one fitted on training speakers."""
    training = aligned.training
    true = aligned.training_true
    groups = training["speaker_id"].to_numpy(str)
    baselines = {}
    if len(training):
        baselines["mean_feature"] = np.tile(aligned.training_mean, (len(aligned.clips), 1))
    for name, table in inputs.voices.items():
        known = training["clip_id"].isin(table.index).to_numpy()
        if not set(aligned.clips["clip_id"]) <= set(table.index):
            raise ValueError(f"the voices' {name} lacks test clips; describe every clip that is evaluated")
        if len(np.unique(groups[known])) >= FOLDS:
            hidden = table.loc[aligned.clips["clip_id"]].to_numpy(np.float64)
            shown = table.loc[training["clip_id"][known]].to_numpy(np.float64)
            baselines[f"ridge_{name}"] = _regress(shown, true[known], groups[known], hidden, degree=1)
    linked = [name for name, role in inputs.roles.items() if role == "linked" and name in inputs.attributes]
    if linked and len(np.unique(groups)) >= FOLDS:
        numbers = _as_numbers(inputs.attributes[linked])
        shown, hidden = (numbers.reindex(rows["clip_id"]).to_numpy() for rows in (training, aligned.clips))
        complete = ~np.isnan(shown).any(1)
        if not np.isnan(hidden).any() and len(np.unique(groups[complete])) >= FOLDS:
            baselines["oracle"] = _regress(shown[complete], true[complete], groups[complete], hidden, degree=3)
    return baselines


@threadpool_limits.wrap(1)  # one clip is too little for several threads
@torch.inference_mode()
def describe_voices(spectrograms: Path, targets: Targets) -> dict[str, pd.DataFrame]:
    """The mean spectrogram and the fundamental frequency of training and test clips that have a face (by `targets`), by clip_id.

    mean_spectrogram: mean over time of the compressed magnitude in each of 257 bins; f0: quantiles of its logarithm.
    A clip of several segments is described by its first.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for path in shard_paths(spectrograms):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["clip_id", "split", "spectrogram"])
                rows = table["clip_id"].to_pylist(), table["split"].to_pylist(), to_numpy(table["spectrogram"])
                for clip, split, spectrogram in zip(*rows, strict=True):
                    if split != "val" and targets.row(clip) is not None and clip not in found:
                        found[clip] = describe_voice(torch.from_numpy(spectrogram).float())
    names = list(found)
    return {
        "mean_spectrogram": pd.DataFrame([found[clip][0] for clip in names], names),
        "f0": pd.DataFrame([found[clip][1] for clip in names], names),
    }


def describe_voice(spectrogram: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean over time of a compressed spectrogram [2, 257, T] (float64 [257]), and quantiles of ln F0 in Hz (float64 [5]).

    F0 is that of the waveform that the spectrogram stands for, found by normalised cross-correlation.
    """
    magnitude = spectrogram.square().sum(0).sqrt()
    low, high = F0_RANGE_HZ
    f0 = torchaudio.functional.detect_pitch_frequency(
        restore(spectrogram), SAMPLE_RATE_HZ, freq_low=low, freq_high=high
    )
    quantiles = np.quantile(np.log(np.clip(f0.numpy().astype(np.float64), low, high)), QUANTILES)
    return magnitude.mean(1).double().numpy(), quantiles


def restore(spectrogram: torch.Tensor) -> torch.Tensor:
    """The waveform [160 (T - 1)] that a compressed spectrogram [2, 257, T] stands for."""
    stft = spectrogram.sign() * spectrogram.abs() ** (1 / POWER)
    return torch.istft(torch.complex(stft[0], stft[1]), N_FFT, HOP_LENGTH, WIN_LENGTH, torch.hann_window(WIN_LENGTH))


def _regress(shown: np.ndarray, true: np.ndarray, speakers: np.ndarray, hidden: np.ndarray, degree: int) -> np.ndarray:
    """Ridge regression of features on standardised inputs and their products up to `degree`; strength by cross-validation
    over speakers."""
    folds = list(GroupKFold(FOLDS).split(shown, groups=speakers))
    products = PolynomialFeatures(degree, include_bias=False)
    model = make_pipeline(StandardScaler(), products, StandardScaler(), RidgeCV(STRENGTHS, cv=folds))
    return model.fit(shown, true).predict(hidden)


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
