"""VGG-Face weights in MatConvNet's SimpleNN form, a MATLAB .mat file of version 5 to 7 (scipy reads it; runs nothing).

`layers` is a cell array of structs; a convolution has `weights` = {filters, biases} (in the first releases the fields
`filters` and `biases`), filters (height, width, in, out), and the fully connected layers are convolutions. The mean
is `meta.normalization.averageImage` (first releases: `normalization.averageImage`), red, green, blue.

The layers between are read too: a network with another pooling, say, gives other features from the same weights. A
setting that a layer leaves out is not asked for.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from speech2face.face_networks.vgg_face_layout import (
    CONV_NAMES,
    FC_NAMES,
    MEAN_RGB,
    SIZE_PX,
    another_network,
    check_order,
    check_settings,
)

SETTINGS = {
    "conv": {"stride": 1, "pad": 1, "dilate": 1},
    "fc": {"stride": 1, "pad": 0, "dilate": 1},
    "pool": {"pool": 2, "stride": 2},
    "relu": {"leak": 0},
}
LARGEST_MEAN_OF_0_TO_1 = 1.5  # no picture of faces in 0..255 is so dark; pixels in 0..1 cannot exceed it


def read(path: Path) -> tuple[str, dict[str, np.ndarray], np.ndarray]:
    """Read a MatConvNet file.

    Returns:
        "matconvnet", the arrays by the names of `VggFace.state_dict`, in its layouts, and the mean: [3] or
        [3, 224, 224], pixels 0..255, RGB; the published mean if the file has none.

    Raises:
        ValueError: another network or another structure.
    """
    content = loadmat(path, struct_as_record=False, variable_names=["layers", "meta", "normalization", "net"])
    net = _struct(content["net"], "net").__dict__ if "net" in content else content
    cells = net.get("layers")
    if not isinstance(cells, np.ndarray) or cells.dtype != object:
        raise another_network("no cell array `layers`, so not a MatConvNet SimpleNN")
    arrays, order = {}, []
    for place, cell in enumerate(cells.flat, 1):
        layer = _struct(cell, f"layer {place}")
        kind, name = _text(layer, "type"), _text(layer, "name")
        _check_layer(f"layer {place} ({kind or 'no type'} {name})".replace(" )", ")"), kind, name, layer)
        if kind == "conv":
            filters, biases = _filters_and_biases(name, layer)
            weight = filters.transpose(3, 2, 0, 1)
            arrays[f"{name}.weight"] = weight.reshape(len(weight), -1) if name in FC_NAMES else weight
            arrays[f"{name}.bias"] = biases.reshape(-1)
        order.append((name if kind == "conv" else kind, f"layer {place} ({kind} {name})"))
    if {f"{name}.weight" for name in CONV_NAMES + FC_NAMES} <= set(arrays):  # otherwise the missing ones will be named
        check_order(order)
    return "matconvnet", arrays, _mean(net)


def _check_layer(description: str, kind: str, name: str, layer: Any) -> None:
    expected = SETTINGS.get("fc" if kind == "conv" and name in FC_NAMES else kind, {})
    stated = {setting: _numbers(description, layer, setting) for setting in expected if hasattr(layer, setting)}
    check_settings(description, stated, expected)
    if kind != "pool":
        return
    if (method := _text(layer, "method") or "max") != "max":
        raise another_network(f"{description} has method {method}, VGG-Face's is max")
    if hasattr(layer, "pad"):  # top, bottom, left, right; a row or column more at the end changes nothing at even sizes
        pad = _numbers(description, layer, "pad")
        if any(pad[::2]) or any(number not in (0, 1) for number in pad):
            raise another_network(f"{description} has pad {pad}, VGG-Face's is 0")


def _numbers(description: str, layer: Any, setting: str) -> list[float]:
    value = getattr(layer, setting)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or value.size > 4:
        raise ValueError(f"{description} must hold one to four numbers as {setting}")
    return value.ravel().tolist()


def _filters_and_biases(name: str, layer: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(layer, "weights"):
        pair = list(np.asarray(layer.weights).flat)
    else:
        pair = [getattr(layer, field, None) for field in ("filters", "biases")]
    if len(pair) != 2 or not all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in pair):
        raise ValueError(f"layer {name} must hold filters and biases, floating point")
    filters, biases = pair
    if filters.ndim != 4:
        raise ValueError(f"layer {name} must have filters of 4 dimensions (got {list(filters.shape)})")
    return filters, biases


def _mean(net: dict[str, Any]) -> np.ndarray:
    normalization = net.get("normalization")
    if "meta" in net:
        normalization = getattr(_struct(net["meta"], "meta"), "normalization", normalization)
    if normalization is None:
        return np.array(MEAN_RGB, np.float32)
    image = getattr(_struct(normalization, "normalization"), "averageImage", None)
    if image is None or (isinstance(image, np.ndarray) and image.size == 0):
        return np.array(MEAN_RGB, np.float32)
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "iuf":
        raise ValueError("averageImage must be numbers")
    if image.size != 3 and image.shape != (SIZE_PX, SIZE_PX, 3):
        raise ValueError(f"averageImage must be 3 numbers or {SIZE_PX} x {SIZE_PX} x 3 (got {list(image.shape)})")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and LARGEST_MEAN_OF_0_TO_1 <= high <= 255):  # so written, NaN fails too
        raise ValueError(f"averageImage must be the mean of pixels in 0..255, finite (got {low:g} to {high:g})")
    return (image.reshape(3) if image.size == 3 else image.transpose(2, 0, 1)).astype(np.float32)


def _struct(value: Any, name: str) -> Any:
    """The one struct of a 1 x 1 struct array."""
    if not isinstance(value, np.ndarray) or value.size != 1 or not hasattr(value.flat[0], "_fieldnames"):
        raise ValueError(f"{name} must be a 1 x 1 struct, as MatConvNet saves it")
    return value.flat[0]


def _text(struct: Any, field: str) -> str:
    value = getattr(struct, field, None)
    return str(value.flat[0]) if isinstance(value, np.ndarray) and value.size == 1 else ""
