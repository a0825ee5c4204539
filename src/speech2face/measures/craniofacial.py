"""Craniofacial measures on 68 landmarks: do faces drawn from voices have the proportions of faces drawn from true features?

The twelve measures whose correlations Oh et al. 2019 give in their supplement, named after the points of Farkas 1994. The
paper does not define them on the 68 landmarks; these definitions are this project's. Lengths are divided by the distance
between the eyes' centres (areas by its square), so no measure depends on a picture's size or turn in the plane.
"""

from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

from speech2face.measures.statistics import Bootstrap, correlations, holm, p_value, pearson
from speech2face.pipeline.params import Evaluation

NASION, SUBNASALE, GNATHION = 27, 33, 8
ALAE, GONIA, CHEILIA = (31, 35), (4, 12), (48, 54)
INNER_CANTHI, OUTER_CANTHI = (39, 42), (36, 45)
LABIALE_SUPERIUS, LABIALE_INFERIUS = 51, 57
STOMION_UPPER, STOMION_LOWER = 62, 66
PEAKS_OF_UPPER_LIP = (50, 52)
NOSE_OUTLINE = (27, 31, 32, 33, 34, 35)
LIP_OUTLINE = tuple(range(48, 60))
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
FLAT = 1e-6  # relative
ROUNDING = 1e-12  # correlations nearer than this are ties, as for `p_value`

PUBLISHED = {
    "nasal_index": 0.376,
    "nose_width": 0.353,
    "vermilion_height_index": 0.294,
    "nose_area": 0.283,
    "lateral_upper_lip_heights": 0.264,
    "intercanthal_index": 0.210,
    "mouth_face_width_index": 0.204,
    "mandibular_index": 0.196,
    "labio_oral_region": 0.165,
    "upper_lip_height": 0.156,
    "nose_height": 0.142,
    "jaw_width": 0.107,
}
"""Pearson's correlation of each measure in Oh et al. 2019, supplement (AVSpeech, VGG-Face features)."""


def measures(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """The twelve measures, each [N], of landmarks [N, 68, 2] in any unit of length."""
    points = np.asarray(landmarks, np.float64)

    def length(first: int, second: int) -> np.ndarray:
        return np.linalg.norm(points[:, first] - points[:, second], axis=1)

    eyes = np.linalg.norm(points[:, RIGHT_EYE].mean(1) - points[:, LEFT_EYE].mean(1), axis=1)
    stomion = points[:, [STOMION_UPPER, STOMION_LOWER]].mean(1)
    nose_width, nose_height, jaw_width = length(*ALAE), length(NASION, SUBNASALE), length(*GONIA)
    upper_vermilion = length(LABIALE_SUPERIUS, STOMION_UPPER)
    lower_vermilion = length(STOMION_LOWER, LABIALE_INFERIUS)
    lateral = (length(ALAE[0], PEAKS_OF_UPPER_LIP[0]) + length(ALAE[1], PEAKS_OF_UPPER_LIP[1])) / 2
    return {
        "nasal_index": nose_width / nose_height,
        "nose_width": nose_width / eyes,
        "vermilion_height_index": upper_vermilion / lower_vermilion,
        "nose_area": _area(points[:, NOSE_OUTLINE]) / eyes**2,
        "lateral_upper_lip_heights": lateral / eyes,
        "intercanthal_index": length(*INNER_CANTHI) / length(*OUTER_CANTHI),
        "mouth_face_width_index": length(*CHEILIA) / jaw_width,
        "mandibular_index": np.linalg.norm(stomion - points[:, GNATHION], axis=1) / jaw_width,
        "labio_oral_region": _area(points[:, LIP_OUTLINE]) / eyes**2,
        "upper_lip_height": length(SUBNASALE, STOMION_UPPER) / eyes,
        "nose_height": nose_height / eyes,
        "jaw_width": jaw_width / eyes,
    }


def correlate(
    from_true: np.ndarray, from_voice: np.ndarray, speakers: Sequence[str], settings: Evaluation, seed: int
) -> dict[str, dict[str, Any]]:
    """Correlation over speakers of each measure between landmarks [N, 68, 2] decoded from true features and from voices.

    speakers: of each row [N]. A speaker counts once, with the means of the rows' measures, so that all clips of one person are shuffled
    together. Interval, threshold and p-value are of this one correlation. One-sided: `value` is above `chance_high` exactly where
    `p_value` is at most 1 - confidence. Corrected p-values are for all that are defined (Holm). A measure that does not vary has no
    correlation and is left out.
    """
    first, second = measures(from_true), measures(from_voice)
    names, row_of = np.unique(np.asarray(speakers, str), return_inverse=True)
    bootstrap = Bootstrap(names, settings.resamples, settings.confidence, seed)
    results: dict[str, dict[str, Any]] = {}
    for name in first:
        true, voice = (np.bincount(row_of, values[name]) / np.bincount(row_of) for values in (first, second))
        estimate = {} if _is_flat(true) or _is_flat(voice) else bootstrap.estimate(pearson(true, voice))
        if estimate:
            rng = np.random.default_rng([seed, 3])
            drawn = correlations(rng.permuted(np.tile(true, (settings.resamples, 1)), axis=1), voice)
            chance = {"chance_high": _threshold(drawn, 1 - settings.confidence)}
            chance["p_value"] = p_value(estimate["value"], drawn)
            results[name] = estimate | chance | {"published": PUBLISHED[name]}
    for result, corrected in zip(results.values(), holm([r["p_value"] for r in results.values()]), strict=True):
        result["corrected_p_value"] = corrected
    return results


def _threshold(drawn: np.ndarray, level: float) -> float:
    """What a correlation must exceed for its `p_value` to be at most `level`; 1 where too few are drawn for that."""
    most_above = floor(round(level * (1 + len(drawn)), 9)) - 1
    return float(np.sort(drawn)[::-1][most_above]) + ROUNDING if most_above >= 0 else 1.0


def _is_flat(values: np.ndarray) -> bool:
    """Whether positive values differ by no more than the rounding of landmarks in single precision."""
    return float(np.ptp(values)) <= FLAT * float(np.abs(values).max())


def _area(polygon: np.ndarray) -> np.ndarray:
    """Area of polygons [N, P, 2] (shoelace formula)."""
    after = np.roll(polygon, -1, axis=1)
    return np.abs((polygon[..., 0] * after[..., 1] - polygon[..., 1] * after[..., 0]).sum(1)) / 2
