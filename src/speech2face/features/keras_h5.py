"""VGG-Face weights in the HDF5 files of Keras 1 and 2: those of keras-vggface and of deepface.

Keras lists a model's layers, in order, in the attribute `layer_names` and each layer's arrays in `weight_names`; a
whole saved model has the same below `model_weights`. Reading by these lists, not by walking the groups, also
passes by the empty groups that layer names with a slash leave behind. Kernels are (height, width, in, out).
"""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from speech2face.features.vgg_face import CONV_NAMES, FC_NAMES, MAX_ARRAY_SIZE, POOL5_SIZE

AUTOMATIC_NAME = re.compile(r"(conv2d|convolution2d)(_\d+)?")


def read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Read a file of either package.

    Returns:
        The format's name, "keras_vggface" or "deepface", and the arrays by the names of `VggFace.state_dict`, in its
        layouts (out, in, height, width) and (out, in), fc6 over channels-first maps, input channels as in the file.

    Raises:
        ValueError: another network, or arrays that are not where Keras puts them.
    """
    with h5py.File(path, "r") as file:
        root = _member(file, "model_weights", h5py.Group) if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise ValueError("HDF5 without the attribute layer_names: not weights saved by Keras 1 or 2")
        layers = {}
        for layer in _names(root, "layer_names"):
            group = _member(root, layer, h5py.Group)
            if weight_names := _names(group, "weight_names"):
                layers[layer] = [_array(group, name) for name in weight_names]
    names = CONV_NAMES + FC_NAMES
    if set(layers) == set(names):
        return "keras_vggface", _by_name(layers, _dense)
    if len(layers) == len(names) and all(AUTOMATIC_NAME.fullmatch(layer) for layer in layers):
        return "deepface", _by_name(dict(zip(names, layers.values(), strict=True)), _convolution_as_dense)
    raise ValueError(_difference(set(layers)))


def _by_name(layers: dict[str, list[np.ndarray]], to_dense: Callable) -> dict[str, np.ndarray]:
    arrays = {}
    for name, weights in layers.items():
        if len(weights) != 2 or weights[1].ndim != 1:
            shapes = [list(array.shape) for array in weights]
            raise ValueError(f"layer {name} must hold a kernel and a bias (got shapes {shapes})")
        kernel, arrays[f"{name}.bias"] = weights
        arrays[f"{name}.weight"] = to_dense(name, kernel) if name in FC_NAMES else _channels_first(name, kernel)
    return arrays


def _channels_first(name: str, kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim != 4:
        raise ValueError(f"{name} must be a convolution with a kernel of 4 dimensions (got {list(kernel.shape)})")
    return kernel.transpose(3, 2, 0, 1)


def _dense(name: str, kernel: np.ndarray) -> np.ndarray:
    """(in, out) to (out, in). Keras flattens pool5 as height, width, channel: fc6's inputs are put in our order."""
    if kernel.ndim != 2:
        raise ValueError(f"{name} must be a dense layer with a kernel of 2 dimensions (got {list(kernel.shape)})")
    if name != "fc6":
        return kernel.T
    if kernel.shape[0] % POOL5_SIZE**2:
        raise ValueError(f"fc6 must take {POOL5_SIZE} x {POOL5_SIZE} maps (got {kernel.shape[0]} inputs)")
    maps = kernel.reshape(POOL5_SIZE, POOL5_SIZE, -1, kernel.shape[1])
    return maps.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def _convolution_as_dense(name: str, kernel: np.ndarray) -> np.ndarray:
    """A convolution over the whole map is a dense layer: fc6 is 7 x 7, fc7 and fc8 are 1 x 1."""
    side = POOL5_SIZE if name == "fc6" else 1
    if kernel.ndim != 4 or kernel.shape[:2] != (side, side):
        raise ValueError(f"{name} must be a {side} x {side} convolution (got a kernel {list(kernel.shape)})")
    return _channels_first(name, kernel).reshape(kernel.shape[3], -1)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    values = np.atleast_1d(group.attrs.get(attribute, ()))
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]


def _member(group: h5py.Group, name: str, kind: type) -> h5py.Group | h5py.Dataset:
    """What lies at `name` below `group`, in this file: a link could name any other file on the machine."""
    member = group
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name.rstrip('/')}/{name} is listed but is missing, or is a link elsewhere")
        member = member[part]
    if not isinstance(member, kind):
        raise ValueError(f"{group.name.rstrip('/')}/{name} must be a {kind.__name__.lower()}")
    return member


def _array(group: h5py.Group, name: str) -> np.ndarray:
    dataset = _member(group, name, h5py.Dataset)
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} keeps its numbers in another file")
    if dataset.dtype.kind != "f" or dataset.size > MAX_ARRAY_SIZE:
        raise ValueError(f"{dataset.name} must be floating point, at most {MAX_ARRAY_SIZE} numbers (got {dataset})")
    return dataset[()]


def _difference(layers: set[str]) -> str:
    expected = set(CONV_NAMES + FC_NAMES)
    missing, extra = sorted(expected - layers), sorted(layers - expected)
    if missing == list(FC_NAMES) and not extra:
        return "the file has no fc6, fc7, fc8: this is the 'notop' file; take the one with the top"
    return (
        f"another network: of the {len(expected)} layers of VGG-Face {len(missing)} are missing "
        f"({', '.join(missing[:4])} ...), {len(extra)} others are there ({', '.join(extra[:4])} ...)"
    )
