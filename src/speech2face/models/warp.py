"""Sparse image warp: a picture moved so that some of its points arrive at given places, differentiable in all of them.

The face decoder of Cole et al. 2017 (arXiv 1701.04851, section 3) draws a texture on the mean face shape and warps it
to the landmarks of one person with a polyharmonic spline. Conventions are those of `tfa.image.sparse_image_warp` of
TensorFlow Addons 0.21:

* points and flow are (y, x) pixels, integers are pixel centres; dlib landmarks are (x, y), swap them first;
* the flow `dest - source` is splined over the picture with the dest points as centres, and
  `warped[p] = image[p - flow[p]]`, bilinear, clamped at the border;
* with r2 a squared distance, phi_1 = sqrt(r2) and phi_2 = r2 log(r2) / 2, where root and logarithm see at least 1e-10;
  the spline sum_i w_i phi(|p - c_i|^2) + (p_y, p_x, 1) v solves [[A + reg I, B], [B^T, 0]] [w; v] = [flow at c; 0].

phi_1 is conditionally *negative* definite, so a positive `regularization` brings the order 1 system nearer to singular:
two dest points about `regularization` pixels apart get a very large flow. That is a property of the operation followed.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ORDERS = (1, 2)
MIN_SQUARED_DISTANCE = 1e-10
CPU_BLOCK, GPU_BLOCK = 280_000, 2**26
"""Distances evaluated at once. On a processor 280,000 float64, 2.2 MB, stay in the caches and are enough for two threads: with a quarter
of them, which would stay in a core's own cache, one thread is as fast and two take half as long again. A GPU wants few and large blocks
(512 MB, 17 pictures)."""


def sparse_image_warp(
    image: Tensor,
    source: Tensor,
    dest: Tensor,
    order: int = 1,
    regularization: float = 0.1,
    num_boundary_points: int = 2,
) -> tuple[Tensor, Tensor]:
    """Warp `image` so that what is at `source` comes to `dest` (Cole et al. 2017, section 3).

    The spline is solved and evaluated in float64 whatever the input (autocast leaves float64 alone): close points have
    large weights of opposite sign, and in float32 the flow of a 224 x 224 picture would be off by 3e-4 px and more.

    Shape:
        image: [B, C, H, W], floating point, H and W at least 2
        source, dest: [B, N, 2], (y, x) pixels
        returns: warped [B, C, H, W] in the dtype of `image`; flow [B, H, W, 2], (y, x) pixels, in the dtype of the
            points, at least float32

    Args:
        order: 1 (phi = r) or 2 (thin plate, phi = r^2 log r).
        regularization: added to the diagonal of the spline's system; 0 interpolates exactly.
        num_boundary_points: n pins 4 n points of the picture's border: 1 its corners, 2 also the middles of its edges.

    Raises:
        ValueError: for wrong shapes or dtypes, an unknown order, a negative regularization or number of boundary
            points, points that are not finite, and points that leave the spline undetermined.
    """
    _check_arguments(image, source, dest, order, regularization, num_boundary_points)
    height, width = image.shape[-2:]
    boundary = boundary_points(height, width, num_boundary_points).to(image.device).expand(len(image), -1, -1)
    centers = torch.cat([dest.double(), boundary], dim=1)
    displacement = torch.cat([dest.double() - source.double(), torch.zeros_like(boundary)], dim=1)
    weights, affine = _solve(centers, displacement, order, regularization)
    flow = _Spline.apply(centers, weights, affine, (height, width), order)
    dtype = torch.promote_types(torch.promote_types(source.dtype, dest.dtype), torch.float32)
    return _sample(image, flow), flow.to(dtype)


def boundary_points(height: int, width: int, num_boundary_points: int) -> Tensor:
    """The border of an (n + 1) x (n + 1) lattice over a picture, float64 [4 n, 2] as (y, x) pixels."""
    n = num_boundary_points
    if n == 0:
        return torch.zeros(0, 2, dtype=torch.float64)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    lattice = torch.cartesian_prod(steps * (height - 1), steps * (width - 1)).reshape(n + 1, n + 1, 2)
    on_border = torch.ones(n + 1, n + 1, dtype=torch.bool)
    on_border[1:-1, 1:-1] = False
    return lattice[on_border]


def _kernel(squared_distance: Tensor, order: int) -> Tensor:
    """phi of the squared distance (pixels squared), any shape."""
    clamped = squared_distance.clamp(min=MIN_SQUARED_DISTANCE)
    return clamped.sqrt() if order == 1 else 0.5 * squared_distance * clamped.log()


def _solve(centers: Tensor, displacement: Tensor, order: int, regularization: float) -> tuple[Tensor, Tensor]:
    """The spline's weights [B, M, 2] and affine part [B, 3, 2] for centers and displacements [B, M, 2], float64."""
    batch, num_centers = centers.shape[:2]
    difference = centers[:, :, None] - centers[:, None]
    squared_distance = difference.square().sum(-1)
    _check_solvable(centers, squared_distance.detach(), regularization)
    eye = torch.eye(num_centers, dtype=centers.dtype, device=centers.device)
    top_left = _kernel(squared_distance, order) + regularization * eye
    linear = torch.cat([centers, centers.new_ones(batch, num_centers, 1)], dim=-1)
    top = torch.cat([top_left, linear], dim=2)
    bottom = torch.cat([linear.mT, centers.new_zeros(batch, 3, 3)], dim=2)
    right = torch.cat([displacement, centers.new_zeros(batch, 3, 2)], dim=1)
    solution, info = torch.linalg.solve_ex(torch.cat([top, bottom], dim=1), right)
    if info.any() or not solution.isfinite().all():
        raise ValueError(
            f"the warp's system is singular (regularization {regularization}): move or merge close dest points"
        )
    return solution[:, :num_centers], solution[:, num_centers:]


class _Spline(torch.autograd.Function):
    """Dense flow [B, H, W, 2] of a spline, a few rows at a time, with its closed-form gradient.

    With s_ip the slope of phi, d phi(|p - c_i|^2) / d c_i = s_ip (c_i - p), the gradient of a centre is
    sum_p (w_i . g_p) s_ip (c_i - p), g the gradient of the flow. Recomputing phi costs less than to keep it: nothing of
    size pixels x centres outlives a chunk.
    """

    @staticmethod
    def forward(
        ctx: Any, centers: Tensor, weights: Tensor, affine: Tensor, size: tuple[int, int], order: int
    ) -> Tensor:
        ctx.save_for_backward(centers, weights)
        ctx.size, ctx.order = size, order
        y, x = _pixel_axes(size, centers.device)
        a = affine[:, :, :, None, None]
        flow = a[:, 0] * y[:, None] + a[:, 1] * x + a[:, 2]  # [B, 2, H, W]
        for batch, rows, r2 in _blocks(centers, size):
            phi = _kernel_(r2, order).flatten(2)
            flow[batch, :, rows] += (weights[batch].mT @ phi).unflatten(2, (-1, size[1]))
        return flow.permute(0, 2, 3, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        centers, weights = ctx.saved_tensors
        grad_flow = grads[0].permute(0, 3, 1, 2)
        y, x = _pixel_axes(ctx.size, centers.device)
        over_columns, over_rows = grad_flow.sum(3), grad_flow.sum(2)
        grad_affine = torch.stack([over_columns @ y, over_rows @ x, over_columns.sum(2)], dim=1)
        grad_weights = torch.zeros_like(weights)
        along_y = centers.new_zeros(*centers.shape[:2], ctx.size[0])  # sum over columns of (w . g) s
        along_x = centers.new_zeros(*centers.shape[:2], ctx.size[1])  # and over rows
        for batch, rows, r2 in _blocks(centers, ctx.size):
            g = grad_flow[batch, :, rows].flatten(2)
            slope, phi = _slope_and_kernel(r2, ctx.order)
            grad_weights[batch] += phi.flatten(2) @ g.mT
            slope *= (weights[batch] @ g).view_as(slope)
            along_y[batch, :, rows] = slope.sum(3)
            along_x[batch] += slope.sum(2)
        grad_centers = torch.stack(
            [((centers[..., :1] - y) * along_y).sum(2), ((centers[..., 1:] - x) * along_x).sum(2)], dim=2
        )
        return grad_centers, grad_weights, grad_affine, None, None


def _blocks(centers: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Pictures, rows and, for them, the squared distances [pictures, M, rows, W] of centers [B, M, 2] to the pixels.

    Direct differences, squared along each axis: |p|^2 - 2 p c + |c|^2 would lose half of the digits near a centre.
    """
    y, x = _pixel_axes(size, centers.device)
    dy2 = (centers[..., :1] - y).square()
    dx2 = (centers[..., 1:] - x).square()[:, :, None]
    most = CPU_BLOCK if centers.device.type == "cpu" else GPU_BLOCK
    num_rows = max(1, min(size[0], most // (centers.shape[1] * size[1])))
    num_pictures = max(1, most // (centers.shape[1] * num_rows * size[1])) if num_rows == size[0] else 1
    for first in range(0, len(centers), num_pictures):
        batch = slice(first, first + num_pictures)
        for top in range(0, size[0], num_rows):
            rows = slice(top, top + num_rows)
            yield batch, rows, dy2[batch, :, rows, None] + dx2[batch]


def _pixel_axes(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    return tuple(torch.arange(n, dtype=torch.float64, device=device) for n in size)  # type: ignore[return-value]


def _kernel_(squared_distance: Tensor, order: int) -> Tensor:
    """As `_kernel`, in the argument's own memory."""
    if order == 1:
        return squared_distance.clamp_(min=MIN_SQUARED_DISTANCE).sqrt_()
    log = squared_distance.clamp(min=MIN_SQUARED_DISTANCE).log_()
    return squared_distance.mul_(log).mul_(0.5)


def _slope_and_kernel(squared_distance: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """s with d phi / d c = s (c - p), and phi. On the pixel itself c - p = 0, so the clamped s does not count there."""
    if order == 1:
        phi = _kernel_(squared_distance, 1)
        return phi.reciprocal(), phi
    log = squared_distance.clamp(min=MIN_SQUARED_DISTANCE).log_()
    phi = squared_distance.mul_(log).mul_(0.5)
    return log.add_(1.0), phi


def _sample(image: Tensor, flow: Tensor) -> Tensor:
    """image[p - flow[p]], bilinear, clamped at the border: [B, C, H, W] and [B, H, W, 2] to [B, C, H, W].

    In float64: a place in float32 is known to 1e-5 px, which shows in the picture.
    """
    height, width = image.shape[-2:]
    y, x = _pixel_axes((height, width), image.device)
    # grid_sample wants (x, y) in -1..1 from the first to the last pixel centre
    grid_x = (x - flow[..., 1]) * (2 / (width - 1)) - 1
    grid_y = (y[:, None] - flow[..., 0]) * (2 / (height - 1)) - 1
    grid = torch.stack([grid_x, grid_y], dim=-1)
    warped = F.grid_sample(image.double(), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return warped.to(image.dtype)


def _check_arguments(image: Tensor, source: Tensor, dest: Tensor, order: int, regularization: float, n: int) -> None:
    if image.ndim != 4 or not image.is_floating_point() or min(image.shape[-2:], default=0) < 2:
        raise ValueError(
            f"image must be floating point [B, C, H, W], H, W >= 2 (got {image.dtype} {list(image.shape)})"
        )
    for name, points in (("source", source), ("dest", dest)):
        if points.ndim != 3 or points.shape[-1] != 2 or not points.is_floating_point():
            raise ValueError(f"{name} must be floating point [B, N, 2] (got {points.dtype} {list(points.shape)})")
        if not points.isfinite().all():
            raise ValueError(f"{name} has points that are NaN or infinite: check the landmarks before warping")
    if source.shape != dest.shape or len(source) != len(image):
        shapes = f"{list(image.shape)}, {list(source.shape)}, {list(dest.shape)}"
        raise ValueError(f"image, source and dest must agree in B, source and dest in N (got {shapes})")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS} (got {order})")
    if not 0 <= regularization < float("inf"):
        raise ValueError(f"regularization must be at least 0 and finite (got {regularization})")
    if n < 0:
        raise ValueError(f"num_boundary_points must be at least 0 (got {n})")


def _check_solvable(centers: Tensor, squared_distance: Tensor, regularization: float) -> None:
    """Centers [B, M, 2] must span the plane and, where the spline passes through all of them, differ."""
    centred = centers.detach() - centers.detach().mean(1, keepdim=True)
    spread = torch.linalg.svdvals(centred) if centers.shape[1] >= 3 else centers.new_zeros(len(centers), 2)
    if (spread[:, 1] <= 1e-9 * spread[:, 0].clamp(min=1.0)).any():
        raise ValueError(
            "dest and boundary points lie on one line: give three that do not, or num_boundary_points >= 1"
        )
    if regularization == 0:
        apart = squared_distance + torch.eye(centers.shape[1], dtype=centers.dtype, device=centers.device)
        if (apart < MIN_SQUARED_DISTANCE).any():
            raise ValueError(
                "two dest or boundary points coincide, which regularization 0 cannot fit: "
                "remove one of them or set a regularization above 0"
            )
