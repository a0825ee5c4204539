"""Torch7's binary serialisation (`torch.save` of Lua Torch), read as plain data, and VGG_FACE.t7 in it.

The format, little endian, is that of torch7's File.lua and Tensor.c: an int32 type, then the value. Tables and
torch objects carry an int32 index, so that an object met again is only named. A torch object is a version string
("V 1"; absent in the oldest files), a class name, and for tensors: int32 dimensions, int64 sizes, int64 strides,
int64 offset counted from 1, then the storage; for storages: int64 length, then the numbers; for modules: one table.

VGG_FACE.t7's modules without weights are read too: a network with Tanh, say, gives other features from the same
weights. A setting that a module leaves out is not asked for.

Nothing in a file is run: functions are refused, and of classes only tensors, storages and `nn` modules are read.
"""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speech2face.face_networks.vgg_face_layout import CONV_NAMES, FC_NAMES, another_network, check_order, check_settings

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN = 0, 1, 2, 3, 4, 5
FUNCTIONS = (6, 7, 8)
DTYPES = {
    "Float": "<f4", "Double": "<f8", "Cuda": "<f4", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "<i1",
    "Byte": "<u1",
}  # fmt: skip
TENSOR_CLASS = re.compile(rf"torch\.({'|'.join(DTYPES)})(Tensor|Storage)")
MAX_DEPTH = 64
MAX_OBJECTS = 100_000
MAX_STRING_BYTES = 2**16
MAX_DIMENSIONS = 8
CONVOLUTIONS = ("nn.SpatialConvolution", "nn.SpatialConvolutionMM")
KINDS = {
    "nn.ReLU": "relu", "nn.SpatialMaxPooling": "pool", "nn.Dropout": "dropout", "nn.View": "flatten",
    "nn.Reshape": "flatten", "nn.SoftMax": "softmax", "nn.LogSoftMax": "softmax",
}  # fmt: skip
ONE_BY_ONE = {"kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0, "padding": 0}
SETTINGS = {
    "conv": ONE_BY_ONE | {"kW": 3, "kH": 3, "padW": 1, "padH": 1, "padding": 1},
    "fc6": ONE_BY_ONE | {"kW": 7, "kH": 7},
    "fc7": ONE_BY_ONE,
    "fc8": ONE_BY_ONE,
    "pool": ONE_BY_ONE | {"kW": 2, "kH": 2, "dW": 2, "dH": 2},
    "relu": {"threshold": 0, "val": 0},
}


@dataclass
class Module:
    """An `nn` object: its class and its fields."""

    class_name: str
    fields: dict = field(default_factory=dict)


def read_t7(path: Path) -> Any:
    """The file's one object: None, float, str, bool, dict (table), `Module`, or numpy array (tensor, storage).

    Arrays are read-only views of the mapped file.

    Raises:
        ValueError: truncated, malformed, over the bounds, functions or classes that are not plain data.
    """
    reader = _Reader(np.memmap(path, dtype=np.uint8, mode="r"))
    value = reader.value(depth=0)
    if reader.position != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.position} bytes follow the object's end")
    return value


class _Reader:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.position = 0
        self.objects: dict[int, Any] = {}

    def take(self, num_bytes: int) -> np.ndarray:
        if not 0 <= num_bytes <= len(self.data) - self.position:
            raise ValueError(
                f"truncated: {num_bytes} bytes are wanted at byte {self.position}, {len(self.data)} are there"
            )
        self.position += num_bytes
        return self.data[self.position - num_bytes : self.position]

    def unpack(self, layout: str) -> tuple:
        return struct.unpack(layout, self.take(struct.calcsize(layout)).tobytes())

    def string(self) -> str:
        (length,) = self.unpack("<i")
        if length > MAX_STRING_BYTES:
            raise ValueError(f"a string of {length} bytes (at most {MAX_STRING_BYTES})")
        return self.take(length).tobytes().decode("latin-1")

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"objects nested more than {MAX_DEPTH} deep")
        (kind,) = self.unpack("<i")
        if kind == NIL:
            return None
        if kind == NUMBER:
            return self.unpack("<d")[0]
        if kind == STRING:
            return self.string()
        if kind == BOOLEAN:
            return self.unpack("<i")[0] == 1
        if kind in FUNCTIONS:
            raise ValueError("holds a Lua function: code is not read")
        if kind not in (TABLE, OBJECT):
            raise ValueError(f"unknown type {kind} at byte {self.position - 4}")
        (index,) = self.unpack("<i")
        if index not in self.objects:
            if len(self.objects) >= MAX_OBJECTS:
                raise ValueError(f"more than {MAX_OBJECTS} objects")
            if kind == TABLE:
                self.objects[index] = {}
                self.table(self.objects[index], depth)
            else:
                self.torch_object(index, depth)
        return self.objects[index]

    def table(self, table: dict, depth: int) -> None:
        (size,) = self.unpack("<i")
        for _ in range(size):
            key = self.value(depth + 1)
            if not isinstance(key, str | float | bool):
                raise ValueError(f"a table with a key of type {type(key).__name__}")
            table[key] = self.value(depth + 1)

    def torch_object(self, index: int, depth: int) -> None:
        class_name = self.string()
        if re.fullmatch(r"V \d+", class_name):
            class_name = self.string()
        if match := TENSOR_CLASS.fullmatch(class_name):
            # Entered only when whole, so that a storage cannot name the tensor that holds it.
            read = self.tensor if match[2] == "Tensor" else self.storage
            self.objects[index] = read(np.dtype(DTYPES[match[1]]), depth)
        elif class_name.startswith("nn."):
            module = self.objects[index] = Module(class_name)
            fields = self.value(depth + 1)
            if not isinstance(fields, dict):
                raise ValueError(f"{class_name} without a table of fields")
            module.fields = fields
        else:
            raise ValueError(f"class {class_name!r}: only nn modules, tensors and storages are read")

    def storage(self, dtype: np.dtype, depth: int) -> np.ndarray:
        (length,) = self.unpack("<q")
        return self.take(length * dtype.itemsize).view(dtype)

    def tensor(self, dtype: np.dtype, depth: int) -> np.ndarray:
        (num_dimensions,) = self.unpack("<i")
        if not 0 <= num_dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"a tensor of {num_dimensions} dimensions (at most {MAX_DIMENSIONS})")
        shape = self.unpack(f"<{num_dimensions}q")
        strides = self.unpack(f"<{num_dimensions}q")
        (offset,) = self.unpack("<q")
        storage = self.value(depth + 1)
        if num_dimensions == 0 or storage is None:
            return np.empty(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != dtype:
            raise ValueError("a tensor without a storage of its type")
        if min(shape) < 1 or min(strides) < 0 or offset < 1:
            raise ValueError(f"a tensor of sizes {shape}, strides {strides}, offset {offset}")
        # Python integers: neither the product nor the sum can wrap around.
        last = offset - 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        num_elements = 1
        for size in shape:
            num_elements *= size
        if last >= len(storage) or num_elements > len(storage):
            raise ValueError(f"a tensor of sizes {shape} leaves its storage of {len(storage)} numbers")
        byte_strides = [stride * dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset - 1 :], shape, byte_strides, writeable=False)


def read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Read VGG_FACE.t7: sixteen modules with weights, known by their place.

    Returns:
        "torch7" and the arrays by the names of `VggFace.state_dict`, input channels as in the file.

    Raises:
        ValueError: as `read_t7`, or another network.
    """
    modules = _leaves(read_t7(path))
    names = CONV_NAMES + FC_NAMES
    num_weighted = sum(_has_weight(module) for module in modules)
    if num_weighted != len(names):
        raise another_network(f"{num_weighted} modules have weights, VGG-Face has {len(names)}")
    arrays: dict[str, np.ndarray] = {}
    order, remaining = [], iter(names)
    for place, module in enumerate(modules, 1):
        description = f"module {place} ({module.class_name})"
        kind = next(remaining) if _has_weight(module) else KINDS.get(module.class_name, module.class_name)
        if kind in names:
            arrays |= _weight_and_bias(kind, module)
        stated = {name: [value] for name, value in module.fields.items() if isinstance(value, float)}
        check_settings(description, stated, SETTINGS.get("conv" if kind in CONV_NAMES else kind, {}))
        order.append((kind, description))
    check_order(order)
    return "torch7", arrays


def _has_weight(module: Module) -> bool:
    return module.fields.get("weight") is not None


def _weight_and_bias(name: str, module: Module) -> dict[str, np.ndarray]:
    weight, bias = module.fields["weight"], module.fields.get("bias")
    expected = CONVOLUTIONS if name in CONV_NAMES else (*CONVOLUTIONS, "nn.Linear")
    if module.class_name not in expected:
        raise another_network(f"{name} must be {' or '.join(expected)} (got {module.class_name})")
    if not isinstance(weight, np.ndarray) or not isinstance(bias, np.ndarray) or weight.ndim < 2:
        raise ValueError(f"{name} ({module.class_name}) must hold the tensors weight and bias")
    if name in CONV_NAMES and weight.size % (len(weight) * 9):
        raise another_network(f"{name} must be a 3 x 3 convolution (got {list(weight.shape)})")
    # SpatialConvolutionMM keeps its kernels as rows.
    kernel = (3, 3) if name in CONV_NAMES else ()
    return {f"{name}.weight": weight.reshape(len(weight), -1, *kernel), f"{name}.bias": bias}


def _leaves(value: Any) -> list[Module]:
    """The modules of a (nested) nn.Sequential, in order."""
    if not isinstance(value, Module):
        raise another_network(f"an nn module is expected (got {type(value).__name__})")
    if value.class_name != "nn.Sequential":
        return [value]
    children = value.fields.get("modules")
    if not isinstance(children, dict) or list(children) != [float(place) for place in range(1, len(children) + 1)]:
        raise ValueError("an nn.Sequential without a list of modules")
    return [leaf for child in children.values() for leaf in _leaves(child)]
