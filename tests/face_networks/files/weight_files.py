"""Writers of every public VGG-Face format, from one set of narrow weights: the golden keras-vggface file's.

Each is written from the format's own description, not with the code under test. `kernels()` gives Keras's arrays:
kernels (height, width, in, out) over BGR input, fc6 over a height, width, channel flattening.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.io import savemat

GOLDEN = Path(__file__).parents[2] / "golden"
NARROW_H5 = GOLDEN / "vggface_narrow_weights.h5"
CONVS = [f"conv{block}_{index}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for index in range(1, count + 1)]
LAYERS = [*CONVS, "fc6", "fc7", "fc8"]
LAST_OF_BLOCK = ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]


def kernels() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with h5py.File(NARROW_H5) as file:
        return {name: (file[name][name]["kernel:0"][()], file[name][name]["bias:0"][()]) for name in LAYERS}


def state_dict() -> dict[str, torch.Tensor]:
    """As in vgg_face_dag.pth: RGB, (out, in, height, width), fc6 channels-first."""
    state = {}
    for name, (kernel, bias) in kernels().items():
        if name == "conv1_1":
            kernel = kernel[:, :, ::-1]
        if name in CONVS:
            weight = kernel.transpose(3, 2, 0, 1)
        elif name == "fc6":
            weight = kernel.reshape(7, 7, 32, 48).transpose(3, 2, 0, 1).reshape(48, -1)
        else:
            weight = kernel.T
        state[f"{name}.weight"] = torch.tensor(weight.copy())
        state[f"{name}.bias"] = torch.tensor(bias)
    return state


def write_pytorch(path: Path, zipped: bool = True) -> None:
    torch.save(state_dict(), path, _use_new_zipfile_serialization=zipped)


def write_keras(path: Path, suffixes: tuple[str, str] = ("_W:0", "_b:0"), prefix: str = "model_weights") -> None:
    """A whole saved model, or Keras 1's names: `conv1_1/conv1_1_W:0` where Keras 2 has `conv1_1/kernel:0`."""
    _write_h5(path, kernels(), suffixes, prefix)


def write_deepface(path: Path) -> None:
    """A Sequential without names: convolutions counted from 1, padding between them, fc layers as convolutions."""
    layers = {}
    for place, (name, (kernel, bias)) in enumerate(kernels().items(), 1):
        if name == "fc6":
            kernel = kernel.reshape(7, 7, 32, 48)
        elif name.startswith("fc"):
            kernel = kernel[None, None]
        layers[f"zero_padding2d_{place}"] = ()
        layers[f"conv2d_{place}"] = (kernel, bias)
    _write_h5(path, layers, ("/kernel:0", "/bias:0"), "")


def _write_h5(path: Path, layers: dict, suffixes: tuple[str, str], prefix: str) -> None:
    with h5py.File(path, "w") as file:
        root = file.create_group(prefix) if prefix else file
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            names = [name + suffix for suffix in suffixes[: len(arrays)]]
            group = root.create_group(name)
            group.attrs["weight_names"] = [full.encode() for full in names]
            for full, array in zip(names, arrays, strict=True):
                group[full] = array


def write_matconvnet(
    path: Path,
    first_release: bool = False,
    image: np.ndarray | None = None,
    change: Callable[[list], object] = lambda layers: None,
) -> None:
    """RGB, (height, width, in, out), all convolutions, other layers between; nested in structs as MatConvNet saves it."""
    layers = []
    for name, (kernel, bias) in kernels().items():
        if name == "conv1_1":
            kernel = kernel[:, :, ::-1]
        if name == "fc6":
            kernel = kernel.reshape(7, 7, 32, 48)
        elif name.startswith("fc"):
            kernel = kernel[None, None]
        layer = {"type": "conv", "name": name, "stride": 1.0, "pad": 1.0 if name in CONVS else 0.0}
        if first_release:
            layer |= {"filters": kernel, "biases": bias[None]}
        else:
            layer["weights"] = _cells([kernel, bias[:, None]])
        layers.append(layer)
        if name != "fc8":
            layers.append({"type": "relu", "name": f"relu_{name}"})
        if name in LAST_OF_BLOCK:
            pads = [0.0, 1.0, 0.0, 1.0]
            layers.append(
                {
                    "type": "pool",
                    "name": f"pool{name[4]}",
                    "method": "max",
                    "pool": [2.0, 2.0],
                    "stride": 2.0,
                    "pad": pads,
                }
            )
        elif name in ("fc6", "fc7"):
            layers.append({"type": "dropout", "name": f"dropout_{name}", "rate": 0.5})
    layers.append({"type": "softmax", "name": "prob"})
    change(layers)
    if image is None:
        image = np.array([129.1863, 104.7624, 93.5940], np.float32).reshape(1, 1, 3)
    normalization = {"averageImage": image, "imageSize": [224.0, 224.0, 3.0]}
    about = {"normalization": normalization} if first_release else {"meta": {"normalization": normalization}}
    savemat(path, {"layers": _cells(layers)[None], **about}, do_compression=first_release)


def _cells(items: list) -> np.ndarray:
    cells = np.empty(len(items), object)
    for place, item in enumerate(items):
        cells[place] = item
    return cells


class T7Writer:
    """Torch7's binary serialisation of numbers, strings, tables, tensors and modules."""

    def __init__(self, versioned: bool = True) -> None:
        self.parts: list[bytes] = []
        self.versioned = versioned
        self.num_objects = 0
        self.storages: dict[int, tuple[int, np.ndarray]] = {}  # by id; the array is kept, or its id would be reused

    def int(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}i", *values))

    def long(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}q", *values))

    def text(self, text: str) -> None:
        self.int(len(text))
        self.parts.append(text.encode())

    def head(self, class_name: str) -> None:
        self.int(4, self.new_index())
        if self.versioned:
            self.text("V 1")
        self.text(class_name)

    def new_index(self) -> int:
        self.num_objects += 1
        return self.num_objects

    def value(self, value: object) -> None:
        if value is None:
            self.int(0)
        elif isinstance(value, bool):
            self.int(5, value)
        elif isinstance(value, int | float):
            self.int(1)
            self.parts.append(struct.pack("<d", value))
        elif isinstance(value, str):
            self.int(2)
            self.text(value)
        elif isinstance(value, dict):
            self.int(3, self.new_index(), len(value))
            for key, item in value.items():
                self.value(key)
                self.value(item)
        elif isinstance(value, np.ndarray):
            self.tensor(value, value.reshape(-1), 1)
        else:  # (class name, fields)
            self.head(value[0])
            self.value(value[1])

    def tensor(self, array: np.ndarray, storage: np.ndarray, offset: int) -> None:
        kind = {"float32": "Float", "float64": "Double", "int64": "Long"}[str(array.dtype)]
        self.head(f"torch.{kind}Tensor")
        self.int(array.ndim)
        self.long(*array.shape)
        self.long(*(stride // array.itemsize for stride in array.strides))
        self.long(offset)
        if id(storage) in self.storages:
            self.int(4, self.storages[id(storage)][0])
            return
        self.head(f"torch.{kind}Storage")
        self.storages[id(storage)] = self.num_objects, storage
        self.long(storage.size)
        self.parts.append(storage.tobytes())

    def save(self, path: Path) -> None:
        path.write_bytes(b"".join(self.parts))


def write_torch7(
    path: Path,
    versioned: bool = True,
    dtype: type = np.float32,
    change: Callable[[list], object] = lambda modules: None,
) -> None:
    """BGR; kernels as rows (SpatialConvolutionMM), fc6 channels-first, between layers without weights."""
    modules: list = []
    for name, (kernel, bias) in kernels().items():
        if name in CONVS:
            rows = kernel.transpose(3, 2, 0, 1).reshape(len(bias), -1)
            fields = {
                "weight": rows,
                "bias": bias,
                "kW": 3,
                "kH": 3,
                "dW": 1,
                "dH": 1,
                "padW": 1,
                "padH": 1,
                "_type": "t",
            }
            class_name = "nn.SpatialConvolutionMM"
        else:
            rows = kernel.reshape(7, 7, 32, 48).transpose(3, 2, 0, 1).reshape(48, -1) if name == "fc6" else kernel.T
            fields = {"weight": rows, "bias": bias, "gradBias": None, "output": np.zeros(2, np.float32)}
            class_name = "nn.Linear"
        for key in ("weight", "bias"):
            fields[key] = np.ascontiguousarray(fields[key], dtype)
        modules.append((class_name, fields))
        if name != "fc8":
            modules.append(("nn.ReLU", {"inplace": True, "threshold": 0, "val": 0, "train": False}))
        if name in LAST_OF_BLOCK:
            modules.append(("nn.SpatialMaxPooling", {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0}))
        if name == "conv5_3":
            modules.append(("nn.View", {"numElements": 7 * 7 * 32}))
        if name in ("fc6", "fc7"):
            modules.append(("nn.Dropout", {"p": 0.5}))
    modules.append(("nn.SoftMax", {}))
    change(modules)
    writer = T7Writer(versioned)
    writer.value(("nn.Sequential", {"modules": dict(enumerate(modules, 1))}))
    writer.save(path)


def write_torch7_flat(path: Path) -> None:
    """The same, every tensor a view of one storage, as `getParameters` leaves a Torch network; nested Sequentials."""
    arrays = []
    for name, (kernel, bias) in kernels().items():
        if name in CONVS:
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            kernel = kernel.reshape(7, 7, 32, 48).transpose(2, 0, 1, 3).reshape(-1, 48).T if name == "fc6" else kernel.T
        arrays.append((name, np.ascontiguousarray(kernel), bias))
    storage = np.concatenate([array.reshape(-1) for _, *pair in arrays for array in pair])
    writer, offset = T7Writer(), 1

    def sequential(layers: list) -> None:
        nonlocal offset
        writer.head("nn.Sequential")
        writer.int(3, writer.new_index(), 1)
        writer.value("modules")
        writer.int(3, writer.new_index(), len(layers))
        for place, (name, weight, bias) in enumerate(layers, 1):
            writer.value(place)
            writer.head("nn.SpatialConvolution" if name in CONVS else "nn.Linear")
            writer.int(3, writer.new_index(), 2)
            for key, array in (("weight", weight), ("bias", bias)):
                writer.value(key)
                writer.tensor(array, storage, offset)
                offset += array.size

    writer.head("nn.Sequential")
    writer.int(3, writer.new_index(), 1)
    writer.value("modules")
    writer.int(3, writer.new_index(), 2)
    writer.value(1)
    sequential(arrays[:13])
    writer.value(2)
    sequential(arrays[13:])
    writer.save(path)
