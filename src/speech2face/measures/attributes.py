"""What can be read of a speaker's attributes from features: probes fitted on true features of training speakers.

The same probe then reads true features, features of decoded faces, and features predicted from voices of unseen speakers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from speech2face.measures.aligned import Aligned
from speech2face.measures.exchange import exchanges
from speech2face.measures.ridge import Line, fit_ridge, speaker_folds
from speech2face.measures.standardising import scaled, standardised
from speech2face.measures.statistics import (
    VALUES_PER_BLOCK,
    Bootstrap,
    accuracy,
    balanced_accuracy,
    correlations,
    correlations_by_speaker,
    mean,
    p_value,
    pearson,
)
from speech2face.measures.views import Features, blocks, distinct, map_blocks, picked
from speech2face.pipeline import machine

FOLDS = 3
INVERSE_STRENGTHS = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)  # C of logistic regression on standardised features
RIDGE_STRENGTHS = np.logspace(0, 6, 13)
SPEAKERS_PER_CLASS = 3  # training speakers of a class, on average, below which a text is more a label than an attribute
SPEAKERS_TO_LEARN = 2  # training speakers of a class below which it is no more than somebody's face
LEARNT_PART = 0.5  # of the test clips whose class must have that many


ORIGIN = "origin"
"""Names the corpus that a clip is from, where a list is put together from several. It says nothing of the speaker."""


class NumberProbe(NamedTuple):
    """Reads a number from features by a line through the standardised ones."""

    scaler: StandardScaler
    line: Line

    def predict(self, features: np.ndarray) -> np.ndarray:
        """What is read from features [N, D], [N]."""
        return self.line.predict(self.scaler.transform(features))[:, 0]


@dataclass(frozen=True)
class Attribute:
    """An attribute of test rows with its probe.

    truth: [N], of the rows that `known` (bool, over all test rows) picks; clips: those rows, with speaker_id, video, clip_id.
    """

    name: str
    is_number: bool
    probe: Pipeline | NumberProbe
    known: np.ndarray
    truth: np.ndarray
    clips: pd.DataFrame
    classes: list[str]
    _read: dict[int, tuple[Features, np.ndarray]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, features: Features) -> np.ndarray:
        """What the probe reads from features [N, D] of all test rows, [N]; of the same features once, however often it is asked for."""
        if id(features) not in self._read:

            def read_block(rows: slice) -> np.ndarray:
                shown, row_of = distinct(features, rows)
                found: np.ndarray = self.probe.predict(shown.astype(np.float64, copy=False))[row_of]
                return found

            # The features are kept, so that no others get their id.
            self._read[id(features)] = features, np.concatenate(map_blocks(read_block, features))
        return self._read[id(features)][1]


def fit_attributes(
    aligned: Aligned, table: pd.DataFrame, names: Sequence[str]
) -> tuple[list[Attribute], dict[str, str]]:
    """Probes for the named columns of `table` (indexed by clip_id), and the reason for each that cannot be evaluated."""
    fitted, skipped = [], {}
    for name in names:
        column = table[name]
        is_number = bool(pd.api.types.is_numeric_dtype(column))
        rows = aligned.training.assign(value=column.reindex(aligned.training["clip_id"]).to_numpy()).dropna()
        # A speaker's mean face is used only where the attribute is known of no clip with a face of its own.
        own = rows["video_row"] >= 0
        rows = rows[own | ~rows["speaker_id"].isin(rows["speaker_id"][own])]
        rows = rows.drop_duplicates(["speaker_id", "video_row", "value"])
        test = column.reindex(aligned.clips["clip_id"])
        known = test.notna().to_numpy()
        if reason := _reason_to_skip(rows, test[known], is_number):
            skipped[name] = reason
            continue
        labels = rows["value"].to_numpy(np.float64 if is_number else str)
        probe = fit_probe(
            picked(aligned.training_true, rows.index.to_numpy()), labels, rows["speaker_id"].to_numpy(str)
        )
        truth = test[known].to_numpy(np.float64 if is_number else str)
        classes = [] if is_number else sorted({*labels, *truth})
        fitted.append(Attribute(name, is_number, probe, known, truth, aligned.clips[known], classes))
    return fitted, skipped


def fit_probe(features: Features, labels: np.ndarray, speakers: np.ndarray) -> Pipeline | NumberProbe:
    """Ridge regression of numbers, logistic regression of names, on standardised features [N, D].

    The strength of regularisation is chosen by cross-validation over speakers, so that a speaker's second video does not
    vouch for the first. For names it is the greatest whose loss is within one standard error of the least (Hastie et al.
    2009, section 7.10): what faces do not show is then read as the commonest class, and not by a chance direction along
    which voices may differ too. Where a strength's loss is above that, lesser ones are not tried: they only fit more of what
    is by chance.
    """
    fold = speaker_folds(speakers, FOLDS)
    if labels.dtype.kind == "f":
        scaler, shown = standardised(features)
        return NumberProbe(scaler, fit_ridge(shown, labels[:, None], np.arange(len(labels)), fold, RIDGE_STRENGTHS))
    with machine.threads() as pool:
        scalers = pool.map(
            lambda number: standardised(picked(features, np.flatnonzero(fold != number)))[0], np.unique(fold)
        )
    tried: list[np.ndarray] = []
    for c in INVERSE_STRENGTHS:
        tried.append(_held_out_losses(features, labels, fold, scalers, c))
        best = min(tried, key=np.mean)
        bound = best.mean() + best.std() / np.sqrt(len(labels))
        if tried[-1].mean() > bound:
            break
    chosen = next(c for c, losses in zip(INVERSE_STRENGTHS, tried, strict=False) if losses.mean() <= bound)
    return _fit_logistic(standardised(features)[0], features, labels, np.arange(len(labels)), chosen)


def read_attribute(attribute: Attribute, features: Features, bootstrap: Bootstrap) -> dict[str, Any]:
    """How well the attribute is read from features [N, D] of all test rows; `bootstrap` is over the rows it is known of.

    Names: accuracy and the part of the commonest class (always guessing it is right that often); balanced accuracy and the best
    that guessing without any knowledge gives: one over the classes in the truth, however many more the probe knows.
    Numbers: Pearson's correlation, the mean absolute error, and that of always guessing the mean.
    """
    read = attribute.read(features)[attribute.known]
    truth = attribute.truth
    if attribute.is_number:
        result = {
            "correlation": bootstrap.estimate(pearson(truth, read)),
            "mean_absolute_error": bootstrap.estimate(mean(np.abs(truth - read))),
            "error_of_guessing_the_mean": float(np.abs(truth - truth.mean()).mean()),
        }
    else:
        result = {
            "accuracy": bootstrap.estimate(accuracy(truth, read)),
            "balanced_accuracy": bootstrap.estimate(balanced_accuracy(truth, read)),
            "balanced_accuracy_of_guessing": 1 / len(np.unique(truth)),
            "majority": float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
            "num_classes": len(attribute.classes),
        }
    return {name: value for name, value in result.items() if value != {}}


def confusion(attribute: Attribute, features: Features) -> pd.DataFrame:
    """Counts of true (rows) and read (columns) classes over the test rows."""
    read = attribute.read(features)[attribute.known]
    counts = pd.crosstab(pd.Series(attribute.truth, name="true"), pd.Series(read, name="read"))
    return counts.reindex(index=attribute.classes, columns=attribute.classes, fill_value=0)


def significance(attribute: Attribute, features: Features, permutations: int, seed: int) -> float:
    """P-value of reading the attribute better than chance: balanced accuracy or correlation against its permutations.

    Whole speakers exchange their values, see `exchange`.
    """
    read = attribute.read(features)[attribute.known]
    truth = attribute.truth
    if not attribute.is_number:
        codes = {label: code for code, label in enumerate(attribute.classes)}
        read, truth = (np.array([codes[label] for label in labels]) for labels in (read, truth))
    rng = np.random.default_rng([seed, 2])
    of_row, names = pd.factorize(attribute.clips["speaker_id"])
    first_row = np.unique(of_row, return_index=True)[1]
    own = np.arange(len(names))[None]
    if np.array_equal(truth, truth[first_row][of_row]):  # only who gives to whom matters
        drawn_speakers = rng.permuted(np.tile(own, (permutations, 1)), axis=1)
        by_speaker = correlations_by_speaker if attribute.is_number else _balanced_accuracies_by_speaker
        observed, *chance = by_speaker(truth[first_row][np.concatenate([own, drawn_speakers])], read, of_row)
        return p_value(observed, np.array(chance))
    score = correlations if attribute.is_number else _balanced_accuracies
    size = max(1, VALUES_PER_BLOCK // len(truth))
    blocks = [min(size, permutations - start) for start in range(0, permutations, size)]
    drawn = [score(truth[exchanges(attribute.clips, block, rng)], read) for block in blocks]
    return p_value(score(truth[None], read)[0], np.concatenate(drawn))


def evaluated_attributes(table: pd.DataFrame, roles: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of the attributes to evaluate and of the controls. Where the corpus gives no roles, all it has but `ORIGIN`, and none."""
    if not roles:
        return [str(name) for name in table.columns if name != ORIGIN], []
    linked = [name for name in roles if roles[name] == "linked" and name in table]
    return linked, [name for name in roles if roles[name] == "control" and name in table]


def _fit_logistic(
    scaler: StandardScaler, features: Features, labels: np.ndarray, rows: np.ndarray, c: float
) -> Pipeline:
    """Logistic regression of labels [N] on features [N, D], fitted on some of the rows, which `scaler` standardises."""
    shown = scaled(scaler, picked(features, rows))
    held = np.empty(shown.shape, np.float32)  # as precise as the features, and half the time of double precision
    for block in blocks(shown):
        held[block] = shown[block]
    return make_pipeline(scaler, LogisticRegression(C=c, max_iter=1000).fit(held, labels[rows]))


def _held_out_losses(
    features: Features, labels: np.ndarray, fold: np.ndarray, scalers: Sequence[StandardScaler], c: float
) -> np.ndarray:
    """Log loss of each row when its fold is held out; a class that the other rows lack counts as unlikely as can be. scalers: of each
    fold, that of the other rows."""
    losses = np.zeros(len(labels))

    def hold_out(number: int, scaler: StandardScaler) -> None:
        fitting, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(np.unique(labels[fitting])) > 1:
            model = _fit_logistic(scaler, features, labels, fitting, c)
            shown = picked(features, held)
            read = np.concatenate([model.predict_proba(shown[rows]) for rows in blocks(shown)])
            own = read * (labels[held, None] == model.classes_[None])
            losses[held] = -np.log(np.clip(own.sum(1), 1e-9, 1))

    with machine.threads() as pool:
        pool.starmap(hold_out, zip(np.unique(fold), scalers, strict=True), chunksize=1)
    return losses


def _reason_to_skip(rows: pd.DataFrame, test: pd.Series, is_number: bool) -> str | None:
    """Why an attribute cannot be evaluated. rows: of training, with speaker_id and value; test: its known values."""
    speakers, values = rows["speaker_id"].nunique(), rows["value"].nunique()
    if values < 2 or speakers < FOLDS:
        return f"the training speakers have fewer than two values of it, or are fewer than {FOLDS}"
    if test.empty:
        return "it is not known of any test speaker"
    if is_number:
        return None
    if values * SPEAKERS_PER_CLASS > speakers:
        return f"it has {values} values among {speakers} training speakers, fewer than {SPEAKERS_PER_CLASS} speakers a value"
    speakers_of = rows.groupby("value")["speaker_id"].nunique()
    if test.isin(speakers_of.index[speakers_of >= SPEAKERS_TO_LEARN]).mean() < LEARNT_PART:
        return (
            f"of fewer than half of the test clips the value is that of {SPEAKERS_TO_LEARN} or more training speakers"
        )
    return None


def _balanced_accuracies(truths: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Balanced accuracy of the classes `read`, int [N], against each row of truths, int [R, N], over the classes in that row."""
    num_draws, num_classes = len(truths), int(truths.max()) + 1
    cells = truths + num_classes * np.arange(num_draws)[:, None]
    members, right = (
        np.bincount(of_rows, minlength=num_draws * num_classes).reshape(num_draws, num_classes)
        for of_rows in (cells.ravel(), cells[truths == read])
    )
    recalls: np.ndarray = np.divide(right, members, out=np.full(members.shape, np.nan), where=members > 0)
    return np.nanmean(recalls, axis=1)


def _balanced_accuracies_by_speaker(truths: np.ndarray, read: np.ndarray, of_row: np.ndarray) -> np.ndarray:
    """The same where all rows of a speaker have one class: truths, int [R, S], of each speaker; read and of_row, the speaker, int [N]."""
    num_draws, num_speakers = truths.shape
    num_classes = int(max(truths.max(), read.max())) + 1
    counts = np.bincount(of_row * num_classes + read, minlength=num_speakers * num_classes).reshape(-1, num_classes)
    cells = (truths + num_classes * np.arange(num_draws)[:, None]).ravel()
    members, right = (
        np.bincount(cells, of_speakers.ravel(), num_draws * num_classes).reshape(num_draws, num_classes)
        for of_speakers in (
            np.broadcast_to(counts.sum(1), truths.shape),
            counts[np.arange(num_speakers), truths],
        )
    )
    recalls = np.divide(right, members, out=np.full(members.shape, np.nan), where=members > 0)
    found: np.ndarray = np.nanmean(recalls, axis=1)
    return found
