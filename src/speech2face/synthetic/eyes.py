"""Eyeballs with sclera, iris and pupil, the lash lines and the lashes."""

import numpy as np
from numpy.typing import NDArray

from speech2face.synthetic.head_shape import EYE_VERTICES

Array = NDArray[np.float64]
Triangles = NDArray[np.int64]

IRIS_COLOURS = np.array([[0.035, 0.016, 0.008], [0.13, 0.065, 0.022], [0.075, 0.115, 0.05], [0.085, 0.16, 0.26]])
"""Linear RGB by `eye_colour`: dark brown, hazel, green, blue."""
IRIS_RADIUS, PUPIL_RADIUS = 0.44, 0.17
"""Relative to the eyeball's radius."""
RINGS, SECTORS = 28, 32

UPPER_ROOTS = [14762, 14761, 14760, 14743, 14742, 14744, 14745, 14746, 14747, 14748]
UPPER_TIPS = [14806, 14809, 14816, 14817, 14815, 14814, 14813, 14812, 14811, 14810]
LOWER_ROOTS = [14759, 14758, 14757, 14756, 14755, 14754, 14753, 14752, 14792]
LOWER_TIPS = [14830, 14834, 14835, 14836, 14837, 14838, 14839, 14840, 14831]
"""Vertices of the left eye's lashes in the base mesh, from the nose outwards."""
RIGHT_FROM_LEFT = 125
"""The right eye's lashes come this many vertices later."""


def eyeball_places(control: Array) -> list[tuple[Array, float]]:
    """Centre [3] and radius of the left and the right eyeball, metres."""
    places = []
    for rows in EYE_VERTICES.values():
        low, high = control[rows].min(axis=0), control[rows].max(axis=0)
        places.append(((low + high) / 2, float((high - low)[0] / 2)))
    return places


def eyeball(
    centre: Array, radius: float, gaze: Array, eye_colour: int, rng: np.random.Generator
) -> tuple[Array, Array, Triangles, Array]:
    """Vertices, normals, triangles and colours (linear RGB) of an eyeball that looks along the unit vector `gaze`."""
    polar = np.concatenate([[0.0], np.linspace(0.02, 1, RINGS) ** 1.3 * 0.62 * np.pi])
    turn = np.linspace(0, 2 * np.pi, SECTORS, endpoint=False)
    side = np.cross([0.0, 1.0, 0.0], gaze)
    side /= np.linalg.norm(side)
    up = np.cross(gaze, side)
    polar_, turn_ = (a[..., None] for a in np.meshgrid(polar, turn, indexing="ij"))
    normals = np.cos(polar_) * gaze + np.sin(polar_) * (np.cos(turn_) * side + np.sin(turn_) * up)

    r = np.sin(polar_)[..., 0]  # distance from the axis over the radius
    fibres = 1 + 0.3 * rng.normal(size=SECTORS)[None, :] * np.clip(r / IRIS_RADIUS, 0, 1)
    inner = np.clip(1 - (r - PUPIL_RADIUS) / (IRIS_RADIUS - PUPIL_RADIUS), 0, 1)
    iris = IRIS_COLOURS[eye_colour] * (fibres * (0.75 + 0.7 * inner))[..., None]
    redness = np.clip((r - 0.55) / 0.45, 0, 1)[..., None]
    sclera = np.array([0.66, 0.63, 0.60]) * (1 - redness * np.array([0.12, 0.3, 0.3]))

    def step(edge: float, width: float) -> Array:
        return np.clip((r - edge) / width + 0.5, 0, 1)[..., None]

    colours = 0.006 + (iris - 0.006) * step(PUPIL_RADIUS, 0.04)
    limbus = np.exp(-(((r - IRIS_RADIUS) / 0.05) ** 2))[..., None]
    white = step(IRIS_RADIUS, 0.07)
    colours = (colours * (1 - white) + sclera * white) * (1 - 0.6 * limbus)
    front = np.abs(polar_) < np.pi / 2
    colours = np.where(front, colours, sclera)

    along, around = np.meshgrid(np.arange(len(polar) - 1), np.arange(SECTORS), indexing="ij")
    a, b = along * SECTORS + around, along * SECTORS + (around + 1) % SECTORS
    quads = np.stack([a, a + SECTORS, b + SECTORS, b], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    normals = normals.reshape(-1, 3)
    return centre + radius * normals, normals, triangles, colours.reshape(-1, 3)


def lash_rows(control: Array) -> list[tuple[Array, Array, bool]]:
    """Roots and tips [K, 3] of the four rows of lashes, and whether a row belongs to an upper lid."""
    rows = []
    for shift in (0, RIGHT_FROM_LEFT):
        for roots, tips, upper in ((UPPER_ROOTS, UPPER_TIPS, True), (LOWER_ROOTS, LOWER_TIPS, False)):
            rows.append((control[np.array(roots) + shift], control[np.array(tips) + shift], upper))
    return rows
