"""From a dlib network file to a plain list of layers with their weights, in forward order.

Source: dlib 20.0.1, `dnn/core.h` (the stack), `dnn/layers.h`, `dnn/input.h`, `dnn/loss.h`. A file holds one loss
layer around one stack. The stack's head is a run of bare version numbers, outermost layer first; the input layer
stands in the middle; the layers' own details follow in forward order. Which tag an `add_prev` adds is a C++ template
argument and not in the file, so only the networks that use this module can say what a list of layers means.
"""

import math
from typing import NoReturn

import numpy as np

from speech2face.dlib_nets.dat import DatReader
from speech2face.dlib_nets.layers import (
    AddPrevious,
    Affine,
    Convolution,
    DetectionLoss,
    Input,
    Layer,
    Linear,
    Mark,
    MetricLoss,
    NetworkFile,
    Pool,
    Relu,
)

MAX_LAYERS = 4096
MAX_WINDOWS = 64


def read_network(data: bytes) -> NetworkFile:
    """Parse the bytes of a dlib network file.

    Raises:
        ValueError: if the bytes are not exactly one network of known layers; names the offset and what was expected.
    """
    reader = DatReader(data)
    reader.integer("the version of the loss layer", low=1, high=1)
    loss = _read_loss(reader)
    versions: list[int] = []
    while not _at_input(reader):
        if len(versions) == MAX_LAYERS:
            reader.fail(f"the input layer after at most {MAX_LAYERS} layers")
        versions.append(reader.integer("the version of a layer or the input layer", low=1, high=3))
    if not versions or versions[-1] == 1 or 3 in versions[:-1]:
        reader.fail("layers of versions 1 and 2 and an innermost one of version 2 or 3 before the input layer")
    input_layer = _read_input(reader)
    layers: list[Layer] = []
    for position, version in enumerate(reversed(versions)):
        if version == 1:
            layers.append(Mark())
        else:
            layers.append(_read_details(reader))
            _skip_state(reader, innermost=position == 0, version=version)
    reader.end()
    return NetworkFile(input_layer, tuple(layers), loss)


def _at_input(reader: DatReader) -> bool:
    # A string is its length (01 LL) and its characters; a version is only 01 0V.
    return reader.starts_with(b"\x01") and reader.starts_with(b"input", skip=2)


def _skip_state(reader: DatReader, innermost: bool, version: int) -> None:
    """What `add_layer` stores after a layer's details: flags and gradients, of no use here."""
    for flag in ("setup called", "gradient stale", "output disabled"):
        reader.boolean(flag)
    for tensor in ("input gradient", "cached output"):
        reader.tensor(tensor)
    if innermost:
        reader.tensor("final gradient")
        if version >= 3:
            reader.integer("sample expansion factor")
    else:
        reader.tensor("parameter gradient")


def _read_input(reader: DatReader) -> Input:
    start = reader.offset
    name = reader.string("the input layer's name")
    mean = (reader.real("mean red"), reader.real("mean green"), reader.real("mean blue"))
    if not 0 <= min(mean) <= max(mean) <= 255:
        reader.fail(f"means in 0..255, not {mean}", start)
    if name == "input_rgb_image_sized":
        rows = reader.integer("input rows", low=1, high=4096)
        return Input(mean, size=(rows, reader.integer("input columns", low=1, high=4096)))
    if name == "input_rgb_image_pyramid":
        return Input(mean, padding=10, outer_padding=11)  # what dlib used before it stored them
    if name == "input_rgb_image_pyramid2":
        padding = reader.integer("pyramid padding", high=1024)
        return Input(mean, padding=padding, outer_padding=reader.integer("outer padding", high=1024))
    _unknown(reader, "an RGB input layer", name, start)


def _read_loss(reader: DatReader) -> MetricLoss | DetectionLoss:
    start = reader.offset
    name = reader.string("the loss layer's name")
    if name == "loss_metric_":
        return MetricLoss()
    if name == "loss_metric_2":
        reader.real("margin")
        reader.real("distance threshold")
        return MetricLoss()
    if name == "loss_mmod_":
        return _read_detection_loss(reader)
    _unknown(reader, "loss_metric_, loss_metric_2 or loss_mmod_", name, start)


def _read_detection_loss(reader: DatReader) -> DetectionLoss:
    version = reader.integer("the version of the detector options", low=1, high=4)
    windows = []
    if version == 1:
        windows.append(_read_window(reader))
    else:
        for _ in range(reader.integer("the number of detector windows", low=1, high=MAX_WINDOWS)):
            window_version = reader.integer("the version of a detector window", low=1, high=2)
            windows.append(_read_window(reader))
            if window_version == 2:
                reader.string("a window's label")
    for option in ("loss per false alarm", "loss per missed target", "truth match IoU"):
        reader.real(option)
    overlap_iou, overlap_covered = reader.real("overlap IoU"), reader.real("covered share")
    for option in ("IoU to ignore", "covered share to ignore"):
        reader.real(option)
    if version >= 3:
        reader.take(1, "whether an image pyramid is assumed")
    if version >= 4:
        box_start = reader.offset
        if reader.boolean("bounding box regression"):
            reader.fail("a detector without bounding box regression", box_start)
        reader.real("weight of the box regression")
    return DetectionLoss(tuple(windows), overlap_iou, overlap_covered)


def _read_window(reader: DatReader) -> tuple[int, int]:
    width = reader.integer("window width", low=1, high=4096)
    return width, reader.integer("window height", low=1, high=4096)


def _read_details(reader: DatReader) -> Layer:
    start = reader.offset
    name = reader.string("a layer's name")
    match name:
        case "con_4" | "con_5" | "con_6":
            return _read_convolution(reader, version=int(name[-1]))
        case "affine_" | "affine_2":
            return _read_affine(reader, has_disabled=name.endswith("2"))
        case "bn_con2" | "bn_fc2":
            return _read_batch_norm(reader)
        case "relu_":
            return Relu()
        case "relu_2":
            _read_enabled(reader)
            return Relu()
        case "max_pool_2" | "avg_pool_2":
            size = _read_pair(reader, "pool size", low=0)
            return Pool(name[:3], size, _read_pair(reader, "pool stride", low=1), _read_pair(reader, "padding", low=0))
        case "fc_2" | "fc_3":
            return _read_linear(reader, has_flag=name.endswith("3"))
        case "add_prev_":
            return AddPrevious()
    _unknown(reader, "a known layer", name, start)


def _read_convolution(reader: DatReader, version: int) -> Convolution:
    start = reader.offset
    params = reader.tensor("convolution weights")
    num_filters = reader.integer("number of filters", low=1)
    kernel = _read_pair(reader, "kernel size", low=1)
    stride = _read_pair(reader, "stride", low=1)
    padding = _read_pair(reader, "padding", low=0)
    filters, biases = reader.alias("filters"), reader.alias("biases")
    _skip_multipliers(reader)
    use_bias = reader.boolean("use bias") if version >= 5 else True
    if version >= 6 and reader.boolean("use relu"):
        reader.fail("a convolution without a fused relu", start)
    weight, bias = _split(reader, params, filters, num_filters if use_bias else 0, start)
    if (filters[0], *filters[2:]) != (num_filters, *kernel) or (use_bias and math.prod(biases) != num_filters):
        reader.fail(f"filters of {num_filters} x {kernel}, not {filters} with biases {biases}", start)
    return Convolution(weight, bias if use_bias else np.zeros(num_filters, np.float32), stride, padding)


def _read_affine(reader: DatReader, has_disabled: bool) -> Affine:
    start = reader.offset
    params = reader.tensor("affine parameters")
    gamma, beta = reader.alias("gamma"), reader.alias("beta")
    reader.integer("affine mode", high=1)
    if has_disabled:
        _read_enabled(reader)
    scale, shift = _split(reader, params, gamma, math.prod(beta), start)
    return Affine(*_channels(reader, start, scale, shift))


def _read_batch_norm(reader: DatReader) -> Affine:
    start = reader.offset
    params = reader.tensor("batch norm parameters")
    gamma, beta = reader.alias("gamma"), reader.alias("beta")
    for tensor in ("batch means", "batch inverse deviations"):
        reader.tensor(tensor)
    means, variances = reader.tensor("running means").ravel(), reader.tensor("running variances").ravel()
    reader.integer("number of updates", high=2**63)
    reader.integer("running window", high=2**63)
    _skip_multipliers(reader)
    eps = reader.real("eps")
    scale, shift = _split(reader, params, gamma, math.prod(beta), start)
    _channels(reader, start, scale, shift, means, variances)
    if not 1e-30 <= eps <= 1 or variances.min() < 0:
        reader.fail(f"an eps in 1e-30..1 and variances of at least 0, not {eps} and {variances.min()}", start)
    # The folding dlib does when it loads batch normalisation into an affine layer (dnn/layers.h).
    folded = scale.ravel() / np.sqrt(variances + np.float32(eps))
    return Affine(folded, shift.ravel() - folded * means)


def _read_linear(reader: DatReader, has_flag: bool) -> Linear:
    start = reader.offset
    num_outputs, num_inputs = reader.integer("outputs", low=1), reader.integer("inputs", low=1)
    params = reader.tensor("fully connected weights")
    weights, biases = reader.alias("weights"), reader.alias("biases")
    mode = reader.integer("bias mode", high=1)
    _skip_multipliers(reader)
    use_bias = mode == 0 and (reader.boolean("use bias") if has_flag else True)
    if has_flag and mode == 1:
        reader.boolean("use bias")
    weight, bias = _split(reader, params, weights, num_outputs if use_bias else 0, start)
    if weight.size != num_inputs * num_outputs:
        reader.fail(f"{num_inputs} x {num_outputs} weights, not {weights} with biases {biases}", start)
    return Linear(weight.reshape(num_inputs, num_outputs), bias if use_bias else None)


def _split(
    reader: DatReader, params: np.ndarray, first: tuple[int, int, int, int], num_second: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a parameter tensor into its first part (of the given shape) and its second (flat)."""
    num_first = math.prod(first)
    if num_first == 0 or num_first + num_second != params.size:
        reader.fail(f"{params.size} parameters to be those of shape {first} and {num_second} more", start)
    flat = params.ravel()
    return flat[:num_first].reshape(first), flat[num_first:]


def _channels(reader: DatReader, start: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays, flat, after a check that all have one value per channel."""
    if len({array.size for array in arrays}) != 1:
        reader.fail(f"one value per channel in each part, not {[array.size for array in arrays]}", start)
    return [array.ravel() for array in arrays]


def _read_pair(reader: DatReader, what: str, low: int) -> tuple[int, int]:
    first = reader.integer(what, low=low, high=4096)
    return first, reader.integer(what, low=low, high=4096)


def _read_enabled(reader: DatReader) -> None:
    start = reader.offset
    if reader.boolean("disabled"):
        reader.fail("a layer that is not disabled", start)


def _skip_multipliers(reader: DatReader) -> None:
    """Learning rate and weight decay multipliers."""
    for _ in range(4):
        reader.real("a learning rate or weight decay multiplier")


def _unknown(reader: DatReader, expected: str, name: str, start: int) -> NoReturn:
    reader.fail(f"{expected}, not {name!r}", start)
