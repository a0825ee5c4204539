"""The skin of a synthetic speaker: colour and fine relief, painted on a cylindrical chart of the mean head.

A point of the mean head is addressed by (s, y) in millimetres: s along a cylinder of radius 100 mm around the head's
axis, positive to the subject's left, y up from the eyes. Because the chart belongs to the mean head, a feature painted
at its place follows any speaker's shape.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter

from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.mesh import smoothstep
from speech2face.synthetic.speakers import Speaker

Array = NDArray[np.float64]
Image = NDArray[np.floating[Any]]

RADIUS_MM, AXIS_Z_MM = 100.0, -75.0
S_MM, Y_MM = (-160.0, 160.0), (-140.0, 120.0)
TEXELS_PER_MM = 2
BUMP_M = 0.001
"""Height of the relief where its texture is 1."""

TONES = np.array(
    [[0.76, 0.52, 0.395], [0.65, 0.40, 0.275], [0.46, 0.255, 0.155], [0.26, 0.13, 0.076], [0.125, 0.062, 0.038]]
)
"""Linear RGB reflectance from the lightest to the darkest skin, evenly spaced in `skin_tone`."""

FOREHEAD = [
    [(-46, 36), (-25, 40), (0, 37), (25, 40), (46, 36)],
    [(-44, 45), (-22, 48), (0, 45), (22, 48), (44, 45)],
    [(-40, 54), (-18, 57), (0, 54), (18, 57), (40, 54)],
    [(-30, 62), (-12, 64), (12, 64), (30, 62)],
]
FROWN = [[(6, 7), (7, 16), (6, 26)]]
CROWS_FEET = [
    [(52, 1), (60, 8), (67, 15)],
    [(53, -1), (62, 2), (70, 5)],
    [(53, -4), (62, -6), (70, -7)],
    [(51, -7), (59, -13), (66, -19)],
]
NASOLABIAL = [[(18, -38), (25, -47), (31, -57), (34, -67), (35, -75)]]
MARIONETTE = [[(29, -72), (33, -81), (34, -92)]]
EYE_BAGS = [[(15, -9), (21, -16), (32, -19), (43, -16), (49, -9)]]
LOWER_LIDS = [[(17, -7), (25, -12), (35, -12.5), (45, -8)]]
LID_CREASE = [[(17, 3), (23, 8), (33, 10), (43, 7.5), (50, 1)]]
CHEEK_LINES = [[(50, -30), (53, -46), (50, -64), (45, -78)], [(60, -34), (62, -50), (58, -68)]]
MOUTH = [[(-27, -66.4), (-12, -67.3), (0, -67.2), (12, -67.3), (27, -66.4)]]
LIP_LINES = [[(x, -52), (x * 1.08, -60)] for x in (3, 7, 11, 15, 19)]
NECK_LINES = [[(-60, -112), (0, -118), (60, -112)], [(-60, -124), (0, -130), (60, -124)]]


def chart(points: Array) -> Array:
    """(s, y) in millimetres [..., 2] of points [..., 3] of the mean head, in metres."""
    x, y, z = (1e3 * points[..., i] for i in range(3))
    return np.stack([RADIUS_MM * np.arctan2(x, z - AXIS_Z_MM), y], axis=-1)


def texture_coordinates(points: Array) -> Array:
    """Texture coordinates [..., 2] of points of the mean head; beyond 0..1 the texture's border goes on."""
    s, y = np.moveaxis(chart(points), -1, 0)
    return np.stack([(s - S_MM[0]) / (S_MM[1] - S_MM[0]), (Y_MM[1] - y) / (Y_MM[1] - Y_MM[0])], axis=-1)


class Skin:
    """Painter of skin textures; what does not depend on the speaker is prepared once."""

    def __init__(self, head: Head) -> None:
        columns = np.arange((S_MM[1] - S_MM[0]) * TEXELS_PER_MM) / TEXELS_PER_MM + S_MM[0]
        rows = Y_MM[1] - np.arange((Y_MM[1] - Y_MM[0]) * TEXELS_PER_MM) / TEXELS_PER_MM
        self.s, self.y = (a.astype(np.float32) for a in np.meshgrid(columns, rows))
        self._lips = self._paint_vertices(head.mean, head.lips)
        rng = np.random.default_rng(0)
        shape = self.s.shape
        self._noise = [
            self._unit(gaussian_filter(rng.normal(size=shape), width, mode="wrap")) for width in (1.0, 3.0, 9.0)
        ]
        self._lines = {
            "forehead": self._stroke(FOREHEAD, 1.0, mirrored=False),
            "frown": self._stroke(FROWN, 1.1),
            "crows_feet": self._stroke(CROWS_FEET, 1.1),
            "nasolabial": self._stroke(NASOLABIAL, 1.8),
            "marionette": self._stroke(MARIONETTE, 1.6),
            "eye_bags": self._stroke(EYE_BAGS, 1.6),
            "lower_lids": self._stroke(LOWER_LIDS, 0.9),
            "lid_crease": self._stroke(LID_CREASE, 0.9),
            "cheek_lines": self._stroke(CHEEK_LINES, 1.2),
            "mouth": self._stroke(MOUTH, 1.0, mirrored=False),
            "lip_lines": self._stroke(LIP_LINES, 0.6),
            "neck_lines": self._stroke(NECK_LINES, 1.4, mirrored=False),
        }

    @staticmethod
    def _unit(field: Array) -> Image:
        return ((field - field.mean()) / field.std()).astype(np.float32)

    def _paint_vertices(self, mean: Array, values: Array) -> Image:
        """A value per vertex of the mean head, interpolated over the chart in front of the face."""
        places = chart(mean)
        near = (np.abs(places[:, 0]) < 45) & (places[:, 1] > -95) & (places[:, 1] < -40) & (mean[:, 2] > 0.012)
        field = LinearNDInterpolator(places[near], values[near], fill_value=0.0)
        image = np.zeros(self.s.shape)
        inside = (np.abs(self.s) < 45) & (self.y > -95) & (self.y < -40)
        image[inside] = field(self.s[inside], self.y[inside])
        return smoothstep(0.25, 0.75, gaussian_filter(image, 1.2)).astype(np.float32)

    def _stroke(self, lines: Sequence[Sequence[tuple[float, float]]], width_mm: float, mirrored: bool = True) -> Image:
        """1 on the polylines, falling off as a Gaussian of `width_mm`, thinner towards their ends."""
        image = np.zeros_like(self.s)
        for line in lines:
            points = np.array(line, dtype=np.float64)
            for side in (1, -1) if mirrored else (1,):
                for k in range(len(points) - 1):
                    (s0, y0), (s1, y1) = points[k] * (side, 1), points[k + 1] * (side, 1)
                    rows = slice(
                        *np.clip(
                            [
                                int((Y_MM[1] - max(y0, y1) - 8) * TEXELS_PER_MM),
                                int((Y_MM[1] - min(y0, y1) + 8) * TEXELS_PER_MM),
                            ],
                            0,
                            None,
                        )
                    )
                    columns = slice(
                        int((min(s0, s1) - 8 - S_MM[0]) * TEXELS_PER_MM),
                        int((max(s0, s1) + 8 - S_MM[0]) * TEXELS_PER_MM),
                    )
                    s, y = self.s[rows, columns], self.y[rows, columns]
                    ds, dy = s1 - s0, y1 - y0
                    t = np.clip(((s - s0) * ds + (y - y0) * dy) / (ds * ds + dy * dy), 0, 1)
                    distance2 = (s - s0 - t * ds) ** 2 + (y - y0 - t * dy) ** 2
                    along = (k + t) / (len(points) - 1)
                    strength = np.sqrt(np.clip(4 * along * (1 - along), 0, 1))
                    image[rows, columns] = np.maximum(image[rows, columns], strength * np.exp(-distance2 / width_mm**2))
        return image

    def _blob(self, s: float, y: float, width: float, height: float) -> Image:
        """A soft spot of 1 on both sides of the face."""
        return np.exp(-(((np.abs(self.s) - s) / width) ** 2) - ((self.y - y) / height) ** 2)

    @cached_property
    def _inside(self) -> Image:
        """Fades out to the chart's border, whose colour goes on over the rest of the skin."""
        return (smoothstep(-140, -115, self.y) * smoothstep(160, 140, np.abs(self.s))).astype(np.float32)

    @cached_property
    def _cheeks(self) -> Image:
        return self._blob(47, -34, 20, 17) + 0.8 * self._blob(0, -33, 11, 11)

    @cached_property
    def _sockets(self) -> Image:
        return self._blob(22, -11, 14, 7) + 0.7 * self._blob(17, 5, 8, 8)

    @cached_property
    def _nostrils(self) -> Image:
        return self._blob(7.5, -44.5, 3.6, 1.8)

    @cached_property
    def _beard(self) -> Image:
        jaw = smoothstep(-40, -62, self.y - 0.45 * np.maximum(np.abs(self.s) - 40, 0)) * smoothstep(-118, -98, self.y)
        front = 1 - smoothstep(95, 115, np.abs(self.s))
        cheek = 1 - self._blob(36, -48, 20, 12)
        return (jaw * front * cheek * (1 - self._lips)).astype(np.float32)

    @cached_property
    def hairline(self) -> Image:
        """1 on the scalp, 0 on the face."""
        return smoothstep(-2, 9, scalp_height_mm(self.s, self.y)).astype(np.float32)

    def paint(self, speaker: Speaker, hair: Array, rng: np.random.Generator) -> tuple[Image, Image]:
        """Reflectance [H, W, 3] (linear RGB) and relief [H, W, 1] of a speaker whose hair has the colour `hair` [3]."""
        male = speaker.sex == "m"
        old = (speaker.age_years - 20) / 60
        late = max(0.0, (speaker.age_years - 38) / 42)
        fine, middle, coarse = (np.roll(n, rng.integers(0, 500, 2), (0, 1)) for n in self._noise)

        position = speaker.skin_tone * (len(TONES) - 1)
        tone = np.exp([np.interp(position, np.arange(len(TONES)), np.log(TONES[:, i])) for i in range(3)])
        pale = 1 - 0.6 * speaker.skin_tone
        fine, middle, coarse = (n * self._inside for n in (fine, middle, coarse))
        mottle = (0.02 + 0.03 * old) * coarse + (0.018 + 0.025 * old) * middle + 0.02 * fine
        skin = (tone * np.exp(mottle[..., None] * np.array([0.7, 1.0, 1.1]))).astype(np.float32)

        def tint(mask: Image, colour: tuple[float, float, float], amount: float) -> None:
            nonlocal skin
            skin = skin * (1 - (amount * mask)[..., None] * (1 - np.array(colour, dtype=np.float32)))

        tint(self._cheeks, (1.0, 0.72, 0.72), (0.4 if male else 0.55) * pale)
        tint(self._sockets, (0.72, 0.62, 0.64), 0.25 + 0.55 * late)
        tint(self._nostrils, (0.2, 0.12, 0.1), 0.3)
        tint(self._lines["mouth"], (0.2, 0.12, 0.12), 0.9)
        lips = (0.86, 0.46, 0.46) if male else (0.84, 0.34, 0.39)
        tint(self._lips * (1 + 0.1 * middle), lips, 1 - 0.3 * old)
        if male:
            tint(self._beard * np.clip(0.85 + 0.25 * fine + 0.1 * middle, 0, 1.2), (0.64, 0.65, 0.70), 0.75)
        spots = smoothstep(1.5, 2.1, middle + 0.5 * coarse) * late
        tint(spots, (0.72, 0.6, 0.52), 0.75)

        depth = {
            "forehead": 0.95 * late, "frown": 0.9 * late, "crows_feet": 0.95 * late, "nasolabial": 0.12 + 0.85 * old,
            "marionette": 0.9 * late, "eye_bags": 0.1 + 0.85 * late, "lower_lids": 0.2 + 0.5 * old, "lid_crease": 0.55,
            "cheek_lines": 0.5 * late**1.5, "lip_lines": 0.4 * late, "neck_lines": 0.2 + 0.6 * late,
        }  # fmt: skip
        grooves = np.zeros_like(self.s)
        for name, amount in depth.items():
            grooves = np.maximum(grooves, amount * self._lines[name])
        tint(grooves * (1 + 0.15 * middle), (0.55, 0.42, 0.40), 0.85)

        cover = self.hairline[..., None] * 0.92
        skin = skin * (1 - cover) + cover * (0.95 * hair + 0.1 * tone).astype(np.float32)
        relief = 0.05 * fine + (0.05 + 0.1 * late) * middle - 1.3 * grooves
        return np.clip(skin, 0.004, 0.9).astype(np.float32), relief[..., None].astype(np.float32)


def scalp_height_mm(s: Array | Image, y: Array | Image) -> Array:
    """How far a point (s, y) of the chart lies above the hairline, mm; negative on the face and neck."""
    a = np.abs(s)
    line = np.interp(
        a,
        [0, 22, 42, 58, 72, 84, 92, 112, 130, 160, 200, 240, 320],
        [66, 65, 62, 50, 30, 12, 12, 30, 18, -25, -48, -58, -58],
    )
    return y - line
