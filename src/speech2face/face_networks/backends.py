"""The face features that a run uses, three networks behind one small interface."""

from pathlib import Path
from typing import Protocol, Self

import torch

from speech2face.dlib_nets.models import EMBEDDER, model_path
from speech2face.face_networks.arcface import load_arcface, recognition_path
from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.face_networks.files.weights import load_vgg_face
from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.head import LinearHead, head_of_vgg_face
from speech2face.pipeline.params import Features, resolve_path
from speech2face.pipeline.provenance import file_digest


class Backend(Protocol):
    """A frozen face network: float32 crops [B, 3, 224, 224] RGB in 0..1 and landmarks [B, 68, 2] (x, y) to features [B, feature_dim]."""

    feature_dim: int

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Features of face crops, differentiable with respect to both arguments where the network looks at both."""

    def to(self, device: torch.device) -> Self:
        """The same network on another device."""


def load_backend(features: Features) -> Backend:
    """The network of the `features` section of params.yaml, on the CPU.

    Raises ValueError or FileNotFoundError, with the remedy, where its weights are missing or not what they should be.
    """
    match features.backend:
        case "dlib_resnet":
            return DlibResnet()
        case "vgg_face":
            return load_vgg_face(_weights(features), features.layer)
        case "arcface":
            return load_arcface(_pack(features))


def weight_digests(features: Features) -> dict[str, str]:
    """SHA-256 of the weight file that a backend reads, by the backend's name, so that a file may move without a recomputation."""
    match features.backend:
        case "dlib_resnet":
            path = model_path(EMBEDDER)
        case "vgg_face":
            path = _weights(features)
        case "arcface":
            path = recognition_path(_pack(features))
    return {features.backend: file_digest(path)}


def own_head(backend: Backend) -> LinearHead | None:
    """The classifier's last layer that came with a backend's weights, or None."""
    return head_of_vgg_face(backend) if isinstance(backend, VggFace) else None


def _weights(features: Features) -> Path:
    path = resolve_path(features.weights or "")
    if not path.is_file():
        raise FileNotFoundError(
            f"features.weights {path} is not a file; set it to a VGG-Face weight file (see docs/data.md)"
        )
    return path


def _pack(features: Features) -> Path | None:
    """Folder of insightface's model pack, None for the usual one."""
    return None if features.weights is None else resolve_path(features.weights)
