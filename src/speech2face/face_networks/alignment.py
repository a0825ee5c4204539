"""Alignment of faces by points: the least-squares similarity and the warp that applies it, both differentiable."""

import numpy as np
import torch
from torch import Tensor


def similarity_transform(source: Tensor, target: Tensor) -> Tensor:
    """The similarity (rotation, one scale, shift; no mirror) that brings points nearest to a template.

    With both sets centred and read as complex numbers, the least-squares factor is sum(conj(s) t) / sum(|s|^2): the
    solution of Umeyama (1991) in two dimensions where no reflection is allowed.

    Args:
        source: [..., N, 2], (x, y) in pixels.
        target: [..., N, 2], (x, y) in pixels; either may be one template for a batch of the other.

    Returns:
        [..., 2, 3], target = matrix @ (x, y, 1).

    Raises:
        ValueError: fewer than two points, other shapes, or source points that all coincide.
    """
    if source.shape[-1:] != (2,) or source.ndim < 2 or source.shape[-2] < 2 or source.shape[-2:] != target.shape[-2:]:
        raise ValueError(
            f"source and target must be [..., N, 2], N at least 2 (got {[*source.shape]}, {[*target.shape]})"
        )
    target = target.to(source)
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    x, y = (source - source_mean[..., None, :]).unbind(-1)
    u, v = (target - target_mean[..., None, :]).unbind(-1)
    spread = (x**2 + y**2).sum(-1)
    if not bool((spread > 0).all()):
        raise ValueError("source points must be finite and must not all coincide: there is no face to align")
    real = (x * u + y * v).sum(-1) / spread
    imaginary = (x * v - y * u).sum(-1) / spread
    linear = torch.stack([torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], -2)
    shift = target_mean[..., None] - linear @ source_mean[..., None]
    return torch.cat([linear, shift], -1)


def align_similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`points` [N, 2] moved, turned and scaled onto `target` [N, 2], least squares, in float64."""
    matrix = similarity_transform(*(torch.from_numpy(p.astype(np.float64)) for p in (points, target))).numpy()
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp_affine(crops: Tensor, matrix: Tensor, size_px: int) -> Tensor:
    """Apply affine maps to pictures: bilinear, black outside, whole numbers are pixel centres (as in OpenCV).

    Args:
        crops: [B, C, H, W].
        matrix: [B, 2, 3], from (x, y) in `crops` to (x, y) in the result, pixels.
        size_px: side of the square result.

    Returns:
        [B, C, size_px, size_px], with gradients for crops and matrix.
    """
    height, width = crops.shape[2:]
    if matrix.shape != (len(crops), 2, 3):
        raise ValueError(f"matrix must be [{len(crops)}, 2, 3], one for each crop (got {list(matrix.shape)})")
    matrix = matrix.to(crops)
    steps = torch.arange(size_px, dtype=crops.dtype, device=crops.device)
    places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
    points = (places - matrix[:, None, :, 2]) @ torch.linalg.inv(matrix[:, :, :2]).transpose(1, 2)
    # grid_sample with align_corners: -1 and 1 are the centres of the outermost pixels.
    grid = points * 2 / points.new_tensor([width - 1, height - 1]) - 1
    grid = grid.reshape(len(crops), size_px, size_px, 2)
    return torch.nn.functional.grid_sample(crops, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
