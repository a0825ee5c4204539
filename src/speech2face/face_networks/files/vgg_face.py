"""VGG-Face weights from the files that circulate, told apart by what is in them, not by their names.

Whatever the file's layout, `load_vgg_face` gives the same network with the same features for the same weights: see
`vgg_face.py` for the one form kept inside. A file is loaded whole and checked, or refused with the reason; nothing in
it is ever run.
"""

import math
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speech2face.face_networks.files import keras_h5, matlab, torch7
from speech2face.face_networks.files.trial import TrialError, failure, try_reading
from speech2face.face_networks.vgg_face import VggFace
from speech2face.face_networks.vgg_face_layout import (
    CONV_NAMES,
    CONVS_PER_BLOCK,
    FC_NAMES,
    FORMATS,
    KNOWN_FORMATS,
    MEAN_RGB,
    another_network,
    check_widths,
    differences,
)
from speech2face.pipeline.provenance import file_digest

Arrays = Mapping[str, np.ndarray | Tensor]
PUBLISHED_NUM_PARAMETERS = 145_002_878
MAX_ARRAY_SIZE = 2**28  # the largest real array, that of fc6, has 1.03e8 numbers
KNOWN_SHA256 = {"759266b9614d0fd5d65b97bf716818b746cc77ab5944c7bffc937c6ba9455d8c": "vgg_face_weights.h5 of deepface"}


@dataclass(frozen=True)
class WeightFile:
    """What `describe` found in a file that holds VGG-Face, whole and finite."""

    path: Path
    format: str
    layout: str
    sha256: str
    known_as: str | None  # the public file with this sha256, if it is on record
    channel_order: str  # of the input that the file's own network takes
    mean_rgb: tuple[float, float, float]  # subtracted from pixels 0..255 (the average, where the file has a picture)
    channels: tuple[int, ...]
    feature_dim: int
    num_classes: int
    num_parameters: int


def load_vgg_face(path: str | Path, feature_layer: str = "fc7", sha256: str | None = None) -> VggFace:
    """A VGG-Face network from any of the public files, frozen and in evaluation mode, on the CPU.

    One of another size than the published is loaded with a line on standard error. HDF5 and MATLAB files are first read
    in a process of their own, see `trial.py`; for a full-size file that takes 1 to 4 s more.

    Args:
        path: `vgg_face_dag.pth`, keras-vggface's or deepface's `.h5`, `VGG_FACE.t7`, MatConvNet's `.mat`.
        feature_layer: "fc7" or "fc7_relu", see `VggFace`.
        sha256: if given, the file must have it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not VGG-Face in a known format, truncated, not finite, code instead of weights, another sha256.
        RuntimeError: too little memory, or no process can be started.
    """
    path = _existing(path)
    if sha256 is not None and (found := file_digest(path)) != sha256.lower():
        raise ValueError(f"{path}: sha256 must be {sha256} (got {found}): another file, or a damaged one")
    _, tensors, mean = _read(path)
    if (size := _num_parameters(tensors)) != PUBLISHED_NUM_PARAMETERS:
        print(
            f"{path}: not VGG-Face as published, {size:,} parameters instead of {PUBLISHED_NUM_PARAMETERS:,}; "
            "its features are its own",
            file=sys.stderr,
        )
    return _build(tensors, mean, feature_layer)


def describe(path: str | Path) -> WeightFile:
    """Read and check a file as `load_vgg_face` does, and say what it is. Raises the same errors."""
    path = _existing(path)
    name, tensors, mean = _read(path)
    digest = file_digest(path)
    red, green, blue = mean.reshape(3, -1).mean(1).tolist()
    return WeightFile(
        path=path,
        format=name,
        layout=FORMATS[name].layout,
        sha256=digest,
        known_as=KNOWN_SHA256.get(digest),
        channel_order=FORMATS[name].channel_order,
        mean_rgb=(red, green, blue),
        channels=tuple(len(tensors[f"conv{block}_1.bias"]) for block in range(1, len(CONVS_PER_BLOCK) + 1)),
        feature_dim=len(tensors["fc7.bias"]),
        num_classes=len(tensors["fc8.bias"]),
        num_parameters=_num_parameters(tensors),
    )


def check_command(path: str | Path) -> str:
    """The text of `speech2face weights check FILE`. Raises as `describe`."""
    info = describe(path)
    size = "the published size" if info.num_parameters == PUBLISHED_NUM_PARAMETERS else "NOT the published size"
    mean = ", ".join(f"{value:.4f}" for value in info.mean_rgb)
    known = f"known: {info.known_as}" if info.known_as else "not on record"
    return "\n".join(
        (
            f"{info.path}: VGG-Face, complete and finite",
            f"  format      {info.format}: {info.layout}",
            f"  sha256      {info.sha256} ({known})",
            f"  input       {info.channel_order}, pixels 0..255 minus red, green, blue {mean}",
            f"  parameters  {info.num_parameters:,} ({size}, {PUBLISHED_NUM_PARAMETERS:,})",
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


def _read(path: Path) -> tuple[str, dict[str, Tensor], Tensor]:
    """Format, tensors in canonical form, mean."""
    mean = np.array(MEAN_RGB, np.float32)
    arrays: Arrays
    try:
        kind = _container(path)
        if kind == "pytorch":
            name, arrays = kind, _read_pytorch(path)
        elif kind == "hdf5":
            try_reading(keras_h5.read, path)
            name, arrays = keras_h5.read(path)
        elif kind == "torch7":
            name, arrays = torch7.read(path)
        else:
            try_reading(matlab.read, path)
            name, arrays, mean = matlab.read(path)
        return name, _canonical(arrays, FORMATS[name].channel_order), torch.from_numpy(mean)
    except MemoryError as error:
        raise RuntimeError(f"{path}: there is too little memory to read it; a full-size file takes 2 GB") from error
    except TrialError:
        raise
    except Exception as error:  # what h5py, scipy and torch raise on damaged files has no common class
        raise ValueError(f"{path}: {failure(error)}") from error


def _num_parameters(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _container(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in members:  # told before PyTorch would recommend to open it with code
            raise another_network("a TorchScript archive, not a state_dict")
        if "data.pkl" in members:
            return "pytorch"
    elif head.startswith(b"PK\x03\x04"):
        raise ValueError("truncated: a zip archive without its end")
    elif head.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."):  # the magic number of torch.save before 1.6
        return "pytorch"
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    elif head[:8] in (struct.pack("<ii", torch7.OBJECT, 1), struct.pack("<ii", torch7.TABLE, 1)):
        return "torch7"
    elif head.startswith(b"MATLAB 5.0 MAT-file"):
        return "matlab"
    reason = "unknown format"
    if not head:
        reason = "the file is empty"
    elif head.startswith(b"MATLAB 7.3 MAT-file"):
        reason = "a MATLAB 7.3 file; save it again in MATLAB with the option -v7"
    elif head.startswith(b"version https://git-lfs"):
        reason = "a Git LFS pointer, not the file itself: run git lfs pull"
    elif head.lstrip()[:1] == b"<":
        reason = "a web page, not weights: the download failed"
    elif head.startswith(b"4\n1\n"):
        reason = "a Torch7 file in its ASCII form; save it again in the binary form"
    elif head[:1] == b"\x80":
        reason = "a bare pickle, which is never opened because it may hold code"
    raise ValueError(f"{reason}; VGG-Face weights are read from {KNOWN_FORMATS}")


def _read_pytorch(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks for {wanted[1]}" if wanted else "is damaged or asks for more than tensors"
        raise ValueError(f"the pickle in it {what}; it was refused and nothing in it was run") from error
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise another_network("the file must hold a state_dict, names to tensors, and nothing else")
    return content


def _canonical(arrays: Arrays, channel_order: str) -> dict[str, Tensor]:
    """Check names, numbers and shapes; copy to float32 with the input channels as RGB."""
    names = [f"{layer}.{kind}" for layer in CONV_NAMES + FC_NAMES for kind in ("weight", "bias")]
    missing, extra = sorted(set(names) - set(arrays)), sorted(set(arrays) - set(names))
    if missing or extra:
        raise another_network(differences(missing, extra, len(names), "arrays"))
    for name in names:
        array = arrays[name]
        is_dense = isinstance(array, np.ndarray) or (array.layout == torch.strided and not array.is_meta)
        size = math.prod(array.shape)
        if not is_dense or not 0 < size <= MAX_ARRAY_SIZE:
            raise ValueError(f"{name} must be a dense array of 1 to {MAX_ARRAY_SIZE} numbers (got {list(array.shape)})")
        if not (array.dtype.kind == "f" if isinstance(array, np.ndarray) else array.is_floating_point()):
            raise ValueError(f"{name} must be floating point (got {array.dtype})")
    _check_shapes(arrays)
    check_widths({name: math.prod(arrays[f"{name}.bias"].shape) for name in CONV_NAMES + FC_NAMES})
    tensors = {}
    for name in names:
        array = arrays[name]
        if isinstance(array, np.ndarray):  # copied, so that no view of a mapped file is kept
            tensor = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
        else:
            tensor = array.detach().to(torch.float32).contiguous()
        if not all(bound.isfinite() for bound in torch.aminmax(tensor)):
            raise ValueError(f"{name} holds NaN or infinity")
        tensors[name] = tensor
    if channel_order == "BGR":
        tensors["conv1_1.weight"] = tensors["conv1_1.weight"].flip(1)
    return tensors


def _check_shapes(arrays: Arrays) -> None:
    for name, expected in _empty(arrays).state_dict().items():
        if tuple(arrays[name].shape) != tuple(expected.shape):
            raise another_network(
                f"wrong shape: {name} must be {list(expected.shape)} to fit its neighbours (got "
                f"{list(arrays[name].shape)}); VGG-Face is VGG-16 with fc6, fc7, fc8"
            )


def _empty(arrays: Arrays, mean: Tensor | None = None, feature_layer: str = "fc7") -> VggFace:
    """The network without memory for its weights, its widths taken from the biases."""
    with torch.device("meta"):
        return VggFace(
            channels=[math.prod(arrays[f"conv{block}_1.bias"].shape) for block in range(1, len(CONVS_PER_BLOCK) + 1)],
            fc6_dim=math.prod(arrays["fc6.bias"].shape),
            fc7_dim=math.prod(arrays["fc7.bias"].shape),
            num_classes=math.prod(arrays["fc8.bias"].shape),
            feature_layer=feature_layer,
            mean=MEAN_RGB if mean is None else mean,
        )


def _build(tensors: dict[str, Tensor], mean: Tensor, feature_layer: str) -> VggFace:
    network = _empty(tensors, mean, feature_layer)
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)
