"""Files in a known container that do not hold VGG-Face, whatever their names: refused, by what gives them away."""

import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import nn

from speech2face.face_networks import load_vgg_face, vgg_face_file
from speech2face.face_networks.files import keras_h5
from speech2face.face_networks.files.vgg_face import read
from speech2face.face_networks.vgg_face import VggFace
from speech2face.face_networks.vgg_face_file import check_command
from speech2face.face_networks.vgg_face_layout import CHANNELS, NUM_PARAMETERS, check_widths
from tests.face_networks.files import weight_files
from tests.face_networks.files.test_vgg_face import refused
from tests.face_networks.files.weight_files import CONVS, LAYERS, NARROW_H5, state_dict

ALL_FORMATS = "vgg_face_dag.pth.*rcmalli_vggface.*vgg_face_weights.h5.*VGG_FACE.t7.*vgg-face.mat"
WRITERS = [
    weight_files.write_pytorch,
    weight_files.write_keras,
    weight_files.write_deepface,
    weight_files.write_torch7,
    weight_files.write_matconvnet,
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.bin"


@pytest.mark.parametrize("written", WRITERS)
def test_imagenets_classes_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch, written: Callable):
    layers = weight_files.kernels()
    layers["fc8"] = np.ones((40, 1000), np.float32), np.zeros(1000, np.float32)
    monkeypatch.setattr(weight_files, "kernels", lambda: layers)
    written(file)
    refused(file, f"1,000 classes of ImageNet, VGG-Face's has 2,622.*{ALL_FORMATS}")


@pytest.mark.parametrize(
    ("sizes", "refusal"),
    [
        ((4096, 4096, 2622), None),
        ((4096, 4096, 2621), r"got \[4096, 4096, 2621\]"),
        ((4096, 1024, 2622), r"got \[4096, 1024, 2622\]"),
        ((2048, 4096, 2622), r"got \[2048, 4096, 2622\]"),
    ],
)
def test_published_convolutions_come_with_the_published_rest(sizes: tuple, refusal: str | None):
    widths = {name: CHANNELS[int(name[4]) - 1] for name in CONVS} | dict(zip(LAYERS[-3:], sizes, strict=True))
    if refusal is None:
        check_widths(widths)
    else:
        with pytest.raises(ValueError, match=refusal):
            check_widths(widths)
    check_widths(widths | {"conv1_1": 63})


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_tensors_that_are_not_floating_point_are_refused(file: Path, dtype: torch.dtype):
    state = state_dict()
    torch.save(state | {"fc7.weight": state["fc7.weight"].to(dtype)}, file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(file, f"fc7.weight must be floating point .got {dtype}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(file: Path, dtype: torch.dtype):
    torch.save({name: tensor.to(dtype) for name, tensor in state_dict().items()}, file)
    _, arrays, _ = read(file)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(arrays["fc7.weight"], state_dict()["fc7.weight"].to(dtype).float())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_named(file: Path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(file, f"a TorchScript archive, not a state_dict; .*{ALL_FORMATS}")
        with pytest.raises(ValueError) as error:
            read(file)
    assert "weights_only" not in str(error.value)


def test_only_what_differs_is_named(file: Path):
    torch.save(state_dict() | {"extra": torch.zeros(1)}, file)
    refused(file, r"another network: 1 are not VGG-Face's \(extra\); VGG-Face weights are read from")
    state = state_dict()
    del state["fc8.bias"]
    torch.save(state, file)
    refused(file, r"another network: 1 of the 32 arrays of VGG-Face are missing \(fc8.bias\); VGG-Face weights")
    weight_files._write_h5(file, {"extra": (np.ones(2), np.ones(2))} | weight_files.kernels(), ("/k:0", "/b:0"), "")
    refused(file, r"another network: 1 are not VGG-Face's \(extra\); VGG-Face weights")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda modules: modules.__setitem__(1, ("nn.Tanh", {})), r"module 2 \(nn.Tanh\) is where VGG-Face has relu"),
        (lambda modules: modules.insert(1, ("nn.Sigmoid", {})), r"module 2 \(nn.Sigmoid\)"),
        (lambda modules: modules.pop(1), r"module 2 \(nn.SpatialConvolutionMM\) is where VGG-Face has relu"),
        (lambda modules: modules.append(("nn.ReLU", {})), r"\(nn.SoftMax\) is where VGG-Face has its end"),
        (
            lambda modules: modules.__setitem__(4, ("nn.SpatialAveragePooling", {"kW": 2})),
            r"module 5 \(nn.SpatialAvera",
        ),
        (
            lambda modules: modules[0][1].update(dW=4),
            r"module 1 \(nn.SpatialConvolutionMM\) has dW \[4.0\], VGG-Face's is 1",
        ),
        (lambda modules: modules[0][1].update(kW=9, kH=1), r"has kW \[9.0\], VGG-Face's is 3"),
        (lambda modules: modules[2][1].update(padH=0), r"module 3 .* has padH \[0.0\], VGG-Face's is 1"),
        (
            lambda modules: modules[4][1].update(kW=3),
            r"module 5 \(nn.SpatialMaxPooling\) has kW \[3.0\], VGG-Face's is 2",
        ),
        (lambda modules: modules[1][1].update(threshold=0.5), r"module 2 \(nn.ReLU\) has threshold \[0.5\]"),
    ],
)
def test_torch7_with_other_layers_is_refused(file: Path, change: Callable, words: str):
    weight_files.write_torch7(file, change=change)
    refused(file, f"another network: .*{words}.*{ALL_FORMATS}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda layers: layers[1].update(type="sigmoid"),
            r"layer 2 \(sigmoid relu_conv1_1\) is where VGG-Face has relu",
        ),
        (lambda layers: layers.pop(1), r"layer 2 \(conv conv1_2\) is where VGG-Face has relu"),
        (lambda layers: layers.insert(2, {"type": "lrn", "name": "norm1"}), r"layer 3 \(lrn norm1\)"),
        (lambda layers: layers.append(layers[0]), r"\(softmax prob\) is where VGG-Face has its end"),
        (lambda layers: layers[0].update(stride=[2.0, 1.0]), r"layer 1 \(conv conv1_1\) has stride \[2.0, 1.0\]"),
        (lambda layers: layers[0].update(pad=0.0), r"layer 1 \(conv conv1_1\) has pad \[0.0\], VGG-Face's is 1"),
        (lambda layers: layers[0].update(dilate=2.0), r"has dilate \[2.0\]"),
        (lambda layers: layers[4].update(method="avg"), r"layer 5 \(pool pool1\) has method avg, VGG-Face's is max"),
        (lambda layers: layers[4].update(pool=[3.0, 3.0]), r"layer 5 \(pool pool1\) has pool \[3.0, 3.0\]"),
        (lambda layers: layers[4].update(pad=1.0), r"layer 5 \(pool pool1\) has pad \[1.0\], VGG-Face's is 0"),
        (lambda layers: layers[1].update(leak=0.1), r"layer 2 \(relu relu_conv1_1\) has leak \[0.1\]"),
    ],
)
def test_matconvnet_with_other_layers_is_refused(file: Path, change: Callable, words: str):
    weight_files.write_matconvnet(file, change=change)
    refused(file, f"another network: .*{words}.*{ALL_FORMATS}")


@pytest.mark.parametrize(
    ("mean", "got"),
    [
        ([np.nan, 104.0, 93.0], "nan"),
        ([np.inf, 104.0, 93.0], "inf"),
        ([0.5, 0.4, 0.3], "0.3 to 0.5"),
        ([1e30, 0.0, 0.0], "1e.30"),
        ([-5.0, 104.0, 93.0], "-5 to 104"),
    ],
)
def test_an_absurd_mean_is_refused(file: Path, mean: list, got: str):
    weight_files.write_matconvnet(file, image=np.array(mean, np.float32).reshape(1, 1, 3))
    refused(file, f"averageImage must be the mean of pixels in 0..255, finite .got .*{got}")


def test_mat_files_of_other_structure_get_plain_words(file: Path):
    savemat(file, {"net": np.zeros(3)}, appendmat=False)
    refused(file, "net must be a 1 x 1 struct, as MatConvNet saves it")
    savemat(file, {"layers": weight_files._cells([np.zeros(3)])[None]}, appendmat=False)
    refused(file, "layer 1 must be a 1 x 1 struct")


def test_h5_lists_are_held_against_the_groups(file: Path):
    weight_files.write_keras(file)
    with h5py.File(file, "a") as keras:
        root = keras["model_weights"]
        root.create_group("dropout_left/behind")  # empty, as names with a slash leave them
        names = root.attrs["layer_names"]
    assert len(read(file)[1]) == 32
    with h5py.File(file, "a") as keras:
        keras["model_weights"].attrs["layer_names"] = [*names, "conv1_1"]
    refused(file, "layer_names lists conv1_1 more than once")
    weight_files.write_keras(file)
    with h5py.File(file, "a") as keras:
        keras["model_weights"].create_group("batch_norm_9")["gamma"] = np.ones(4, np.float32)
    refused(file, f"batch_norm_9 holds weights and is not in layer_names.*{ALL_FORMATS}")


def replaced(file: Path, name: str, **declared: object) -> None:
    file.write_bytes(NARROW_H5.read_bytes())
    with h5py.File(file, "a") as keras:
        del keras[name]
        keras.create_dataset(name, **declared)


def test_h5_shapes_are_checked_before_numbers_are_read(file: Path, monkeypatch: pytest.MonkeyPatch):
    replaced(file, "fc7/fc7/kernel:0", shape=(2**14, 2**14), dtype="f4", chunks=(1024, 1024))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("numbers were read"))
    with pytest.raises(ValueError, match=r"fc7 must have a kernel of at most \[4096, 4096\].*got \[16384, 16384\]"):
        keras_h5.read(file)
    replaced(file, "conv3_2/conv3_2/bias:0", shape=(2**28,), dtype="f4", chunks=(1024,))
    with pytest.raises(ValueError, match=r"conv3_2 .* a bias to fit .*\[268435456\]"):
        keras_h5.read(file)
    replaced(file, "fc7/fc7/kernel:0", shape=(48, 40), maxshape=(None, None), dtype="f4", chunks=(4096, 4096))
    with pytest.raises(ValueError, match=r"pieces \(4096, 4096\), larger than its shape \(48, 40\)"):
        keras_h5.read(file)


def test_an_empty_h5_dataset_gets_plain_words(file: Path):
    replaced(file, "fc7/fc7/kernel:0", data=h5py.Empty("f4"))
    refused(file, "/fc7/fc7/kernel:0 must hold floating point numbers .got nothing")


def test_the_size_is_said_unless_it_is_the_published_one(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    load_vgg_face(NARROW_H5)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "136,412 parameters instead of 145,002,878" in error
    assert "NOT the published size" in check_command(NARROW_H5)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in VggFace().parameters()) == NUM_PARAMETERS
    monkeypatch.setattr(vgg_face_file, "NUM_PARAMETERS", 136_412)
    load_vgg_face(NARROW_H5)
    assert capsys.readouterr().err == ""
