"""What differs between two pictures, as a picture and in words. The words are about the pictures, never about people."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (Rec. ITU-R BT.601)."""
DARKER, SAME, LIGHTER = (np.array(rgb, np.float32) for rgb in ((33, 102, 172), (245, 245, 245), (179, 88, 6)))
"""The ends and the middle of the colours; people who see red and green alike tell them apart."""
MOST_PERCENT = 99.0
LEAST_LEVELS = 4
"""A picture of rounding errors would look like one of differences."""
THIRDS = ("upper", "middle", "lower")

Picture = npt.NDArray[np.uint8]


class Difference(NamedTuple):
    """How one picture differs from another.

    picture: uint8 RGB [H, W, 3], blue where it is darker, orange where it is lighter, nearly white where they are alike
    levels: the difference in lightness, of 255, from which on colours are full: `MOST_PERCENT` of the pixels differ less
    words: short sentences
    """

    picture: Picture
    levels: int
    words: list[str]


def difference(picture: Picture, other: Picture) -> Difference:
    """How `picture` differs in lightness from `other`, both uint8 RGB [H, W, 3]."""
    change = picture @ LIGHTNESS - other @ LIGHTNESS
    levels = max(LEAST_LEVELS, int(np.ceil(np.percentile(np.abs(change), MOST_PERCENT).round(2))))
    strength = np.clip(change / levels, -1, 1)[..., None]
    ends = np.where(strength < 0, DARKER, LIGHTER)
    coloured = SAME + np.abs(strength) * (ends - SAME)
    return Difference(coloured.round().astype(np.uint8), levels, _words(change, levels))


def _words(change: npt.NDArray[np.float32], levels: int) -> list[str]:
    """Of the change in lightness [H, W]."""
    mean, whole = float(np.abs(change).mean()), float(change.mean())
    if mean < 0.5:
        return ["The two pictures are alike."]
    sizes = [float(np.abs(part).sum()) for part in np.array_split(change, len(THIRDS))]
    most = int(np.argmax(sizes))
    overall = (
        f"{abs(whole):.0f} levels {'lighter' if whole > 0 else 'darker'} than the mean face"
        if abs(whole) >= 0.5
        else "as light as the mean face"
    )
    return [
        f"A pixel differs from the mean face by {mean:.0f} of 255 levels of lightness on average, one in a hundred by {levels} or more.",
        f"{100 * sizes[most] / sum(sizes):.0f} % of the difference is in the {THIRDS[most]} third of the picture.",
        f"As a whole the picture is {overall}.".replace(" 1 levels", " 1 level"),
    ]
