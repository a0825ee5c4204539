"""The similarity against a least-squares solver, the warp against OpenCV's conventions in closed form."""

import numpy as np
import pytest
import torch

from speech2face.face_networks.alignment import align_similarity, similarity_transform, warp_affine

TEMPLATE = torch.tensor([[38.0, 52.0], [74.0, 51.0], [56.0, 72.0], [42.0, 92.0], [71.0, 92.0]], dtype=torch.float64)


def least_squares(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """u = a x - b y + c, v = b x + a y + d, solved for (a, b, c, d) without any closed form."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


def test_similarity_is_the_least_squares_solution():
    source = np.random.default_rng(0).uniform(0, 224, (6, 5, 2))
    actual = similarity_transform(torch.from_numpy(source), TEMPLATE)
    expected = np.stack([least_squares(points, TEMPLATE.numpy()) for points in source])
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


def test_similarity_recovers_a_known_turn_and_does_not_mirror():
    angle, scale, shift = 0.7, 1.8, torch.tensor([30.0, -5.0], dtype=torch.float64)
    turn = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = (TEMPLATE - shift) @ torch.linalg.inv(turn).T
    matrix = similarity_transform(source[None], TEMPLATE)[0]
    torch.testing.assert_close(matrix, torch.cat([turn, shift[:, None]], 1))
    mirrored = similarity_transform((source * torch.tensor([-1.0, 1.0]))[None], TEMPLATE)[0]
    assert torch.linalg.det(mirrored[:, :2]) > 0


def test_similarity_gradient():
    source = torch.from_numpy(np.random.default_rng(1).uniform(0, 224, (2, 5, 2))).requires_grad_()
    assert torch.autograd.gradcheck(lambda points: similarity_transform(points, TEMPLATE), source)


def test_warp_follows_the_matrix_on_a_ramp():
    """A picture whose values are x + 1000 y shows at each place where it was sampled; bilinear is exact on it."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    picture = (x + 1000 * y).double()[None, None]
    matrix = torch.tensor([[[0.5, -0.2, 4.0], [0.2, 0.5, -1.0]]], dtype=torch.float64)
    warped = warp_affine(picture, matrix, 16)[0, 0]
    for row, column in ((2, 6), (5, 8), (9, 12)):
        source_x, source_y = np.linalg.solve(
            matrix[0, :, :2].numpy(), np.array([column, row]) - matrix[0, :, 2].numpy()
        )
        assert 0 < source_x < 59 and 0 < source_y < 39
        assert warped[row, column] == pytest.approx(source_x + 1000 * source_y)


def test_warp_by_identity_is_a_crop_and_black_outside():
    pictures = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(2, 2, 3)
    torch.testing.assert_close(warp_affine(pictures, identity, 10), pictures[:, :, :10, :10], atol=1e-5, rtol=0)
    shifted = identity.clone()
    shifted[:, 0, 2] = 5  # everything five pixels to the right
    warped = warp_affine(pictures, shifted, 10)
    assert warped[:, :, :, :4].abs().max() == 0
    torch.testing.assert_close(warped[:, :, :, 5:], pictures[:, :, :10, :5], atol=1e-5, rtol=0)


def test_warp_gradient():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    matrix = torch.tensor([[[0.9, -0.11, 0.53], [0.11, 0.9, 0.27]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image, map_: warp_affine(image, map_, 5), (pictures, matrix))


def test_wrong_shapes_and_points_are_refused():
    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(torch.ones(1, 5, 2), TEMPLATE)
    with pytest.raises(ValueError, match="finite"):
        similarity_transform(torch.full((1, 5, 2), torch.nan), TEMPLATE)
    with pytest.raises(ValueError, match=r"\[..., N, 2\]"):
        similarity_transform(torch.zeros(1, 4, 2), TEMPLATE)
    with pytest.raises(ValueError, match=r"matrix must be \[2, 2, 3\]"):
        warp_affine(torch.zeros(2, 3, 8, 8), torch.zeros(1, 2, 3), 4)


def test_alignment_undoes_any_similarity():
    rng = np.random.default_rng(1)
    target = rng.normal(size=(68, 2)) * 40 + 112
    angle, scale = 0.4, 1.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = scale * target @ turn.T + [30, -12]
    np.testing.assert_allclose(align_similarity(moved, target), target, atol=1e-9)


def test_alignment_is_the_least_squares_one_and_never_mirrors():
    from scipy.optimize import minimize

    rng = np.random.default_rng(2)
    points, target = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))

    def error(p: np.ndarray) -> float:
        matrix = np.array([[p[0], -p[1]], [p[1], p[0]]])
        return float(((points @ matrix.T + p[2:] - target) ** 2).sum())

    best = min(minimize(error, start).fun for start in rng.normal(size=(5, 4)))
    aligned = align_similarity(points, target)
    assert ((aligned - target) ** 2).sum() == pytest.approx(best, rel=1e-6)
    flipped = align_similarity(points * [-1, 1], points)
    assert np.linalg.norm(flipped - points) > 1
