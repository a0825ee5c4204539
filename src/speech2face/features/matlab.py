"""VGG-Face weights in MatConvNet's SimpleNN form, a MATLAB .mat file of version 5 to 7 (scipy reads it; runs nothing).

`layers` is a cell array of structs; a convolution has `weights` = {filters, biases} (in the first releases the fields
`filters` and `biases`), filters (height, width, in, out), and the fully connected layers are convolutions. The mean
is `meta.normalization.averageImage` (first releases: `normalization.averageImage`), red, green, blue.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from speech2face.features.vgg_face import CONV_NAMES, FC_NAMES, MEAN_RGB, SIZE_PX


def read(path: Path) -> tuple[str, dict[str, np.ndarray], np.ndarray]:
    """Read a MatConvNet file.

    Returns:
        "matconvnet", the arrays by the names of `VggFace.state_dict`, in its layouts, and the mean: [3] or
        [3, 224, 224], pixels 0..255, RGB; the published mean if the file has none.

    Raises:
        ValueError: another network or another structure.
    """
    content = loadmat(path, struct_as_record=False, variable_names=["layers", "meta", "normalization", "net"])
    net = content["net"].flat[0].__dict__ if "net" in content else content
    layers = net.get("layers")
    if not isinstance(layers, np.ndarray) or layers.dtype != object:
        raise ValueError("no cell array `layers`: not a MatConvNet SimpleNN")
    arrays = {}
    for cell in layers.flat:
        layer = _struct(cell)
        if _text(layer, "type") == "conv":
            name = _text(layer, "name")
            filters, biases = _filters_and_biases(name, layer)
            weight = filters.transpose(3, 2, 0, 1)
            arrays[f"{name}.weight"] = weight.reshape(len(weight), -1) if name in FC_NAMES else weight
            arrays[f"{name}.bias"] = biases.reshape(-1)
    if not any(f"{name}.weight" in arrays for name in CONV_NAMES + FC_NAMES):
        raise ValueError("another network: no layer has a name of VGG-Face's")
    return "matconvnet", arrays, _mean(net)


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
    holder = _struct(net["meta"]) if "meta" in net else None
    normalization = getattr(holder, "normalization", net.get("normalization"))
    image = getattr(_struct(normalization), "averageImage", None) if normalization is not None else None
    if image is None or image.size == 0:
        return np.array(MEAN_RGB, np.float32)
    if image.size == 3:
        return image.reshape(3).astype(np.float32)
    if image.shape == (SIZE_PX, SIZE_PX, 3):
        return image.transpose(2, 0, 1).astype(np.float32)
    raise ValueError(f"averageImage must be 3 numbers or {SIZE_PX} x {SIZE_PX} x 3 (got {list(image.shape)})")


def _struct(value: Any) -> Any:
    """The one struct of a 1 x 1 struct array."""
    if not isinstance(value, np.ndarray) or value.size != 1 or not hasattr(value.flat[0], "_fieldnames"):
        raise ValueError("a 1 x 1 struct is expected in `layers`, `meta` and `normalization`")
    return value.flat[0]


def _text(struct: Any, field: str) -> str:
    value = getattr(struct, field, None)
    return str(value.flat[0]) if isinstance(value, np.ndarray) and value.size == 1 else ""
