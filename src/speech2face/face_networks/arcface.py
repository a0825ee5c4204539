"""ArcFace features (Deng et al., CVPR 2019) and age and sex, from an insightface model pack that is on disk already.

`files/insightface_pack.py` reads the pack; PyTorch runs the graphs, so that gradients reach the crops.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech2face.face_networks.alignment import similarity_transform, warp_affine
from speech2face.face_networks.converted import read_converted
from speech2face.face_networks.onnx_network import OnnxNetwork
from speech2face.face_networks.store import converted
from speech2face.face_networks.vgg_face import check_crops
from speech2face.pipeline.rejects import first_line

RECOGNITION_SIZE_PX = 112
ATTRIBUTES_SIZE_PX = 96
# Eye centres, tip of the nose, corners of the mouth, left to right in the picture (insightface's face_align.py).
TEMPLATE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
BOX_MARGIN = 1.5  # the attribute model sees a square of 1.5 times the box's longer side
FOREHEAD = 1 / 3  # above the brows, of the height from brows to chin


class ArcFace(nn.Module):
    """A recognition model: crops and landmarks to embeddings, not normalised to unit length (compare by cosine)."""

    template: Tensor

    def __init__(self, network: OnnxNetwork, input_mean: float, input_std: float) -> None:
        super().__init__()
        self.network = network
        self.input_mean, self.input_std = input_mean, input_std
        self.register_buffer("template", torch.tensor(TEMPLATE_112), persistent=False)
        self.feature_dim = _probe(network, RECOGNITION_SIZE_PX)

    def embed(self, crops: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """Embeddings, differentiable with respect to crops and landmarks.

        Args:
            crops: [B, 3, 224, 224], RGB in 0..1.
            landmarks: [B, 68, 2], (x, y) in crop pixels, dlib's order; needed: the network knows only aligned faces.

        Returns:
            [B, feature_dim].
        """
        check_crops(crops)
        if landmarks is None:
            raise ValueError("arcface needs landmarks [B, 68, 2]: it knows only aligned faces")
        matrix = similarity_transform(five_points(landmarks), self.template)
        return self.network(_scaled(crops, matrix, RECOGNITION_SIZE_PX, self.input_mean, self.input_std))


class AgeSex(NamedTuple):
    """Estimates for B faces."""

    age_years: Tensor  # [B]
    male_probability: Tensor  # [B], 0..1


class AgeSexEstimator(nn.Module):
    """insightface's small model of age and sex (`genderage.onnx`): an instrument of the evaluation, with its biases."""

    def __init__(self, network: OnnxNetwork, input_mean: float, input_std: float) -> None:
        super().__init__()
        self.network = network
        self.input_mean, self.input_std = input_mean, input_std
        if (num_outputs := _probe(network, ATTRIBUTES_SIZE_PX)) != 3:
            raise ValueError(f"the age and sex model must give 3 numbers a face (got {num_outputs})")

    def estimate(self, crops: Tensor, boxes: Tensor) -> AgeSex:
        """Age and sex of faces, by a square of 1.5 times each box, upright.

        Args:
            crops: [B, 3, 224, 224], RGB in 0..1.
            boxes: [B, 4], left, top, right, bottom of the face in crop pixels, forehead to chin; see `face_boxes`.
        """
        check_crops(crops)
        if boxes.shape != (len(crops), 4) or not bool((boxes[:, 2:] > boxes[:, :2]).all()):
            raise ValueError(f"boxes must be [{len(crops)}, 4], left < right and top < bottom (got {boxes.tolist()})")
        scale = ATTRIBUTES_SIZE_PX / (BOX_MARGIN * (boxes[:, 2:] - boxes[:, :2]).amax(1))
        shift = ATTRIBUTES_SIZE_PX / 2 - scale[:, None] * (boxes[:, :2] + boxes[:, 2:]) / 2
        matrix = torch.cat([scale[:, None, None] * torch.eye(2).to(boxes), shift[:, :, None]], 2)
        female, male, age = self.network(
            _scaled(crops, matrix, ATTRIBUTES_SIZE_PX, self.input_mean, self.input_std)
        ).unbind(1)
        return AgeSex(age_years=age * 100, male_probability=torch.sigmoid(male - female))


def five_points(landmarks: Tensor) -> Tensor:
    """[B, 68, 2] landmarks in dlib's order to [B, 5, 2]: eye centres, tip of the nose, corners of the mouth."""
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise ValueError(f"landmarks must be [B, 68, 2], (x, y) in crop pixels (got {list(landmarks.shape)})")
    eyes = [landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)]
    return torch.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], 1)


def face_boxes(landmarks: Tensor) -> Tensor:
    """[B, 68, 2] landmarks to [B, 4] boxes such as a face detector draws: the points have no forehead, so a third of
    the height from brows to chin is added above."""
    left_top, right_bottom = landmarks.amin(1), landmarks.amax(1)
    top = left_top[:, 1:] - FOREHEAD * (right_bottom - left_top)[:, 1:]
    return torch.cat([left_top[:, :1], top, right_bottom], 1)


def load_arcface(folder: Path) -> ArcFace:
    """The recognition model of a pack, converted the first time, see `store.py`.

    Args:
        folder: of the pack's .onnx files.

    Raises:
        FileNotFoundError: no such file; the message says which is missing and where it goes.
        ValueError: an unreadable model, or operators that are not supported.
        RuntimeError: the model cannot be converted for want of memory or room.
    """
    path = converted("arcface", folder)
    with _naming(folder):
        return open_arcface(path)


def load_age_sex(folder: Path) -> AgeSexEstimator:
    """The age and sex model of a pack. Argument and errors as `load_arcface`."""
    path = converted("age_sex", folder)
    with _naming(folder):
        return open_age_sex(path)


def open_arcface(path: Path) -> ArcFace:
    """The recognition model of a converted file, its weights mapped into memory; on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, operators that are not supported, outputs of another shape.
    """
    weights, description = read_converted(path, "arcface")
    network = OnnxNetwork(description["graph"], weights)
    return ArcFace(network, description["input_mean"], description["input_std"])


def open_age_sex(path: Path) -> AgeSexEstimator:
    """The age and sex model of a converted file. Errors as `open_arcface`."""
    weights, description = read_converted(path, "age_sex")
    network = OnnxNetwork(description["graph"], weights)
    return AgeSexEstimator(network, description["input_mean"], description["input_std"])


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Errors of a converted model name the folder that the user knows."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def _probe(network: OnnxNetwork, size_px: int) -> int:
    """Outputs a face. Two faces are tried, because a graph that was exported for one alone fails only on more."""
    try:
        with torch.no_grad():
            output = network(torch.zeros(2, 3, size_px, size_px))
    except RuntimeError as error:
        raise ValueError(f"the model does not take two faces at a time ({first_line(error)})") from error
    if output.ndim != 2 or len(output) != 2:
        raise ValueError(f"the model must give [B, D] (got {list(output.shape)} for two faces)")
    return output.shape[1]


def _scaled(crops: Tensor, matrix: Tensor, size_px: int, mean: float, std: float) -> Tensor:
    """Crops warped, as RGB pixels 0..255 less the mean, by the standard deviation. The border is black, not grey."""
    return (warp_affine(crops, matrix, size_px) * 255 - mean) / std
