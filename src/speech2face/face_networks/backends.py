"""The face features that a run uses, three networks behind one small interface."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

import torch

from speech2face.dlib_nets.weights import EMBEDDER, model_path
from speech2face.face_networks.arcface import load_arcface, open_arcface
from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.face_networks.store import converted
from speech2face.face_networks.vgg_face import VggFace, open_vgg_face
from speech2face.face_networks.vgg_face_file import load_vgg_face
from speech2face.models.head import LinearHead, fit_head_of_table
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
    """The network of the `features` section of params.yaml, on the CPU; its weight file is converted the first time.

    Raises ValueError or FileNotFoundError, with the remedy, where its weights are missing or not what they should be, and RuntimeError
    where they cannot be converted for want of memory or room.
    """
    match features.backend:
        case "dlib_resnet":
            return DlibResnet()
        case "vgg_face":
            return load_vgg_face(_source(features), features.layer)
        case "arcface":
            return load_arcface(_source(features))


def open_backend(backend: str, layer: str, weights: Path | None) -> Backend:
    """The network that `load_backend` loads, on the CPU, from the file that `converted_weights` names: no other file is looked at."""
    match backend, weights:
        case "vgg_face", Path():
            return open_vgg_face(weights, layer)
        case "arcface", Path():
            return open_arcface(weights)
        case "dlib_resnet", None:
            return DlibResnet()
    raise ValueError(f"no face network {backend} with the weights {weights}")


def converted_weights(features: Features) -> Path | None:
    """The converted weight file of a backend, made now if need be; None for dlib's, which comes with a package.

    Raises as `load_backend`.
    """
    return None if features.backend == "dlib_resnet" else converted(features.backend, _source(features))


def weight_digests(features: Features) -> dict[str, str]:
    """Digest of a backend's weights by the backend's name, for the fingerprints of what they compute.

    It is the digest of the tensors where a file is converted, so that one which has moved, or holds the same weights in another format,
    recomputes nothing. Raises as `load_backend`.
    """
    weights = converted_weights(features)
    return {features.backend: file_digest(model_path(EMBEDDER)) if weights is None else weights.stem}


def feature_dim(features: Features) -> int:
    """How many numbers describe a face. Raises as `load_backend`."""
    return DlibResnet.feature_dim if features.backend == "dlib_resnet" else load_backend(features).feature_dim


def head_of(features: Features, table: Path, splits: Mapping[str, str]) -> LinearHead:
    """The classifier's last layer: VGG-Face's own, else one fitted to the training speakers of the feature table in the folder `table`.

    Args:
        splits: split of each speaker.

    Raises as `load_backend` and `fit_head_of_table`.
    """
    if features.backend == "vgg_face":
        return head_of_vgg_face(load_vgg_face(_source(features), features.layer))
    return fit_head_of_table(table, splits, features.head_l2)


def head_of_vgg_face(network: VggFace) -> LinearHead:
    """VGG-Face's own fc8, as `VggFace.logits` applies it, without the rest of the network."""
    head = LinearHead(network.feature_dim, network.num_classes, relu=network.feature_layer == "fc7")
    head.load_state_dict(network.fc8.state_dict())
    return head.requires_grad_(False)


def _source(features: Features) -> Path:
    """The user's file or folder."""
    path = resolve_path(features.weights or "")
    if features.backend == "vgg_face" and not path.is_file():
        raise FileNotFoundError(
            f"features.weights {path} is not a file; set it to a VGG-Face weight file (see docs/data.md)"
        )
    return path
