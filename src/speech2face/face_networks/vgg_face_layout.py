"""VGG-Face as its files must agree with it: names, published sizes, order of the layers, and the formats that circulate.

Nothing here needs PyTorch, so that the process which reads a file starts quickly (see `files/isolated.py`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

SIZE_PX = 224
MEAN_RGB = (129.1863, 104.7624, 93.5940)  # of the training faces, pixels 0..255
CHANNELS = (64, 128, 256, 512, 512)  # as published, of the five blocks
FC_SIZES = (4096, 4096, 2622)
IMAGENET_CLASSES = 1000
NUM_PARAMETERS = 145_002_878  # as published
MAX_ARRAY_SIZE = 2**28  # the largest real array, that of fc6, has 1.03e8 numbers
CONVS_PER_BLOCK = (2, 2, 3, 3, 3)
CONV_NAMES = tuple(
    f"conv{block}_{index}" for block, count in enumerate(CONVS_PER_BLOCK, 1) for index in range(1, count + 1)
)
FC_NAMES = ("fc6", "fc7", "fc8")
ARRAY_NAMES = tuple(f"{layer}.{kind}" for layer in CONV_NAMES + FC_NAMES for kind in ("weight", "bias"))
POOL5_SIZE = SIZE_PX // 2 ** len(CONVS_PER_BLOCK)  # 7
WIDTHS = dict(zip(CONV_NAMES, (CHANNELS[int(name[4]) - 1] for name in CONV_NAMES), strict=True)) | dict(
    zip(FC_NAMES, FC_SIZES, strict=True)
)
_LAST_OF_BLOCK = {f"conv{block}_{count}" for block, count in enumerate(CONVS_PER_BLOCK, 1)}
ORDER = tuple(
    step
    for name in CONV_NAMES + FC_NAMES
    for step in (name, *(("relu",) if name != "fc8" else ()), *(("pool",) if name in _LAST_OF_BLOCK else ()))
)
WITHOUT_EFFECT = ("dropout", "flatten")  # on the network in use


@dataclass(frozen=True)
class FileFormat:
    """What a format's files hold: the usual file, how its weights lie, the order of the input channels."""

    usual_file: str
    layout: str
    channel_order: str


FORMATS = {
    "pytorch": FileFormat(
        "vgg_face_dag.pth", "PyTorch state_dict; kernels out, in, height, width; fc6 over channels-first maps", "RGB"
    ),
    "keras_vggface": FileFormat(
        "rcmalli_vggface_tf_vgg16.h5",
        "Keras HDF5, named layers; kernels height, width, in, out; fc6 over channels-last maps",
        "BGR",
    ),
    "deepface": FileFormat(
        "vgg_face_weights.h5", "Keras HDF5, layers by their order; fc6, fc7, fc8 as convolutions", "BGR"
    ),
    "torch7": FileFormat("VGG_FACE.t7", "Torch7 nn.Sequential, modules by their order", "BGR"),
    "matconvnet": FileFormat(
        "vgg-face.mat", "MatConvNet SimpleNN; kernels height, width, in, out; fc6, fc7, fc8 as convolutions", "RGB"
    ),
}
KNOWN_FORMATS = "; ".join(f"{name} ({known.usual_file})" for name, known in FORMATS.items())


def another_network(reason: str) -> ValueError:
    """The error for a readable file that does not hold VGG-Face: the reason, and what is known."""
    return ValueError(f"another network: {reason}; VGG-Face weights are read from {KNOWN_FORMATS}")


def differences(missing: Sequence[str], extra: Sequence[str], num_expected: int, what: str) -> str:
    """How a file's names differ from VGG-Face's, the first few by name."""
    parts = [
        f"{len(names)} {words} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, words in (
            (missing, f"of the {num_expected} {what} of VGG-Face are missing"),
            (extra, "are not VGG-Face's"),
        )
        if names
    ]
    return ", ".join(parts)


def check_names(names: Collection[str]) -> None:
    """Refuse arrays that are not those of `ARRAY_NAMES`, missing ones or further ones."""
    missing, extra = sorted(set(ARRAY_NAMES) - set(names)), sorted(set(names) - set(ARRAY_NAMES))
    if missing or extra:
        raise another_network(differences(missing, extra, len(ARRAY_NAMES), "arrays"))


def check_size(name: str, shape: Sequence[int], is_dense: bool = True) -> None:
    """Refuse an array that is empty, larger than any of VGG-Face's could be, or not dense."""
    if not is_dense or not 0 < math.prod(shape) <= MAX_ARRAY_SIZE:
        raise ValueError(f"{name} must be a dense array of 1 to {MAX_ARRAY_SIZE} numbers (got {list(shape)})")


def array_shapes(channels: Sequence[int], fc_sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of a VGG-Face with these numbers of outputs, of the five blocks and of fc6, fc7, fc8."""
    widths = {name: channels[int(name[4]) - 1] for name in CONV_NAMES} | dict(zip(FC_NAMES, fc_sizes, strict=True))
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for name, outputs in widths.items():
        inputs *= POOL5_SIZE**2 if name == "fc6" else 1
        kernel = (3, 3) if name in CONV_NAMES else ()
        shapes |= {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}
        inputs = outputs
    return shapes


def check_order(layers: Sequence[tuple[str, str]]) -> None:
    """Refuse layers in another order than VGG-Face's.

    Args:
        layers: (kind, description) of each, first to last. A kind is a name of `CONV_NAMES` or `FC_NAMES`, "relu",
            "pool", "dropout", "flatten", "softmax", or anything else, which VGG-Face does not have. Files with the
            weights alone, and so without any "relu" or without any "pool", are not asked for them.

    Raises:
        ValueError: naming the first layer that does not belong where it is.
    """
    kinds = {kind for kind, _ in layers}
    wanted = [kind for kind in ORDER if kind in kinds or kind not in ("relu", "pool")]
    stated = [layer for layer in layers if layer[0] not in WITHOUT_EFFECT]
    if stated and stated[-1][0] == "softmax":
        stated.pop()
    end = ("its end", "the end")
    for (kind, description), expected in zip_longest(stated, [*wanted, end[0]], fillvalue=end):
        if kind != expected:
            raise another_network(f"{description} is where VGG-Face has {expected}")


def check_settings(layer: str, stated: Mapping[str, Sequence[float]], expected: Mapping[str, float]) -> None:
    """Refuse a layer that states another setting, as its stride, than expected; what it leaves out is not asked for."""
    for setting, value in expected.items():
        if any(number != value for number in stated.get(setting, ())):
            raise another_network(f"{layer} has {setting} {list(stated[setting])}, VGG-Face's is {value:g}")


def check_widths(widths: Mapping[str, int]) -> None:
    """Refuse the VGG-16 of ImageNet and other networks by their sizes; narrower copies, as for tests, pass.

    Args:
        widths: outputs of each layer of `CONV_NAMES` and `FC_NAMES`.
    """
    if widths["fc8"] == IMAGENET_CLASSES:
        raise another_network(f"fc8 has the {IMAGENET_CLASSES:,} classes of ImageNet, VGG-Face's has {FC_SIZES[2]:,}")
    is_published = all(widths[name] == WIDTHS[name] for name in CONV_NAMES)
    if is_published and (found := [widths[name] for name in FC_NAMES]) != list(FC_SIZES):
        raise another_network(
            f"with convolutions of the published size fc6, fc7, fc8 must have {list(FC_SIZES)} outputs (got {found})"
        )
