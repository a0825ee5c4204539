"""Meshes of quadrilaterals: smoothing by subdivision, and normals; and the step with soft edges that masks are drawn with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

Array = NDArray[np.float64]


def subdivision(faces: NDArray[np.int64], num_vertices: int) -> tuple[csr_matrix, NDArray[np.int64]]:
    """One step of Catmull & Clark (1978) as a matrix [new vertices, vertices] and the new faces [4 M, 4]."""
    num_faces = len(faces)
    sides = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    edges, side_edge, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    num_edges = len(edges)
    face_edges = side_edge.reshape(num_faces, 4)

    def matrix(
        rows: NDArray[np.int64], columns: NDArray[np.int64], values: Array, shape: tuple[int, int]
    ) -> csr_matrix:
        return csr_matrix((values.ravel(), (rows.ravel(), columns.ravel())), shape=shape)

    face_points = matrix(
        np.repeat(np.arange(num_faces), 4), faces, np.full(4 * num_faces, 0.25), (num_faces, num_vertices)
    )
    ends = matrix(np.repeat(np.arange(num_edges), 2), edges, np.full(2 * num_edges, 0.5), (num_edges, num_vertices))
    inner = (count == 2).astype(np.float64)
    edge_faces = matrix(
        face_edges, np.repeat(np.arange(num_faces), 4), np.full(4 * num_faces, 0.5), (num_edges, num_faces)
    )
    scale = csr_matrix((1 - 0.5 * inner, (np.arange(num_edges), np.arange(num_edges))))
    half_inner = csr_matrix((0.5 * inner, (np.arange(num_edges), np.arange(num_edges))))
    edge_points = scale @ ends + half_inner @ (edge_faces @ face_points)

    valence = np.bincount(edges.ravel(), minlength=num_vertices).astype(np.float64)
    on_rim = np.zeros(num_vertices, bool)
    on_rim[edges[count == 1].ravel()] = True
    used = (valence > 0) & ~on_rim
    face_valence = np.bincount(faces.ravel(), minlength=num_vertices)
    safe, face_safe = np.maximum(valence, 1), np.maximum(face_valence, 1)
    vertex_faces = matrix(faces, np.repeat(np.arange(num_faces), 4), (1 / face_safe)[faces], (num_vertices, num_faces))
    vertex_edges = matrix(edges, np.repeat(np.arange(num_edges), 2), (1 / safe)[edges], (num_vertices, num_edges))
    own = np.where(used, (safe - 3) / safe, 1.0)
    per_face = np.where(used, 1 / safe, 0.0)
    per_edge = np.where(used, 2 / safe, 0.0)

    def diagonal(values: Array) -> csr_matrix:
        return csr_matrix((values, (np.arange(num_vertices), np.arange(num_vertices))))

    vertex_points = (
        diagonal(own) + diagonal(per_face) @ vertex_faces @ face_points + diagonal(per_edge) @ (vertex_edges @ ends)
    )
    face_ids = num_vertices + num_edges + np.arange(num_faces)
    new_faces = np.stack(
        [
            faces,
            num_vertices + face_edges,
            np.repeat(face_ids[:, None], 4, 1),
            num_vertices + np.roll(face_edges, 1, 1),
        ],
        axis=-1,
    ).reshape(-1, 4)
    return vstack([vertex_points, edge_points, face_points]).tocsr(), new_faces


def smoothstep(low: float, high: float, x: NDArray[np.floating[Any]]) -> Array:
    """0 below `low`, 1 above `high` (or the reverse where `low > high`), a smooth cubic between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def vertex_normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """Unit normals [N, 3] of a mesh of quadrilaterals, weighted by area."""
    a, b, c, d = (vertices[faces[:, i]] for i in range(4))
    face_normals = np.cross(c - a, d - b)
    corner, face = faces.ravel(), np.repeat(np.arange(len(faces)), 4)
    normals = np.stack([np.bincount(corner, face_normals[face, i], len(vertices)) for i in range(3)], axis=-1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
