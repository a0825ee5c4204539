"""ArcFace and the age and sex model against insightface's own classes, on small models of the same shapes."""

import socket
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from insightface.app.common import Face
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.attribute import Attribute
from insightface.utils import face_align
from onnx import helper

from speech2face.face_networks import arcface
from speech2face.face_networks.alignment import similarity_transform, warp_affine
from speech2face.face_networks.files import insightface_pack
from tests.face_networks.test_onnx_network import noise, save

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("readers_at_once")]

FIVE_POINTS = np.array([[80, 95], [140, 90], [112, 125], [90, 160], [138, 156]], np.float32)


def write_recognition(path: Path, opset: int = 11, batch: int | str = "None") -> Path:
    """Shaped as insightface's: convolution, batch norm, PReLU, residual, flatten, dense, batch norm; 512 outputs."""
    weights = {
        "w": noise(8, 3, 3, 3) / 3, "s": noise(8, 1, 1) / 4, "w2": noise(8, 8, 3, 3, seed=2) / 8,
        "g": noise(512, 8 * 14 * 14, seed=3) / 40, "gb": noise(512, seed=4),
        **{f"n{place}": array for place, array in enumerate((1 + noise(8) / 9, noise(8), noise(8), noise(8) ** 2 + 1))},
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "Conv_0", strides=[4, 4], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], ["b"], "BatchNormalization_1"),
        helper.make_node("PRelu", ["b", "s"], ["p"], "PRelu_2"),
        helper.make_node("Conv", ["p", "w2"], ["c2"], "Conv_3", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "p"], ["a"], "Add_4"),
        helper.make_node("MaxPool", ["a"], ["m"], "MaxPool_5", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"], "Flatten_6"),
        helper.make_node("Gemm", ["f", "g", "gb"], ["y"], "Gemm_7", transB=1),
    ]
    save(path, nodes, weights, [batch, 3, 112, 112], opset)
    return path


def write_age_sex(path: Path, normalises: bool, num_outputs: int = 3) -> Path:
    """As exported from MXNet: the graph may begin with its own Sub and Mul, and insightface then scales nothing."""
    weights = {"w": noise(6, 3, 3, 3) / 9, "g": noise(num_outputs, 6, seed=3), "gb": noise(num_outputs, seed=4)}
    begin = []
    if normalises:
        weights |= {"mean": np.float32([127.5]), "scale": np.float32([1 / 128])}
        begin = [
            helper.make_node("Sub", ["x", "mean"], ["x1"], "_minusscalar0"),
            helper.make_node("Mul", ["x1", "scale"], ["x2"], "_mulscalar0"),
        ]
    nodes = [
        *begin,
        helper.make_node("Conv", ["x2" if normalises else "x", "w"], ["c"], "conv_1", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], "relu_1"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "g", "gb"], ["y"], "fc1", transB=1),
    ]
    save(path, nodes, weights, ["None", 3, 96, 96], 9)
    model = onnx.load(path)  # insightface reads the number of outputs from the graph
    for size in ("None", num_outputs):
        dimension = model.graph.output[0].type.tensor_type.shape.dim.add()
        setattr(dimension, "dim_param" if size == "None" else "dim_value", size)
    onnx.save(model, path)
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The directory of a pack, with two files of other tasks among its models."""
    directory = tmp_path / "models" / "buffalo_l"
    directory.mkdir(parents=True)
    relu = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y1"])]
    save(directory / "det_10g.onnx", relu, {}, [1, 3, 112, 112], num_outputs=2)
    save(directory / "2d106det.onnx", relu[:1], {}, ["None", 3, 192, 192])
    return directory


def pictures(count: int = 2) -> np.ndarray:
    """Smooth colour pictures, uint8 RGB [count, 224, 224, 3]: sampling between pixels then hardly depends on how."""
    rough = np.random.default_rng(5).uniform(0, 255, (count, 12, 12, 3)).astype(np.uint8)
    return np.stack([cv2.resize(picture, (224, 224), interpolation=cv2.INTER_CUBIC) for picture in rough])


def to_crops(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def landmarks(five_points: np.ndarray) -> torch.Tensor:
    """68 points with the given eye centres, nose and mouth corners; the others are far off and must not matter."""
    points = np.full((68, 2), 999, np.float32)
    ring = 5 * np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], 1)
    points[36:42], points[42:48] = five_points[0] + ring, five_points[1] + ring
    points[30], points[48], points[54] = five_points[2:]
    return torch.from_numpy(points)[None]


def test_five_points_and_alignment_are_insightfaces():
    np.testing.assert_allclose(arcface.five_points(landmarks(FIVE_POINTS))[0], FIVE_POINTS, atol=1e-4)
    np.testing.assert_allclose(arcface.TEMPLATE_112, face_align.arcface_dst)
    matrix = similarity_transform(torch.from_numpy(FIVE_POINTS)[None], torch.tensor(arcface.TEMPLATE_112))
    np.testing.assert_allclose(matrix[0], face_align.estimate_norm(FIVE_POINTS), atol=1e-4)
    image = pictures(1)[0]
    aligned = warp_affine(to_crops(image[None]), matrix, 112)[0].permute(1, 2, 0).numpy() * 255
    # OpenCV rounds places to 1/32 pixel and values to whole numbers.
    steepest = np.abs(np.diff(image.astype(float), axis=0)).max() + np.abs(np.diff(image.astype(float), axis=1)).max()
    assert np.abs(aligned - face_align.norm_crop(image, FIVE_POINTS)).max() <= 0.5 + steepest / 32


@pytest.mark.parametrize("opset", [8, 11, 17])
def test_embedding_is_insightfaces_on_the_same_pixels(pack: Path, opset: int):
    """With the five points on the template the alignment is a crop without sampling: what remains must be equal."""
    path = write_recognition(pack / "w600k_r50.onnx", opset)
    model = arcface.load_arcface(pack)
    assert model.feature_dim == 512
    images = pictures()
    actual = model.embed(to_crops(images), landmarks(face_align.arcface_dst).expand(2, 68, 2))
    expected = ArcFaceONNX(str(path)).get_feat([image[:112, :112, ::-1] for image in images])  # BGR
    np.testing.assert_allclose(actual, expected, atol=2e-4)  # float32 alignment: places to 1e-5 pixels


def test_embedding_is_insightfaces_end_to_end(pack: Path):
    path = write_recognition(pack / "w600k_r50.onnx")
    model = arcface.load_arcface(pack)
    image = pictures(1)[0]
    actual = model.embed(to_crops(image[None]), landmarks(FIVE_POINTS))[0].numpy()
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    expected = ArcFaceONNX(str(path)).get(bgr, Face(kps=FIVE_POINTS))
    assert np.linalg.norm(actual - expected) < 0.01 * np.linalg.norm(expected)
    swapped = ArcFaceONNX(str(path)).get(image, Face(kps=FIVE_POINTS))
    assert np.linalg.norm(actual - swapped) > 0.1 * np.linalg.norm(expected)  # the test does see the channel order


def test_gradients_reach_crops_and_landmarks(pack: Path):
    write_recognition(pack / "w600k_r50.onnx")
    model = arcface.load_arcface(pack).double()
    generator = np.random.default_rng(0)
    crops = torch.from_numpy(generator.uniform(0.1, 0.9, (1, 3, 224, 224))).requires_grad_()
    points = landmarks(FIVE_POINTS).double().requires_grad_()
    upstream = torch.from_numpy(generator.standard_normal((1, 512)))
    (model.embed(crops, points) * upstream).sum().backward()
    crop_step = torch.from_numpy(generator.standard_normal(crops.shape))
    point_step = torch.from_numpy(generator.standard_normal(points.shape))
    step = 1e-7
    with torch.no_grad():
        ends = [
            (model.embed(crops + sign * step * crop_step, points + sign * step * point_step) * upstream).sum()
            for sign in (1, -1)
        ]
    slope = (crops.grad * crop_step).sum() + (points.grad * point_step).sum()
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=0)
    assert (points.grad * point_step).sum().abs() > 1e-3


@pytest.mark.parametrize("normalises", [True, False])
def test_age_and_sex_are_insightfaces(pack: Path, normalises: bool):
    """A box of 64 pixels about (48, 48) makes the estimator's square the 96 x 96 corner, without sampling."""
    path = write_age_sex(pack / "genderage.onnx", normalises)
    estimator = arcface.load_age_sex(pack)
    assert estimator.input_std == (1.0 if normalises else 128.0)
    image = pictures(1)[0]
    result = estimator.estimate(to_crops(image[None]), torch.tensor([[16.0, 16.0, 80.0, 80.0]]))
    reference = Attribute(str(path))
    corner = image[:96, :96].transpose(2, 0, 1)[None].astype(np.float32)
    raw = reference.session.run(None, {"x": (corner - reference.input_mean) / reference.input_std})[0][0]
    assert result.age_years.item() == pytest.approx(raw[2] * 100, abs=1e-2)
    assert result.male_probability.item() == pytest.approx(np.exp(raw[1]) / np.exp(raw[:2]).sum(), abs=1e-4)
    face = Face(bbox=np.array([40, 50, 120, 170.0]))
    sex, age = reference.get(np.ascontiguousarray(image[:, :, ::-1]), face)
    result = estimator.estimate(to_crops(image[None]), torch.tensor([[40.0, 50.0, 120.0, 170.0]]))
    assert (result.male_probability.item() > 0.5) == bool(sex)
    assert result.age_years.item() == pytest.approx(age, abs=1)  # insightface rounds the age


def test_face_boxes_add_the_forehead():
    points = torch.zeros(1, 68, 2)
    points[0, 0], points[0, 1:] = torch.tensor([60.0, 90.0]), torch.tensor([160.0, 180.0])
    torch.testing.assert_close(arcface.face_boxes(points), torch.tensor([[60.0, 60.0, 160.0, 180.0]]))


def test_without_a_pack_one_message_and_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_network(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    folder = tmp_path / "antelopev2"
    for load, convert, words in (
        (arcface.load_arcface, insightface_pack.convert_recognition, "w600k_r50.onnx.*112 x 112"),
        (arcface.load_age_sex, insightface_pack.convert_age_sex, "genderage.onnx"),
    ):
        with pytest.raises(FileNotFoundError, match=f"^no .*{words}.* in {folder}: unzip.*nothing is down"):
            load(folder)
        with pytest.raises(FileNotFoundError, match=f"{words}.*{folder}"):
            convert(folder, str(tmp_path))  # here, where the network would be noticed
    assert not list(tmp_path.iterdir())


def test_a_pack_that_lies_one_folder_deeper_is_found(pack: Path):
    write_recognition(pack / "w600k_r50.onnx")
    crops, points = to_crops(pictures()), landmarks(FIVE_POINTS).expand(2, 68, 2)
    expected = arcface.load_arcface(pack).embed(crops, points)
    inner = pack / "buffalo_l"
    inner.mkdir()
    for path in pack.glob("*.onnx"):
        path.rename(inner / path.name)
    assert torch.equal(arcface.load_arcface(pack).embed(crops, points), expected)
    (pack / "antelopev2").mkdir()
    write_recognition(pack / "antelopev2" / "glintr100.onnx")
    with pytest.raises(FileNotFoundError, match="no recognition model"):
        arcface.load_arcface(pack)  # which of the two is meant?


def test_a_pack_with_other_operators_is_refused_by_its_folder(pack: Path):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Tan", ["f"], ["y"])]
    save(pack / "recognition.onnx", nodes, {}, ["None", 3, 112, 112])
    with pytest.raises(ValueError, match=f"^{pack}: .*unsupported operator Tan; supported: Add"):
        arcface.load_arcface(pack)


def test_bad_packs_are_refused(pack: Path):
    path = write_recognition(pack / "w600k_r50.onnx")
    write_recognition(pack / "other.onnx")
    with pytest.raises(ValueError, match=r"two recognition models, other\.onnx and w600k_r50\.onnx"):
        arcface.load_arcface(pack)
    (pack / "other.onnx").unlink()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"w600k_r50.onnx: .*damaged"):
        arcface.load_arcface(pack)
    write_recognition(path)
    (pack / "det_10g.onnx").write_bytes(b"damaged, but of no use here")
    assert arcface.load_arcface(pack).feature_dim == 512
    write_age_sex(pack / "genderage.onnx", False, num_outputs=4)
    path.unlink()
    with pytest.raises(ValueError, match="3 numbers a face"):
        arcface.load_age_sex(pack)


def test_wrong_input_is_refused(pack: Path):
    write_recognition(pack / "w600k_r50.onnx")
    write_age_sex(pack / "genderage.onnx", True)
    model, estimator = arcface.load_arcface(pack), arcface.load_age_sex(pack)
    crops = torch.zeros(1, 3, 224, 224)
    with pytest.raises(ValueError, match="needs landmarks"):
        model.embed(crops)
    with pytest.raises(ValueError, match=r"\[B, 68, 2\]"):
        model.embed(crops, torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match="divide pixels by 255"):
        model.embed(crops + 200, landmarks(FIVE_POINTS))
    with pytest.raises(ValueError, match="left < right"):
        estimator.estimate(crops, torch.tensor([[80.0, 16.0, 16.0, 80.0]]))
