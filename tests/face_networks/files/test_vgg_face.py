"""Every public VGG-Face format gives the golden features and the same converted file; every bad file is refused with its reason."""

import hashlib
import os
import pickle
import re
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from speech2face.face_networks import load_vgg_face, vgg_face_file
from speech2face.face_networks.files import torch7, vgg_face
from speech2face.face_networks.files.isolated import failure
from speech2face.face_networks.files.vgg_face import read
from speech2face.face_networks.store import converted
from speech2face.face_networks.vgg_face_file import WeightFile, check_command, describe
from speech2face.face_networks.vgg_face_layout import CONV_NAMES, FC_NAMES
from tests.face_networks.files import weight_files
from tests.face_networks.files.weight_files import LAYERS, NARROW_H5, T7Writer, state_dict
from tests.face_networks.test_vgg_face import close, crops, golden

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("readers_at_once")]

WRITERS = {
    "pytorch": weight_files.write_pytorch,
    "pytorch_before_1_6": lambda path: weight_files.write_pytorch(path, zipped=False),
    "keras_whole_model": lambda path: weight_files.write_keras(path, ("/kernel:0", "/bias:0")),
    "keras_1": lambda path: weight_files.write_keras(path, prefix=""),
    "deepface": weight_files.write_deepface,
    "torch7": weight_files.write_torch7,
    "torch7_unversioned_double": lambda path: weight_files.write_torch7(path, versioned=False, dtype=np.float64),
    "torch7_one_storage": weight_files.write_torch7_flat,
    "matconvnet": weight_files.write_matconvnet,
    "matconvnet_first_release": lambda path: weight_files.write_matconvnet(path, first_release=True),
}
FORMAT_OF = {"keras_whole_model": "keras_vggface", "keras_1": "keras_vggface"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.bin"  # a name that says nothing: content decides


def refused(path: Path, words: str) -> None:
    """By the reader, called here: the way through a process of its own is the same for all."""
    with pytest.raises(Exception) as error:
        read(path)
    reason = failure(error.value)
    assert re.search(words, reason) and "\n" not in reason


def refused_by_all(path: Path, words: str) -> None:
    for function in (load_vgg_face, describe, check_command):
        with pytest.raises(ValueError, match=f"^{path}: .*{words}") as error:
            function(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("written", WRITERS)
def test_every_format_gives_the_golden_features(file: Path, written: str):
    WRITERS[written](file)
    network = load_vgg_face(file)
    assert converted("vgg_face", file) == converted("vgg_face", NARROW_H5)
    features = network.embed(crops())
    close(features, "pre_fc7")
    close(network.logits(features), "pre_fc8")
    info = WeightFile(file, "", None, **vgg_face.describe(file))
    known = FORMAT_OF.get(written, written.split("_")[0])
    assert (info.format, info.num_parameters, info.num_classes, info.feature_dim) == (known, 136_412, 32, 40)
    assert info.channels == [4, 8, 16, 32, 32]
    assert info.channel_order == ("RGB" if known in ("pytorch", "matconvnet") else "BGR")
    np.testing.assert_allclose(info.mean_rgb, (129.1863, 104.7624, 93.5940), atol=1e-4)


def test_describe_and_check_name_the_file(monkeypatch: pytest.MonkeyPatch):
    digest = hashlib.sha256(NARROW_H5.read_bytes()).hexdigest()
    info = describe(NARROW_H5)
    assert (info.path, info.sha256, info.known_as, info.format) == (NARROW_H5, digest, None, "keras_vggface")
    assert info.channels == (4, 8, 16, 32, 32)
    text = check_command(NARROW_H5)
    assert "not on record" in text and "BGR" in text and "NOT the published size" in text and "136,412" in text
    monkeypatch.setitem(vgg_face_file.KNOWN_SHA256, digest, "the narrow file")
    assert "known: the narrow file" in check_command(NARROW_H5)


def test_sha256_is_held_against_the_file():
    load_vgg_face(str(NARROW_H5), sha256=hashlib.sha256(NARROW_H5.read_bytes()).hexdigest().upper())
    with pytest.raises(ValueError, match="sha256 must be 0000"):
        load_vgg_face(NARROW_H5, sha256="0" * 64)


def test_mean_picture_of_matconvnet_is_subtracted_pixel_by_pixel(file: Path):
    """A mean picture that is the input itself leaves zeros, so the feature is that of a zero picture."""
    picture = golden()["input_uint8_rgb"][0].astype(np.float32)
    weight_files.write_matconvnet(file, image=picture)
    network = load_vgg_face(file)
    with torch.no_grad():
        zero = network.fc7(torch.relu(network.fc6(network.pool5(torch.zeros(1, 3, 224, 224)).flatten(1))))
    torch.testing.assert_close(network.embed(crops()[:1]), zero, rtol=0, atol=1e-4)
    np.testing.assert_allclose(vgg_face.describe(file)["mean_rgb"], picture.mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize("written", WRITERS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, -1])
def test_truncated_files_are_refused(file: Path, written: str, kept: float):
    WRITERS[written](file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept) if kept > 0 else -1])
    if written.startswith("pytorch"):  # nothing in it can take this process down, and PyTorch is loaded here
        refused(file, "")
    else:
        with pytest.raises(ValueError, match=r"weights\.bin: "):
            load_vgg_face(file)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(file: Path, value: float):
    state = state_dict()
    state["fc7.weight"][3, 5] = value
    torch.save(state, file)
    refused(file, "fc7.weight holds NaN or infinity")


def test_every_entry_refuses_in_one_line_that_begins_with_the_file(file: Path):
    file.write_bytes(b"anything")
    refused_by_all(file, "unknown format; VGG-Face weights are read from")
    no_top = {name: pair for name, pair in weight_files.kernels().items() if "conv" in name}
    weight_files._write_h5(file, no_top, ("/kernel:0", "/bias:0"), "")
    refused_by_all(file, "notop")


def changed(file: Path, **changes: torch.Tensor | None) -> None:
    state = state_dict()
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save(state, file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fc8__bias": None}, r"1 of the 32 arrays of VGG-Face are missing \(fc8.bias\)"),
        ({"fc9__bias": torch.zeros(3)}, r"1 are not VGG-Face's \(fc9.bias\)"),
        ({"conv3_2__weight": torch.zeros(16, 16, 5, 5)}, r"conv3_2.weight must be \[16, 16, 3, 3\]"),
        ({"conv3_2__bias": torch.zeros(17)}, r"conv3_2.bias must be \[16\]"),
        ({"fc6__weight": torch.zeros(48, 512)}, r"fc6.weight must be \[48, 1568\]"),
        ({"fc8__weight": torch.zeros(40, 32)}, r"fc8.weight must be \[32, 40\]"),
        ({"conv1_1__weight": torch.zeros(4, 1, 3, 3)}, r"conv1_1.weight must be \[4, 3, 3, 3\]"),
        ({"fc7__weight": torch.zeros(1).expand(2**20, 2**20)}, "dense array of 1 to"),
        ({"fc7__weight": torch.zeros(40, 48).to_sparse()}, "dense array"),
        ({"fc7__weight": torch.zeros(40, 48, device="meta")}, "dense array"),
        ({"conv1_1__bias": torch.tensor(0.0)}, "wrong shape"),
    ],
)
def test_missing_extra_and_misshapen_arrays_are_refused(file: Path, changes: dict, words: str):
    changed(file, **changes)
    refused(file, words)


def test_other_networks_are_refused(file: Path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3), "classifier.6.bias": torch.zeros(1000)}, file)
    refused(file, "another network")
    torch.save([torch.zeros(3)], file)
    refused(file, "must hold a state_dict")
    torch.save({"state_dict": state_dict()}, file)
    refused(file, "must hold a state_dict")

    blocks = {f"block{name[4]}_conv{name[-1]}": pair for name, pair in weight_files.kernels().items() if "conv" in name}
    weight_files._write_h5(file, blocks, ("/kernel:0", "/bias:0"), "")  # ImageNet's VGG-16 in Keras
    refused(file, "another network")
    file.unlink()
    with h5py.File(file, "w") as other:
        other["data"] = np.zeros(3)
    refused(file, "layer_names")

    savemat(file, {"layers": np.zeros(3)}, appendmat=False)
    refused(file, "SimpleNN")
    writer = T7Writer()
    linear = ("nn.Linear", {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)})
    writer.value(("nn.Sequential", {"modules": {1: linear}}))
    writer.save(file)
    refused(file, "1 modules have weights")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x00" * 600, "unknown format"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"MATLAB 7.3 MAT-file, Platform" + b" " * 500, "-v7"),
        (b"4\n1\n3\nV 1\n", "ASCII"),
    ],
)
def test_unknown_formats_are_refused_with_the_known_ones(file: Path, content: bytes, words: str):
    file.write_bytes(content)
    refused(file, f"{words}.*vgg_face_dag.pth.*rcmalli_vggface.*vgg_face_weights.h5.*VGG_FACE.t7.*vgg-face.mat")


def test_no_file_and_a_directory(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file; a VGG-Face weight file is one of"):
        load_vgg_face(tmp_path / "absent.pth")
    refused_by_all(tmp_path, "not a file")


class Canary:
    """Unpickled the usual way, it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(file: Path, tmp_path: Path, zipped: bool):
    canary = tmp_path / "canary"
    torch.save({**state_dict(), "extra": Canary(canary)}, file, _use_new_zipfile_serialization=zipped)
    refused(file, "mkdir.*nothing in it was run")
    if zipped:
        with pytest.raises(ValueError, match=r"mkdir.*nothing in it was run"):
            load_vgg_face(file)
    file.write_bytes(pickle.dumps(Canary(canary)))
    refused(file, "bare pickle")
    assert not canary.exists()
    pickle.loads(file.read_bytes())  # the canary does sing where it is let
    assert canary.exists()


def test_hdf5_links_to_other_files_are_not_followed(file: Path, tmp_path: Path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((3, 3, 3, 4), np.float32)
    weight_files.write_keras(file, ("/kernel:0", "/bias:0"), "")
    with h5py.File(file, "a") as keras:
        del keras["conv1_1/conv1_1/kernel:0"]
        keras["conv1_1/conv1_1/kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
    refused(file, "link elsewhere")
    with h5py.File(file, "a") as keras:
        group = keras["conv1_1/conv1_1"]
        del group["kernel:0"]
        size = 3 * 3 * 3 * 4 * 4
        group.create_dataset("kernel:0", (3, 3, 3, 4), "f4", external=[(str(tmp_path / "raw"), 0, size)])
    refused(file, "another file")
    with h5py.File(file, "a") as keras:
        group = keras["conv1_1/conv1_1"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (2**40,), "f4", chunks=(1024,))
    refused(file, r"conv1_1 must have a kernel of at most \[3, 3, 3, 64\]")


def t7(file: Path, *parts: bytes | int) -> Path:
    file.write_bytes(b"".join(struct.pack("<i", part) if isinstance(part, int) else part for part in parts))
    return file


def text(string: bytes) -> bytes:
    return struct.pack("<i", len(string)) + string


def tensor(sizes: tuple, strides: tuple, offset: int) -> bytes:
    longs = struct.pack(f"<{2 * len(sizes) + 1}q", *sizes, *strides, offset)
    storage = struct.pack("<ii", 4, 2) + text(b"V 1") + text(b"torch.FloatStorage") + struct.pack("<q4f", 4, *range(4))
    return text(b"V 1") + text(b"torch.FloatTensor") + struct.pack("<i", len(sizes)) + longs + storage


def test_t7_reads_plain_data(file: Path):
    writer = T7Writer()
    matrix = np.arange(6, dtype=np.float64).reshape(2, 3)
    writer.value({"number": 2.5, 1: "text", "yes": True, "none": None, "inner": {1: matrix}, "m": ("nn.ReLU", {})})
    writer.save(file)
    table = torch7.read_t7(file)
    assert (table["number"], table[1.0], table["yes"], table["none"]) == (2.5, "text", True, None)
    np.testing.assert_array_equal(table["inner"][1.0], matrix)
    assert table["m"] == torch7.Module("nn.ReLU")
    t7(file, 4, 1, tensor((2, 2), (1, 2), 1))  # transposed, by its strides
    np.testing.assert_array_equal(torch7.read_t7(file), [[0, 2], [1, 3]])
    t7(file, 3, 1, 1, 2, text(b"self"), 3, 1)  # a table that holds itself
    table = torch7.read_t7(file)
    assert table["self"] is table


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((3, 1, 1, 2, text(b"f"), 6, 2, text(b"bytecode")), "Lua function"),
        ((3, 1, 1, 2, text(b"f"), 8, 2, text(b"bytecode")), "Lua function"),
        ((4, 1, text(b"V 1"), text(b"tds.Hash"), 0), "class 'tds.Hash'"),
        ((4, 1, text(b"cudnn.SpatialConvolution"), 0), "class 'cudnn"),
        ((4, 1, text(b"V 1"), text(b"nn.ReLU"), 0), "without a table"),
        ((3, 1, 2**31 - 1), "truncated"),
        ((3, 1, 1, 2, 2**31 - 1), "a string of"),
        ((3, 1, 1, 2, -5), "truncated"),
        ((3, 1, 1, 0, 0), "key of type NoneType"),
        ((3, 1, 0, 7), "4 bytes follow"),
        ((3, 1, 1, 9), "unknown type 9"),
        ((4, 1, text(b"V 1"), text(b"torch.FloatStorage"), struct.pack("<q", 2**62)), "truncated"),
        ((4, 1, text(b"V 1"), text(b"torch.FloatStorage"), struct.pack("<q", -1)), "truncated"),
        ((4, 1, text(b"V 1"), text(b"torch.FloatTensor"), 9), "9 dimensions"),
        ((4, 1, tensor((2, 3), (3, 1), 1)), "leaves its storage"),
        ((4, 1, tensor((2, 2), (2, 1), 2)), "leaves its storage"),
        ((4, 1, tensor((2**62, 2**62), (0, 0), 1)), "leaves its storage"),
        ((4, 1, tensor((2**62,), (4,), 1)), "leaves its storage"),
        ((4, 1, tensor((2, 2), (-1, 1), 3)), "strides"),
        ((4, 1, tensor((2, 2), (2, 1), 0)), "offset 0"),
        (tuple(part for depth in range(1, 100) for part in (3, depth, 1, 2, text(b"k"))), "deep"),
    ],
)
def test_t7_bounds(file: Path, parts: tuple, words: str):
    with pytest.raises(ValueError, match=words):
        torch7.read_t7(t7(file, *parts))


def test_t7_of_another_type_than_its_storage(file: Path):
    part = tensor((2, 2), (2, 1), 1).replace(b"torch.FloatTensor", b"torch.CudaHTensor")
    with pytest.raises(ValueError, match=r"class 'torch\.CudaHTensor'"):
        torch7.read_t7(t7(file, 4, 1, part))
    part = tensor((2, 2), (2, 1), 1).replace(text(b"torch.FloatTensor"), text(b"torch.LongTensor"))
    with pytest.raises(ValueError, match="without a storage of its type"):
        torch7.read_t7(t7(file, 4, 1, part))


def test_layer_names_are_the_published_ones():
    assert list(CONV_NAMES + FC_NAMES) == LAYERS
