"""VGG-Face from a user's weight file: load it, or say what it is."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech2face.face_networks.files.isolated import run_isolated
from speech2face.face_networks.store import converted
from speech2face.face_networks.vgg_face import VggFace, open_vgg_face
from speech2face.face_networks.vgg_face_layout import KNOWN_FORMATS, NUM_PARAMETERS
from speech2face.pipeline.provenance import file_digest

KNOWN_SHA256 = {"759266b9614d0fd5d65b97bf716818b746cc77ab5944c7bffc937c6ba9455d8c": "vgg_face_weights.h5 of deepface"}
READER = "speech2face.face_networks.files.vgg_face:describe"


@dataclass(frozen=True)
class WeightFile:
    """What `describe` found in a file that holds VGG-Face, whole and finite."""

    path: Path
    sha256: str
    known_as: str | None  # the public file with this sha256, if it is on record
    format: str
    layout: str
    channel_order: str  # of the input that the file's own network takes
    mean_rgb: tuple[float, float, float]  # subtracted from pixels 0..255 (the average, where the file has a picture)
    channels: tuple[int, ...]
    feature_dim: int
    num_classes: int
    num_parameters: int


def load_vgg_face(path: str | Path, feature_layer: str = "fc7", sha256: str | None = None) -> VggFace:
    """A VGG-Face network from any of the public files, frozen and in evaluation mode, on the CPU.

    The first time the file is converted, in a process of its own; from then on the converted one is mapped into memory,
    see `store.py`. A network of another size than the published is loaded with a line on standard error.

    Args:
        path: `vgg_face_dag.pth`, keras-vggface's or deepface's `.h5`, `VGG_FACE.t7`, MatConvNet's `.mat`.
        feature_layer: "fc7" or "fc7_relu", see `VggFace`.
        sha256: if given, the file must have it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not VGG-Face in a known format, truncated, not finite, code instead of weights, another sha256.
        RuntimeError: too little memory, no process can be started, or the converted file cannot be written.
    """
    path = _existing(path)
    if sha256 is not None and (found := file_digest(path)) != sha256.lower():
        raise ValueError(f"{path}: sha256 must be {sha256} (got {found}): another file, or a damaged one")
    network = open_vgg_face(converted("vgg_face", path), feature_layer)
    if (size := sum(parameter.numel() for parameter in network.parameters())) != NUM_PARAMETERS:
        print(
            f"{path}: not VGG-Face as published, {size:,} parameters instead of {NUM_PARAMETERS:,}; "
            "its features are its own",
            file=sys.stderr,
        )
    return network


def describe(path: str | Path) -> WeightFile:
    """Read and check a file as `load_vgg_face` does, and say what it is; nothing is kept. Raises the same errors."""
    path = _existing(path)
    found: dict[str, Any] = run_isolated(READER, path)
    digest = file_digest(path)
    found |= {name: tuple(found[name]) for name in ("mean_rgb", "channels")}
    return WeightFile(path=path, sha256=digest, known_as=KNOWN_SHA256.get(digest), **found)


def check_command(path: str | Path) -> str:
    """The text of `speech2face weights check FILE`. Raises as `describe`."""
    info = describe(path)
    size = "the published size" if info.num_parameters == NUM_PARAMETERS else "NOT the published size"
    mean = ", ".join(f"{value:.4f}" for value in info.mean_rgb)
    known = f"known: {info.known_as}" if info.known_as else "not on record"
    return "\n".join(
        (
            f"{info.path}: VGG-Face, complete and finite",
            f"  format      {info.format}: {info.layout}",
            f"  sha256      {info.sha256} ({known})",
            f"  input       {info.channel_order}, pixels 0..255 minus red, green, blue {mean}",
            f"  parameters  {info.num_parameters:,} ({size}, {NUM_PARAMETERS:,})",
            f"  features    fc7, {info.feature_dim}; fc8, {info.num_classes} classes",
            "  loaded as   RGB in 0..1; order and mean are handled inside",
        )
    )


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; a VGG-Face weight file is one of {KNOWN_FORMATS}")
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    return path
