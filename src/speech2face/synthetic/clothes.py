"""A plain round-necked shirt over the shoulders, cut from the skin along a smooth line."""

import numpy as np
from numpy.typing import NDArray

from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.mesh import smoothstep

Array = NDArray[np.float64]
Triangles = NDArray[np.int64]

THICKNESS_M = 0.005
COLLAR_INWARD_M = 0.002
"""The band lies against the neck."""
HIDDEN_BELOW_M = 0.02
COLLAR_POINTS, COLLAR_SIDES, COLLAR_RADIUS_M = 96, 10, 0.0042


def _above_neckline(points: Array) -> Array:
    """Signed height, metres, over the surface that cuts the shirt: a plane that falls towards the front, bent at the throat."""
    x, y, z = points.T
    return y - (-0.158 - 0.42 * (z + 0.07) + 0.05 * np.minimum(np.abs(x) / 0.07, 1.5) ** 2 * 0.3)


class Shirt:
    """The shirt of the mean body as weights on its skin's vertices, so that it fits any speaker."""

    def __init__(self, head: Head) -> None:
        height = _above_neckline(head.mean)
        triangles = np.concatenate([head.faces[:, [0, 1, 2]], head.faces[:, [0, 2, 3]]])
        below = height < 0
        count = below[triangles].sum(axis=1)
        cut = triangles[(count > 0) & (count < 3)]
        edges: dict[tuple[int, int], int] = {}
        new_triangles = [triangles[count == 3]]
        num = len(head.mean)

        def crossing(i: int, j: int) -> int:
            return edges.setdefault((min(i, j), max(i, j)), num + len(edges))

        for triangle in cut.tolist():
            polygon = []
            for i, j in zip(triangle, triangle[1:] + triangle[:1], strict=True):
                if below[i]:
                    polygon.append(i)
                if below[i] != below[j]:
                    polygon.append(crossing(i, j))
            new_triangles += [np.array([[polygon[0], polygon[k], polygon[k + 1]]]) for k in range(1, len(polygon) - 1)]
        ends = np.array(list(edges))
        share = height[ends[:, 0]] / (height[ends[:, 0]] - height[ends[:, 1]])
        self._ends = np.concatenate([np.repeat(np.arange(num)[:, None], 2, 1), ends])
        self._share = np.concatenate([np.zeros(num), share])[:, None]
        kept, compact = np.unique(np.concatenate(new_triangles), return_inverse=True)
        self.triangles: Triangles = compact.reshape(-1, 3)
        self._ends, self._share = self._ends[kept], self._share[kept]
        depth = -height[self._ends[:, 0]] * (1 - self._share[:, 0]) - height[self._ends[:, 1]] * self._share[:, 0]
        self._thickness = (THICKNESS_M * (0.45 + 0.55 * smoothstep(0.0, 0.03, depth)))[:, None]

        hem = np.flatnonzero(kept >= num)
        places = self._between(head.mean)[hem]
        centre = np.array([0.0, 0.0, places[:, 2].mean()])
        angle = np.arctan2(places[:, 0], (places - centre)[:, 2])
        order = np.argsort(angle)
        self._hem, self._hem_angle = hem[order], angle[order]
        hidden = height < -HIDDEN_BELOW_M
        self.seen_skin = ~hidden[head.faces].all(axis=1)
        """Which of the head's faces the shirt leaves in view, with a margin below the neckline."""

    def _between(self, values: Array) -> Array:
        return values[self._ends[:, 0]] * (1 - self._share) + values[self._ends[:, 1]] * self._share

    def fit(self, skin: Array, normals: Array) -> tuple[Array, Array]:
        """Vertices and normals [V, 3] of the shirt on a skin with its normals [N, 3]."""
        normal = self._between(normals)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        return self._between(skin) + self._thickness * normal, normal

    def collar(self, shirt: Array) -> tuple[Array, Array, Triangles]:
        """Vertices, normals and triangles of the band around the neckline of a fitted shirt."""
        angles = np.linspace(-np.pi, np.pi, COLLAR_POINTS, endpoint=False)
        loop = np.stack(
            [np.interp(angles, self._hem_angle, shirt[self._hem, i], period=2 * np.pi) for i in range(3)], axis=-1
        )
        spectrum = np.fft.rfft(loop, axis=0)
        spectrum[9:] = 0  # a smooth band
        loop = np.fft.irfft(spectrum, COLLAR_POINTS, axis=0)
        tangent = np.roll(loop, -1, 0) - np.roll(loop, 1, 0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        outward = loop - loop.mean(axis=0)
        outward -= (outward * tangent).sum(1, keepdims=True) * tangent
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        upward = np.cross(tangent, outward)
        turn = np.linspace(0, 2 * np.pi, COLLAR_SIDES, endpoint=False)[:, None, None]
        normals = np.cos(turn) * outward + np.sin(turn) * upward
        along, around = np.meshgrid(np.arange(COLLAR_POINTS), np.arange(COLLAR_SIDES))
        a = around * COLLAR_POINTS + along
        b = around * COLLAR_POINTS + (along + 1) % COLLAR_POINTS
        c, d = ((x + COLLAR_POINTS) % (COLLAR_POINTS * COLLAR_SIDES) for x in (a, b))
        quads = np.stack([a, b, d, c], axis=-1).reshape(-1, 4)
        vertices = (
            loop
            - COLLAR_INWARD_M * outward
            + COLLAR_RADIUS_M * (np.cos(turn) * outward * 0.7 + np.sin(turn) * upward * 1.6)
        )
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        return vertices.reshape(-1, 3), normals.reshape(-1, 3), triangles
