"""Face features by dlib's ResNet, differentiable from the picture and its landmarks to the 128 numbers.

The aligned chip is cut as dlib does (`get_face_chip_details`, `chip_details` and `extract_image_chips` in
dlib 20.0.1's `image_transforms/interpolation.h`): the least-squares similarity from the mean positions of 33 landmarks
to where they were found, then bilinear sampling. Two things differ, so that gradients flow: dlib cuts each sampled
value off to a whole number, and it samples faces of more than 300 px from an image pyramid, which crops of 224 px do
not need.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from speech2face.dlib_nets.embedder import load_embedder
from speech2face.dlib_nets.weights import EMBEDDER, SHA256
from speech2face.face_networks.alignment import similarity_transform

CROP_SIZE_PX = 224
CHIP_SIZE_PX = 150
CHIP_PADDING = 0.25
NUM_LANDMARKS = 68

# Nose, eyes, and the lips without the lower one: dlib leaves out jaw, brows and what moves most in speech.
_USED_LANDMARKS = [*range(27, 55), *range(60, 65)]
# Mean (x, y) of these in a face whose box is the unit square (get_face_chip_details).
_MEAN_SHAPE = (
    *((0.490127, 0.203352), (0.490127, 0.307009), (0.490127, 0.409805), (0.490127, 0.515625), (0.366880, 0.587326)),
    *((0.426036, 0.609345), (0.490127, 0.628106), (0.554217, 0.609345), (0.613373, 0.587326), (0.121737, 0.216423)),
    *((0.187122, 0.178758), (0.265825, 0.179852), (0.334606, 0.231733), (0.260918, 0.245099), (0.182743, 0.244077)),
    *((0.645647, 0.231733), (0.714428, 0.179852), (0.793132, 0.178758), (0.858516, 0.216423), (0.797510, 0.244077)),
    *((0.719335, 0.245099), (0.254149, 0.780233), (0.340985, 0.745405), (0.428858, 0.727388), (0.490127, 0.742578)),
    *((0.551395, 0.727388), (0.639268, 0.745405), (0.726104, 0.780233), (0.290379, 0.784792), (0.428096, 0.778746)),
    *((0.490127, 0.785343), (0.552157, 0.778746), (0.689874, 0.784792)),
)
_LOWEST, _HIGHEST = -1e-3, 1 + 1e-3  # a resized or warped crop may leave 0..1 by rounding


class DlibResnet(nn.Module):
    """Crops and landmarks to dlib's 128-dimensional embedding. The parameters are frozen."""

    feature_dim = 128

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        sha256: str | None = SHA256[EMBEDDER],
        device: torch.device | str | None = None,
    ) -> None:
        """Load the embedder; the arguments are those of `dlib_nets.load_embedder`.

        Raises:
            ValueError: if the file is missing, another one, or its network has other sizes.
        """
        super().__init__()
        self.embedder = load_embedder(path, sha256=sha256, device=device)
        sizes = (self.embedder.chip_size_px, self.embedder.feature_dim)
        if sizes != (CHIP_SIZE_PX, self.feature_dim):
            raise ValueError(
                f"the embedder must take {CHIP_SIZE_PX} px and give {self.feature_dim} numbers, not {sizes}"
            )
        self.eval()

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Embed face crops.

        Args:
            crops: float [B, 3, 224, 224], RGB in 0..1.
            landmarks: float [B, 68, 2], (x, y) in pixels of the crop.

        Returns:
            [B, 128]; gradients flow to both arguments.

        Raises:
            ValueError: for another layout or range.
        """
        return self.embedder(face_chips(crops, landmarks))

    forward = embed


def face_chips(crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Cut the aligned chips that the embedder takes: upright, 150 x 150 px, with 25 % of the face around it.

    Args:
        crops: float [B, 3, 224, 224], RGB in 0..1.
        landmarks: float [B, 68, 2], (x, y) in pixels of the crop.

    Returns:
        [B, 3, 150, 150], RGB in 0..255; black outside the crop, as dlib leaves it. Differentiable in both arguments.

    Raises:
        ValueError: for another layout or range.
    """
    _check(crops, landmarks)
    size_px = crops.shape[-1]
    positions = chip_positions(landmarks)
    inside = ((positions >= 0) & (positions < size_px - 1)).all(dim=-1)
    grid = (positions * (2 / (size_px - 1)) - 1).to(crops.dtype)
    chips = F.grid_sample(crops, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return chips * inside[:, None] * 255


def chip_positions(landmarks: torch.Tensor) -> torch.Tensor:
    """Where in the crop each pixel of the chip is sampled.

    dlib takes angle, scale s and centre from the least-squares similarity between mean and found landmarks, and spans
    the 149 steps between the chip's first and last pixel over 150 s - 1 pixels of the picture.

    Args:
        landmarks: [B, 68, 2], (x, y) in pixels of the crop.

    Returns:
        [B, 150, 150, 2] (rows, columns of the chip): (x, y) in pixels of the crop, of the landmarks' type.
    """
    mean = landmarks.new_tensor(_MEAN_SHAPE)
    mean = (mean + CHIP_PADDING) / (1 + 2 * CHIP_PADDING) * CHIP_SIZE_PX
    rotation, shift = similarity_transform(mean, landmarks[:, _USED_LANDMARKS]).split([2, 1], dim=-1)
    scale = torch.linalg.vector_norm(rotation[..., 0], dim=-1).clamp_min(1e-6)
    centre = (rotation @ mean.new_full((2, 1), CHIP_SIZE_PX / 2) + shift)[..., 0]
    steps = (CHIP_SIZE_PX - 1 / scale) / (CHIP_SIZE_PX - 1)
    offsets = torch.arange(CHIP_SIZE_PX, device=mean.device, dtype=mean.dtype) - (CHIP_SIZE_PX - 1) / 2
    rows, columns = torch.meshgrid(offsets, offsets, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).view(1, -1, 2)
    positions = pixels @ (rotation * steps[:, None, None]).mT + centre[:, None]
    return positions.view(-1, CHIP_SIZE_PX, CHIP_SIZE_PX, 2)


def _check(crops: torch.Tensor, landmarks: torch.Tensor) -> None:
    shape = (3, CROP_SIZE_PX, CROP_SIZE_PX)
    if crops.ndim != 4 or crops.shape[1:] != shape or not crops.is_floating_point():
        raise ValueError(
            f"crops must be a float tensor [B, 3, {CROP_SIZE_PX}, {CROP_SIZE_PX}] in 0..1, "
            f"got {crops.dtype} {list(crops.shape)}"
        )
    expected = (len(crops), NUM_LANDMARKS, 2)
    if landmarks.shape != expected or not landmarks.is_floating_point():
        raise ValueError(
            f"landmarks must be a float tensor {list(expected)}, got {landmarks.dtype} {list(landmarks.shape)}"
        )
    if not len(crops):
        return
    low, high = (float(bound) for bound in torch.aminmax(crops.detach()))
    if not _LOWEST <= low <= high <= _HIGHEST:
        raise ValueError(f"crops must be in 0..1, got values from {low:g} to {high:g}; divide pixels of 0..255 by 255")
    if not bool(torch.isfinite(landmarks.detach()).all()):
        raise ValueError("landmarks must be finite")
