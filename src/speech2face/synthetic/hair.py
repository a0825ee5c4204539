"""Hair of synthetic speakers: strands grown on the mean head by cut, carried over to a speaker's head, drawn as ribbons.

Cuts: 0 cropped, 1 short with a side parting, 2 medium with a middle parting, 3 tied up in a knot. Brows and lashes are
strands too.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.mesh import smoothstep, vertex_normals
from speech2face.synthetic.skin import chart, scalp_height_mm
from speech2face.synthetic.speakers import Speaker

Array = NDArray[np.float64]
Triangles = NDArray[np.int64]
Flow = Callable[[Array, Array], Array]

COLOURS = {
    "black": (0.014, 0.012, 0.011),
    "brown": (0.075, 0.040, 0.021),
    "blond": (0.40, 0.26, 0.125),
    "red": (0.27, 0.085, 0.028),
}
"""Linear RGB reflectance."""
CROWN = np.array([0.008, 0.098, -0.125])
KNOT, KNOT_RADIUS_M = np.array([0.0, 0.118, -0.128]), 0.031
PART_X_M = 0.024
NEIGHBOURS = 4
BEHIND, SKULL_END_M = -0.3, 0.0
"""How far a strand's segment must face away from the camera, and how low it may reach, to be hidden by the head."""


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _along(way: Array, normal: Array) -> Array:
    """The part of `way` along the surface with that `normal`; a shorter normal leaves more of it."""
    return way - (way * normal).sum(axis=-1, keepdims=True) * normal


def _clear_of_ears(points: Array) -> Array:
    """Points moved sideways so that hair at the ears' height lies over the ears."""
    x, y, z = points.T
    beside = smoothstep(-0.02, -0.06, z) * smoothstep(-0.13, -0.105, z) * smoothstep(0.05, 0.065, np.abs(x))
    near = smoothstep(0.08, 0.0, y) * beside
    return np.stack([np.sign(x) * np.maximum(np.abs(x), 0.091 * near), y, z], axis=-1)


def _well_behaved(points: Array) -> NDArray[np.bool_]:
    """True for strands [K, P, 3] that neither turn back on themselves nor hang in front of the face."""
    segments = np.diff(points, axis=1)
    long = np.linalg.norm(segments, axis=-1) > 0.003
    tangent = _unit(segments)
    turning = (tangent[:, 1:] * tangent[:, :-1]).sum(axis=-1) < 0.0
    smooth = ~(turning & long[:, 1:] & long[:, :-1]).any(axis=1)
    x, y, z = np.moveaxis(points, -1, 0)
    before_face = ((np.abs(x) < 0.058) & (y < 0.052) & (z > -0.03)).any(axis=1)
    return smooth & ~before_face


class Strands:
    """Polylines on the mean head: `points` [K, P, 3], `outward` [K, P, 3] away from the head, `width_m` [K]."""

    def __init__(self, points: Array, outward: Array, width_m: Array, tree: cKDTree, mark: Array) -> None:
        self.points, self.outward, self.width_m, self.mark = points, outward, width_m, mark
        distance, self._rows = tree.query(points, k=NEIGHBOURS)
        weights = 1 / (distance + 0.002) ** 2
        self._weights = weights / weights.sum(axis=-1, keepdims=True)

    def moved(self, displacement: Array) -> Array:
        """Points where the skin that they lie on has moved by `displacement` [N, 3]."""
        move = sum(displacement[self._rows[..., k]] * self._weights[..., k, None] for k in range(NEIGHBOURS))
        return self.points + move


def ribbons(points: Array, outward: Array, width_m: Array, taper: float) -> tuple[Array, Array, Triangles]:
    """Vertices, normals and triangles of flat ribbons along polylines [K, P, 3]; `taper` is the width left at the tip."""
    num, length = points.shape[:2]
    tangent = _unit(np.gradient(points, axis=1))
    side = _unit(np.cross(tangent, outward))
    width = width_m[:, None, None] * np.linspace(1, taper, length)[None, :, None] / 2
    vertices = np.stack([points - side * width, points + side * width], axis=2)
    facing = _unit(np.cross(side, tangent))
    normals = _unit(np.stack([facing - 0.5 * side, facing + 0.5 * side], axis=2))
    first = (np.arange(num)[:, None] * length + np.arange(length - 1)[None, :]).ravel() * 2
    triangles = np.concatenate(
        [np.stack([first, first + 1, first + 3], -1), np.stack([first, first + 3, first + 2], -1)]
    )
    return vertices.reshape(-1, 3), normals.reshape(-1, 3), triangles


def hidden(points: Array, outward: Array) -> NDArray[np.bool_]:
    """Which segments of strands [K, P, 3] lie on the back of the skull, unseen from in front: bool [K, P - 1]. What hangs lower is seen
    past the neck."""
    behind = (outward[..., 2] < BEHIND) & (points[..., 1] > SKULL_END_M)
    return behind[:, 1:] & behind[:, :-1]


class Hair:
    """The strands of all cuts and of the brows, grown on the mean head when first asked for."""

    def __init__(self, head: Head) -> None:
        self._mean, self._faces = head.mean, head.faces
        self._normals = vertex_normals(head.mean, head.faces)
        self._ears = head.ears
        self._solid = np.flatnonzero(~head.around_ears)
        self._solid = self._solid[head.mean[self._solid, 1] > -0.11]
        self._tree = cKDTree(head.mean[self._solid])
        self._places = chart(head.mean)
        self._height_mm = scalp_height_mm(self._places[:, 0], self._places[:, 1])
        self._carrier = cKDTree(head.mean)
        self._grow_cut = (self._cropped, self._short, self._medium, self._tied)
        self._cuts: dict[int, list[Strands]] = {}
        self.brows = self._brows()

    def cut(self, number: int) -> list[Strands]:
        """The strands of cut `number`, 0..3."""
        if number not in self._cuts:
            self._cuts[number] = self._grow_cut[number](np.random.default_rng([1, number]))
        return self._cuts[number]

    def _roots(self, inside: NDArray[np.bool_], num: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points and normals [num, 3] spread evenly over the faces whose corners are all `inside`."""
        faces = self._faces[inside[self._faces].all(axis=1)]
        a, b, c, d = (self._mean[faces[:, i]] for i in range(4))
        area = np.linalg.norm(np.cross(c - a, d - b), axis=1)
        pick = rng.choice(len(faces), num, p=area / area.sum())
        u, v = rng.uniform(size=(2, num, 1))
        corner = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v])
        points = (corner * self._mean[faces[pick]].transpose(1, 0, 2)).sum(axis=0)
        normals = _unit((corner * self._normals[faces[pick]].transpose(1, 0, 2)).sum(axis=0))
        return points, normals

    def _scalp_roots(self, num: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Roots, normals and the height above the hairline in millimetres, ragged at the hairline."""
        inside = (self._height_mm > -8) & (self._mean[:, 1] > -0.06) & ~self._ears
        roots, normals = self._roots(inside, num, rng)
        height_mm = scalp_height_mm(*chart(roots).T)
        keep = height_mm > rng.normal(1.5, 2.2, num)
        return roots[keep], normals[keep], height_mm[keep]

    def _grow(
        self,
        roots: Array,
        normals: Array,
        length_m: Array,
        layer_m: Array,
        flow: Flow,
        steps: int,
        lift: float,
        goal: Array | None = None,
        clear_of_ears: bool = False,
    ) -> tuple[Array, Array]:
        """Strands of `steps` + 1 points that follow `flow`, stay `layer_m` above the head and end at `goal` if it is near."""
        points, outward = [roots], [normals]
        direction = _unit(lift * normals + flow(roots, normals))
        for k in range(1, steps + 1):
            step = (length_m / steps)[:, None]
            if goal is not None:
                step = np.minimum(step, 0.9 * np.linalg.norm(goal - points[-1], axis=1, keepdims=True))
            new = points[-1] + step * direction
            _, nearest = self._tree.query(new)
            rows = self._solid[nearest]
            normal = self._normals[rows]
            height = ((new - self._mean[rows]) * normal).sum(axis=1, keepdims=True)
            wanted = layer_m[:, None] * min(1.0, 1.6 * k / steps + 0.1)
            # out of the head always, down to it only where it is not steeper than hair hangs
            pull = -0.8 * step * smoothstep(0.0, 0.05, new[:, 1])[:, None]
            new = new + np.maximum(pull, wanted - height) * normal
            if clear_of_ears:
                new = _clear_of_ears(new)
            points.append(new)
            outward.append(normal)
            hugging = np.exp(-np.maximum(0.0, height - wanted) / 0.012)
            direction = _unit(0.45 * _unit(new - points[-2]) + flow(new, hugging * normal))
        strands = np.stack(points, axis=1)
        return strands, np.stack(outward, axis=1)

    def _strands(self, points: Array, outward: Array, width_m: float, rng: np.random.Generator) -> Strands:
        good = _well_behaved(points)
        points, outward, num = points[good], outward[good], int(good.sum())
        return Strands(points, outward, width_m * rng.uniform(0.7, 1.3, num), self._carrier, rng.normal(size=num))

    def _cropped(self, rng: np.random.Generator) -> list[Strands]:
        roots, normals, height_mm = self._scalp_roots(9000, rng)
        away = _unit(roots - CROWN)
        bend = rng.normal(0, 0.25, roots.shape)
        edge = smoothstep(-1, 16, height_mm)
        points, outward = self._grow(
            roots, normals, 0.004 + 0.006 * edge, np.full(len(roots), 0.0015),
            lambda p, n: 0.8 * _along(away, n) + 0.45 * n + bend, 2, 0.45,
        )  # fmt: skip
        return [self._strands(points, outward, 0.0015, rng)]

    def _short(self, rng: np.random.Generator) -> list[Strands]:
        roots, normals, height_mm = self._scalp_roots(6000, rng)
        side = np.where(roots[:, 0] > PART_X_M, 1.0, -1.0)[:, None]
        top = smoothstep(0.04, 0.085, roots[:, 1])
        jitter = rng.normal(0, 0.12, roots.shape)
        edge = smoothstep(-2, 14, height_mm)

        def flow(p: Array, n: Array) -> Array:
            combed = np.concatenate([side * 0.9, np.full_like(side, 0.1), np.full_like(side, -0.45)], axis=1)
            mix = smoothstep(0.085, 0.04, p[:, 1])[:, None]
            way = combed * (1 - mix) + np.array([0.0, -1.0, -0.55]) * mix
            return _unit(_along(way, n)) + jitter

        length = (0.013 + 0.037 * top * rng.uniform(0.7, 1.1, len(roots))) * (0.35 + 0.65 * edge)
        layer = (0.002 + 0.007 * top * rng.uniform(0.1, 1, len(roots))) * (0.3 + 0.7 * edge)
        points, outward = self._grow(roots, normals, length, layer, flow, 4, 0.5)
        return [self._strands(points, outward, 0.0021, rng)]

    def _medium(self, rng: np.random.Generator) -> list[Strands]:
        roots, normals, _ = self._scalp_roots(3200, rng)
        side = np.where(roots[:, 0] > 0, 1.0, -1.0)[:, None]
        wave = rng.normal(0, 0.04, roots.shape)
        front = smoothstep(-0.06, 0.0, roots[:, 2])[:, None]

        def flow(p: Array, n: Array) -> Array:
            fall = smoothstep(0.09, 0.035, p[:, 1])[:, None]
            over = np.concatenate([side, np.full_like(side, -0.1), -0.35 - 0.5 * front], axis=1)
            down = np.concatenate([np.zeros_like(side), np.full_like(side, -1.0), -0.1 * front], axis=1)
            inwards = np.concatenate([-side * 4 * np.maximum(0, np.abs(p[:, :1]) - 0.088), 0 * side, 0 * side], axis=1)
            return _unit(_along(over * (1 - fall) + down * fall, n)) + inwards + wave

        # the ends meet at one height: a strand is as long as its way down
        end_y = -0.115 + rng.normal(0, 0.008, len(roots))
        across = np.maximum(0.0, 0.075 - np.abs(roots[:, 0])) * (roots[:, 1] > 0.05)
        length = np.maximum((roots[:, 1] - end_y) + 0.75 * across, 0.02)
        layer = 0.002 + 0.009 * rng.uniform(size=len(roots))
        points, outward = self._grow(roots, normals, length, layer, flow, 9, 0.3, clear_of_ears=True)
        return [self._strands(points, outward, 0.0040, rng)]

    def _tied(self, rng: np.random.Generator) -> list[Strands]:
        roots, normals, _ = self._scalp_roots(3000, rng)
        jitter = rng.normal(0, 0.025, roots.shape)
        length = np.linalg.norm(KNOT - roots, axis=1) * 1.3
        layer = 0.0028 + 0.003 * rng.uniform(size=len(roots))
        points, outward = self._grow(
            roots, normals, length, layer, lambda p, n: _unit(_along(_unit(KNOT - p), n)) + jitter, 9, 0.2, goal=KNOT
        )
        return [self._strands(points, outward, 0.0034, rng), self._knot(rng)]

    def _knot(self, rng: np.random.Generator) -> Strands:
        """Strands wound around a ball."""
        num, length = 700, 8
        axis = _unit(np.array([0.25, 0.9, -0.2]) + rng.normal(0, 0.35, (num, 3)))
        first = _unit(np.cross(axis, rng.normal(size=(num, 3))))
        second = np.cross(axis, first)
        latitude = rng.uniform(-1.1, 1.1, (num, 1, 1))
        turn = rng.uniform(0, 2 * np.pi, (num, 1)) + np.linspace(0, 1.6, length)
        circle = np.cos(turn)[..., None] * first[:, None] + np.sin(turn)[..., None] * second[:, None]
        outward = np.cos(latitude) * circle + np.sin(latitude) * axis[:, None]
        radius = KNOT_RADIUS_M * rng.uniform(0.86, 1.03, (num, 1, 1))
        return Strands(
            KNOT + radius * outward * np.array([1.1, 0.85, 1.0]),
            outward,
            np.full(num, 0.0034),
            self._carrier,
            rng.normal(size=num),
        )

    def _brows(self) -> Strands:
        """Brow hairs; `mark` is the distance from the brow's middle line relative to a woman's half thickness."""
        rng = np.random.default_rng(2)
        s, y = np.abs(self._places[:, 0]), self._places[:, 1]
        roots, normals = self._roots((s < 62) & (y > 5) & (y < 35) & (self._mean[:, 2] > -0.03), 12000, rng)
        place = chart(roots)
        s = np.abs(place[:, 0])
        line, half = brow_line_mm(s)
        mark = np.abs(place[:, 1] - line) / half
        keep = np.flatnonzero((s > 11) & (s < 54) & (mark < 1.5))[:1100]
        roots, normals, s, mark = roots[keep], normals[keep], s[keep], mark[keep]
        rise = np.interp(s, [11, 18, 35, 54], [0.9, 0.45, 0.0, -0.6]) + rng.normal(0, 0.15, len(s))
        sign = np.sign(roots[:, 0])
        way = np.stack([sign * 0.9, rise, np.zeros_like(s)], axis=-1)
        points, outward = self._grow(
            roots, normals, rng.uniform(0.004, 0.0075, len(s)), np.full(len(s), 0.0009),
            lambda p, n: _along(way, n), 2, 0.35,
        )  # fmt: skip
        return Strands(points, outward, np.full(len(s), 0.0007), self._carrier, mark)


def brow_line_mm(s: Array) -> tuple[Array, Array]:
    """Height of the brow's middle line over the eyes and its half thickness, mm, at `s` mm from the middle."""
    line = np.interp(s, [11, 24, 37, 46, 54], [16.5, 19.5, 21.5, 20.0, 15.5])
    return line, np.interp(s, [11, 18, 36, 54], [2.6, 3.2, 2.5, 0.8])


def strand_colours(speaker: Speaker, mark: Array, length: int) -> Array:
    """Colours [K * length * 2, 3] of ribbons, darker at the root and a little different from strand to strand."""
    base = np.array(COLOURS[speaker.hair_colour])
    each = base * np.exp(0.28 * mark[:, None])
    along = np.linspace(0.85, 1.15, length)
    return np.repeat((each[:, None, :] * along[None, :, None]).reshape(-1, 3), 2, axis=0)
