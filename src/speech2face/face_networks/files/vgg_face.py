"""VGG-Face weights from the files that circulate, recognised by what is in them, not by their names.

Whatever the file's layout, what is returned and saved is the same for the same weights: see `vgg_face.py` for the one
form kept inside. A file is read whole and checked, or refused with the reason; nothing in it is ever run.

To be called in a process of its own, see `isolated.py`. Each reader is imported where it is used: it brings a library of
its own, and PyTorch alone takes seconds.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from speech2face.face_networks.files.saving import save
from speech2face.face_networks.vgg_face_layout import (
    CONV_NAMES,
    CONVS_PER_BLOCK,
    FC_NAMES,
    FORMATS,
    KNOWN_FORMATS,
    MEAN_RGB,
    another_network,
    array_shapes,
    check_names,
    check_size,
    check_widths,
)

TORCH7_STARTS = (struct.pack("<ii", 4, 1), struct.pack("<ii", 3, 1))  # an object or a table, the first one


def convert(path: Path, directory: str) -> str:
    """Save a weight file in the form that `vgg_face.open_vgg_face` opens; returns its digest. Raises ValueError as `read`."""
    _, arrays, mean = read(path)
    return save(Path(directory), arrays | {"mean": mean}, {"kind": "vgg_face"})


def describe(path: Path) -> dict[str, Any]:
    """What a weight file is, as the fields of `vgg_face_file.WeightFile` that come from its content."""
    name, arrays, mean = read(path)
    return {
        "format": name,
        "layout": FORMATS[name].layout,
        "channel_order": FORMATS[name].channel_order,
        "mean_rgb": mean.reshape(3, -1).mean(1).tolist(),
        "channels": [len(arrays[f"conv{block}_1.bias"]) for block in range(1, len(CONVS_PER_BLOCK) + 1)],
        "feature_dim": len(arrays["fc7.bias"]),
        "num_classes": len(arrays["fc8.bias"]),
        "num_parameters": sum(array.size for array in arrays.values()),
    }


def read(path: Path) -> tuple[str, dict[str, np.ndarray], np.ndarray]:
    """Read and check a weight file of any format.

    Returns:
        The format's name; the arrays by the names of `VggFace.state_dict`, float32, input channels RGB; the mean,
        float32 [3] or [3, 224, 224], pixels 0..255.

    Raises:
        ValueError: an unknown format, another network, code instead of weights, NaN or infinity.
    """
    kind, mean = _container(path), np.array(MEAN_RGB, np.float32)
    if kind == "pytorch":
        from speech2face.face_networks.files import pytorch

        name, arrays = pytorch.read(path)
    elif kind == "hdf5":
        from speech2face.face_networks.files import keras_h5

        name, arrays = keras_h5.read(path)
    elif kind == "torch7":
        from speech2face.face_networks.files import torch7

        name, arrays = torch7.read(path)
    else:
        from speech2face.face_networks.files import matlab

        name, arrays, mean = matlab.read(path)
    return name, _canonical(arrays, FORMATS[name].channel_order), mean


def _container(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in members:  # here, because PyTorch would recommend to open it with code
            raise another_network("a TorchScript archive, not a state_dict")
        if "data.pkl" in members:
            return "pytorch"
    elif head.startswith(b"PK\x03\x04"):
        raise ValueError("truncated: a zip archive without its end")
    elif head.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."):  # the magic number of torch.save before 1.6
        return "pytorch"
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    elif head[:8] in TORCH7_STARTS:
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


def _canonical(arrays: Mapping[str, np.ndarray], channel_order: str) -> dict[str, np.ndarray]:
    """Check names, numbers and shapes; as float32 with the input channels as RGB. What is float32 already is not copied."""
    check_names(arrays)
    for name, array in arrays.items():
        check_size(name, array.shape)
        if array.dtype.kind != "f":
            raise ValueError(f"{name} must be floating point (got {array.dtype})")
    widths = {name: arrays[f"{name}.bias"].size for name in CONV_NAMES + FC_NAMES}
    channels = [widths[f"conv{block}_1"] for block in range(1, len(CONVS_PER_BLOCK) + 1)]
    for name, shape in array_shapes(channels, [widths[name] for name in FC_NAMES]).items():
        if arrays[name].shape != shape:
            raise another_network(
                f"wrong shape: {name} must be {list(shape)} to fit its neighbours (got {list(arrays[name].shape)}); "
                "VGG-Face is VGG-16 with fc6, fc7, fc8"
            )
    check_widths(widths)
    canonical = {}
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # of float64: found by the next line
            canonical[name] = np.asarray(array, dtype=np.float32, order="C")
        if not np.isfinite([canonical[name].min(), canonical[name].max()]).all():
            raise ValueError(f"{name} holds NaN or infinity")
    if channel_order == "BGR":
        canonical["conv1_1.weight"] = np.ascontiguousarray(canonical["conv1_1.weight"][:, ::-1])
    return canonical
