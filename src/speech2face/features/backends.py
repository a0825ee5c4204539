"""The face features that a run uses, behind one small interface."""

from pathlib import Path
from typing import Protocol, Self

import torch
from torch import nn

from speech2face.dlib_nets.models import EMBEDDER, model_path
from speech2face.features.dlib_resnet import DlibResnet
from speech2face.features.head import LinearHead
from speech2face.models.weights_io import load_network
from speech2face.provenance import file_digest


class Backend(Protocol):
    """A frozen face network: float32 crops [B, 3, 224, 224] RGB in 0..1 and landmarks [B, 68, 2] (x, y) to features [B, feature_dim]."""

    feature_dim: int

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Features of face crops, differentiable with respect to both arguments."""

    def to(self, device: torch.device) -> Self:
        """The same network on another device."""


BACKENDS = {"dlib_resnet": DlibResnet}


def load_backend(name: str) -> Backend:
    """The backend of that name, on the CPU."""
    return BACKENDS[name]()


def weight_digests(name: str) -> dict[str, str]:
    """Names and SHA-256 of the weight files that a backend reads."""
    path = {"dlib_resnet": lambda: model_path(EMBEDDER)}[name]()
    return {path.name: file_digest(path)}


def load_head(name: str, features: Path) -> nn.Module:
    """The face classifier's last layer, [B, feature_dim] to [B, C]: the one that was fitted beside the features."""
    return load_network(LinearHead, features / "head")
