"""How near predicted features are to the true ones."""

from typing import Any

import numpy as np

from speech2face.measures.statistics import Bootstrap, mean, spread, weighted_mean
from speech2face.measures.views import Features, blocks

Values = dict[str, np.ndarray]


def similarities(predicted: Features, true: Features, centre: np.ndarray) -> Values:
    """Of each row of predicted and true features [N, D]: cosine, its angle in degrees, L1 and L2 distance, raw and between
    unit vectors (Oh et al. 2019, table 2, compares unit vectors). The cosine of a zero vector is 0.

    centred_cosine is that of the differences from `centre` [D], the mean training face: faces share most of a feature, so the raw
    cosine is high for any two, while this one is 0 for whoever predicts the mean for everyone.
    """
    found = [_of_block(predicted[rows], true[rows], centre) for rows in blocks(predicted)]
    return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


def _of_block(predicted: np.ndarray, true: np.ndarray, centre: np.ndarray) -> Values:
    first, second = (np.asarray(values, np.float64) for values in (predicted, true))
    unit_first, unit_second = (_unit(values) for values in (first, second))
    cosine = np.clip((unit_first * unit_second).sum(1), -1, 1)
    return {
        "cosine": cosine,
        "centred_cosine": np.clip((_unit(first - centre) * _unit(second - centre)).sum(1), -1, 1),
        "angle_deg": np.degrees(2 * np.arctan2(_l2(unit_first - unit_second), _l2(unit_first + unit_second))),
        "l1": np.abs(first - second).sum(1),
        "l2": _l2(first - second),
        "unit_l1": np.abs(unit_first - unit_second).sum(1),
        "unit_l2": _l2(unit_first - unit_second),
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


def _l2(values: np.ndarray) -> np.ndarray:
    return np.sqrt((values**2).sum(1))


def _unit(values: np.ndarray) -> np.ndarray:
    norm = _l2(values)[:, None]
    return np.divide(values, norm, out=np.zeros_like(values), where=norm > 0)
