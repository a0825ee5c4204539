"""What the 68 landmarks (iBUG 300-W order) say about a face's pose and expression, and where and how sharp a crop shows it."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import laplace

EYE_RIGHT, EYE_LEFT = slice(36, 42), slice(42, 48)  # the subject's right eye is at the picture's left
OUTER_EYE_CORNERS = (36, 45)
NOSE_TIP = 30
INNER_LIPS = (62, 66)
NOSE_DEPTH = 0.9
"""How far the nose's tip stands out before the outer corners of the eyes, as a part of half the distance between those; about 40 mm
over 45 mm on an adult's head (Farkas 1994)."""


def yaw_deg(landmarks: np.ndarray) -> float:
    """Turn of the head in degrees from landmarks [68, 2] (x, y); positive: towards the picture's right.

    With the corners of the eyes at +-a and the nose's tip a depth b before them, a head that is turned by t shows the tip at b sin t
    and the corners at +-a cos t along the line of the eyes, so t = atan(offset / half distance * a / b). Roll does not matter.
    """
    right, left = landmarks[OUTER_EYE_CORNERS[0]], landmarks[OUTER_EYE_CORNERS[1]]
    half = (left - right) / 2
    offset = np.dot(landmarks[NOSE_TIP] - (right + left) / 2, half) / max(float(np.dot(half, half)), 1e-12)
    return float(np.degrees(np.arctan(offset / NOSE_DEPTH)))


def mouth_opening(landmarks: np.ndarray) -> float:
    """Distance between the inner lips as a part of the distance between the outer corners of the eyes."""
    upper, lower = landmarks[INNER_LIPS[0]], landmarks[INNER_LIPS[1]]
    eyes = np.linalg.norm(landmarks[OUTER_EYE_CORNERS[1]] - landmarks[OUTER_EYE_CORNERS[0]])
    return float(np.linalg.norm(lower - upper) / max(float(eyes), 1e-6))


def inside_mask(inside: Sequence[float] | np.ndarray, size_px: int) -> np.ndarray:
    """Which pixels of a crop lie in the photograph, by their centres: bool [size_px, size_px]; `inside` as in the face table."""
    left, top, right, bottom = inside
    centres = np.arange(size_px)
    return ((top < centres) & (centres < bottom))[:, None] & ((left < centres) & (centres < right))


def sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian of uint8 RGB [H, W, 3], grey levels 0..1: small for a blurred picture."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    return float(laplace(grey).var())
