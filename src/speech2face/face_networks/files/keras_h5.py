"""VGG-Face weights in the HDF5 files of Keras 1 and 2: those of keras-vggface and of deepface.

Keras lists a model's layers, in order, in the attribute `layer_names` and each layer's arrays in `weight_names`; a
whole saved model has the same below `model_weights`. Reading by these lists, not by walking the groups, also
passes by the empty groups that layer names with a slash leave behind. Kernels are (height, width, in, out).

A small file can declare arrays of any size, so shapes are held against VGG-Face's before any number is read.
"""

import re
from pathlib import Path
from types import UnionType

import h5py
import numpy as np

from speech2face.face_networks.vgg_face_layout import (
    CONV_NAMES,
    FC_NAMES,
    POOL5_SIZE,
    WIDTHS,
    another_network,
    differences,
)

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
            raise another_network("HDF5 without the attribute layer_names, so not weights saved by Keras 1 or 2")
        listed = _names(root, "layer_names")
        _check_list(root, listed)
        layers = {}
        for layer in listed:
            group = _member(root, layer, h5py.Group)
            if weight_names := _names(group, "weight_names"):
                layers[layer] = [_dataset(group, name) for name in weight_names]
        known_as, layers = _recognise(layers)
        for name, datasets in layers.items():
            _check_shapes(name, datasets, fully_connected_ndim=2 if known_as == "keras_vggface" else 4)
        arrays = {}
        for name, (kernel, bias) in layers.items():
            arrays[f"{name}.weight"] = _canonical(name, kernel[()])
            arrays[f"{name}.bias"] = bias[()]
    return known_as, arrays


def _recognise(layers: dict[str, list[h5py.Dataset]]) -> tuple[str, dict[str, list[h5py.Dataset]]]:
    """The format's name, and the layers by VGG-Face's names."""
    names = CONV_NAMES + FC_NAMES
    if set(layers) == set(names):
        return "keras_vggface", layers
    if len(layers) == len(names) and all(AUTOMATIC_NAME.fullmatch(layer) for layer in layers):
        return "deepface", dict(zip(names, layers.values(), strict=True))
    raise _difference(set(layers))


def _check_list(root: h5py.Group, listed: list[str]) -> None:
    """Refuse layers that are listed twice, and groups with weights that no listed layer accounts for."""
    if twice := sorted({layer for layer in listed if listed.count(layer) > 1}):
        raise ValueError(f"layer_names lists {', '.join(twice[:3])} more than once")
    for name in sorted(set(root) - {layer.partition("/")[0] for layer in listed}):
        member = _member(root, name, h5py.Group | h5py.Dataset)
        if isinstance(member, h5py.Dataset) or member.visititems(
            lambda _, item: isinstance(item, h5py.Dataset) or None
        ):
            raise another_network(f"{name} holds weights and is not in layer_names")


def _check_shapes(name: str, datasets: list[h5py.Dataset], fully_connected_ndim: int) -> None:
    """Refuse a layer without one kernel and one bias, or with a kernel that VGG-Face's at its published size could not hold."""
    if len(datasets) != 2 or datasets[1].ndim != 1:
        shapes = [list(dataset.shape) for dataset in datasets]
        raise ValueError(f"layer {name} must hold a kernel and a bias (got shapes {shapes})")
    kernel, bias = (dataset.shape for dataset in datasets)
    names = CONV_NAMES + FC_NAMES
    inputs = 3 if name == names[0] else WIDTHS[names[names.index(name) - 1]]
    side = 3 if name in CONV_NAMES else POOL5_SIZE if name == "fc6" else 1
    if name in CONV_NAMES or fully_connected_ndim == 4:
        largest: tuple[int, ...] = (side, side, inputs, WIDTHS[name])
        fits = len(kernel) == 4 and kernel[:2] == (side, side)
    else:
        largest = (side * side * inputs, WIDTHS[name])
        fits = len(kernel) == 2 and kernel[0] % (side * side) == 0
    if not fits or bias != kernel[-1:] or any(not 0 < size <= most for size, most in zip(kernel, largest, strict=True)):
        raise another_network(
            f"wrong shape: {name} must have a kernel of at most {list(largest)} and a bias to fit "
            f"(got {list(kernel)} and {list(bias)})"
        )


def _canonical(name: str, kernel: np.ndarray) -> np.ndarray:
    """To (out, in, height, width) or (out, in).

    A convolution over the whole map is a dense layer, and Keras flattens pool5 as height, width, channel: either way
    fc6's inputs are put in our order.
    """
    if name == "fc6":
        kernel = kernel.reshape(POOL5_SIZE, POOL5_SIZE, -1, kernel.shape[-1])
    out_first = np.moveaxis(kernel, (-1, -2), (0, 1))
    return out_first if name in CONV_NAMES else out_first.reshape(len(out_first), -1)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    values = np.atleast_1d(group.attrs.get(attribute, ()))
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]


def _member(group: h5py.Group, name: str, kind: type | UnionType) -> h5py.Group | h5py.Dataset:
    """What lies at `name` below `group`, in this file: a link could name any other file on the machine."""
    member = group
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name.rstrip('/')}/{name} is listed but is missing, or is a link elsewhere")
        member = member[part]
    if not isinstance(member, kind):
        raise ValueError(
            f"{group.name.rstrip('/')}/{name} must be a {getattr(kind, '__name__', 'group or dataset').lower()}"
        )
    return member


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = _member(group, name, h5py.Dataset)
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} keeps its numbers in another file")
    if dataset.shape is None or dataset.dtype.kind != "f":
        found = "nothing" if dataset.shape is None else dataset.dtype
        raise ValueError(f"{dataset.name} must hold floating point numbers (got {found})")
    if dataset.chunks and any(chunk > size for chunk, size in zip(dataset.chunks, dataset.shape, strict=True)):
        raise ValueError(f"{dataset.name} is stored in pieces {dataset.chunks}, larger than its shape {dataset.shape}")
    return dataset


def _difference(layers: set[str]) -> ValueError:
    expected = set(CONV_NAMES + FC_NAMES)
    missing, extra = sorted(expected - layers), sorted(layers - expected)
    if missing == list(FC_NAMES) and not extra:
        return another_network("it has no fc6, fc7, fc8: this is the 'notop' file; take the one with the top")
    return another_network(differences(missing, extra, len(expected), "layers"))
