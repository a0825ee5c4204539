"""What can be measured of the faces that are decoded from features; the pictures are not kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech2face.measures.aligned import Aligned
from speech2face.measures.inputs import Inputs
from speech2face.measures.opinions import Opinion
from speech2face.measures.scores import chance_scores
from speech2face.measures.statistics import Bootstrap, mean
from speech2face.measures.systems import System
from speech2face.measures.views import Features, View

FACES_PER_BLOCK = 64
READ = ("recall_at_10_percent", "one_of_2")


@dataclass(frozen=True)
class Decoded:
    """Of N decoded faces: landmarks [N, 68, 2] (x, y); features [N, D] and the judge's opinion, None where the inputs have no
    such network."""

    landmarks: np.ndarray
    features: np.ndarray | None
    opinion: Opinion | None


def decode_faces(inputs: Inputs, features: Features) -> Decoded | None:
    """The faces of features [N, D], N above 0; None without a decoder."""
    if inputs.decode is None:
        return None
    landmarks, embedded, opinions = [], [], []
    for start in range(0, len(features), FACES_PER_BLOCK):
        images, points = inputs.decode(features[start : start + FACES_PER_BLOCK].astype(np.float32))
        landmarks.append(points)
        if inputs.embed is not None:
            embedded.append(inputs.embed(images, points))
        if inputs.judge is not None:
            opinions.append(inputs.judge(images, points))
    return Decoded(
        np.concatenate(landmarks),
        np.concatenate(embedded) if embedded else None,
        Opinion(*(np.concatenate(column) for column in zip(*opinions, strict=True))) if opinions else None,
    )


def score_decoded(
    inputs: Inputs, aligned: Aligned, embedded: Mapping[str, np.ndarray], over_rows: Bootstrap
) -> dict[str, Any]:
    """How well the right person is found by what a face network reads in decoded faces: `READ` by source, with interval and chance, in
    the gallery of all test speakers' true features.

    embedded: features [N, D] of the faces decoded from the true feature, from the voice, and from the voice with its
    prediction stretched. Decoded faces as such are unlike photographs,
    so each source is centred on the mean of its own test rows, which knows of no person; the gallery on the mean training face.
    `read_by` is the network; where `taught_the_decoder`, its own gradient drew the faces, and that it recognises them is no evidence.
    """
    chances = chance_scores(len(aligned.speakers))
    found: dict[str, Any] = {"read_by": inputs.reader, "taught_the_decoder": inputs.reader_taught_decoder}
    found["stretch"] = inputs.stretch
    for source, features in embedded.items():
        rows = System(aligned, _recentred(features, aligned.training_mean)).scores
        estimates = {name: over_rows.estimate(mean(rows[name])) for name in READ}
        found[source] = {name: value | {"chance": chances[name]} for name, value in estimates.items() if value}
    return found


def _recentred(features: np.ndarray, centre: np.ndarray) -> View:
    """Features [N, D] moved so that their mean is `centre`."""
    mean_of_rows = features.mean(0, dtype=np.float64)
    return View((len(features), len(centre)), lambda rows: features[rows] - mean_of_rows + centre)
