"""How near predicted features are to the true ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from speech2face.measures.statistics import Bootstrap, Floats, mean, spread, weighted_mean
from speech2face.measures.views import Features, map_blocks

ROWS_IN_CACHE = 32

Values = dict[str, np.ndarray]


def similarities(predicted: Features, true: Features, centre: np.ndarray) -> Values:
    """Of each row of predicted and true features [N, D]: the `cosines`, the cosine's angle in degrees, L1 and L2 distance, raw and between
    unit vectors (Oh et al. 2019, table 2, compares unit vectors)."""
    return _of_blocks(
        lambda first, second: _cosines(first, second, centre) | _distances(first, second), predicted, true
    )


def cosines(predicted: Features, true: Features, centre: np.ndarray) -> Values:
    """Of each row of predicted and true features [N, D]: their cosine, 0 for a zero vector, and the centred one.

    centred_cosine is that of the differences from `centre` [D], the mean training face: faces share most of a feature, so the raw
    cosine is high for any two, while this one is 0 for whoever predicts the mean for everyone.
    """
    return _of_blocks(lambda first, second: _cosines(first, second, centre), predicted, true)


def _of_blocks(measure: Callable[[Floats, Floats], Values], predicted: Features, true: Features) -> Values:
    def of_block(rows: slice) -> Values:
        both = predicted[rows], true[rows]
        parts = range(0, len(both[0]), ROWS_IN_CACHE)
        found = [measure(*(v[i : i + ROWS_IN_CACHE].astype(np.float64) for v in both)) for i in parts]
        return {name: np.concatenate([values[name] for values in found]) for name in found[0]}

    found = map_blocks(of_block, predicted)
    return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


def _cosines(first: Floats, second: Floats, centre: np.ndarray) -> Values:
    return {"cosine": _cosine(first, second), "centred_cosine": _cosine(first - centre, second - centre)}


def _cosine(first: Floats, second: Floats) -> Floats:
    lengths = np.sqrt(_products(first, first) * _products(second, second))
    cosine = np.divide(_products(first, second), lengths, out=np.zeros(len(first)), where=lengths > 0)
    return np.clip(cosine, -1, 1)


def _distances(first: Floats, second: Floats) -> Values:
    unit_first, unit_second = _unit(first), _unit(second)
    apart, apart_unit = first - second, unit_first - unit_second
    l2, unit_l2 = (np.sqrt(_products(values, values)) for values in (apart, apart_unit))
    unit_first += unit_second
    return {
        "angle_deg": np.degrees(2 * np.arctan2(unit_l2, np.sqrt(_products(unit_first, unit_first)))),
        "l1": np.abs(apart, out=apart).sum(1),
        "l2": l2,
        "unit_l1": np.abs(apart_unit, out=apart_unit).sum(1),
        "unit_l2": unit_l2,
    }


def summarise(values: Values, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Mean over clips with its interval, the standard deviation over them, and the same over the speakers' means."""
    summary: dict[str, dict[str, Any]] = {}
    clips = np.bincount(bootstrap.of_row)
    for name, rows in values.items():
        of_speaker = np.bincount(bootstrap.of_row, rows) / clips
        over_clips = float(spread(rows)(bootstrap.once)[0])
        equal = bootstrap.estimate(weighted_mean(rows, 1 / clips[bootstrap.of_row]))
        summary[name] = bootstrap.estimate(mean(rows)) | {
            "sd_clips": over_clips,
            "over_speakers": equal | {"sd": float(of_speaker.std())},
        }
    return summary


def _products(first: Floats, second: Floats) -> Floats:
    """Inner product of each row of the one with that of the other, [N]."""
    return np.einsum("nd,nd->n", first, second)


def _unit(values: Floats) -> Floats:
    length = np.sqrt(_products(values, values))[:, None]
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)
