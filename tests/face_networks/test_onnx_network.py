"""The PyTorch reading of ONNX graphs against onnxruntime."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from speech2face.face_networks.files import onnx_graph
from speech2face.face_networks.onnx_network import OPERATORS, OnnxNetwork


def save(
    path: Path, nodes: list, weights: dict[str, np.ndarray], shape: list, opset: int = 13, num_outputs: int = 1
) -> Path:
    """A model from nodes; the input is `x`, the outputs `y`, `y1`, ..."""
    outputs = [
        helper.make_tensor_value_info(f"y{place or ''}", TensorProto.FLOAT, None) for place in range(num_outputs)
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def read(path: Path) -> OnnxNetwork:
    """By way of the text and the arrays that are stored between."""
    graph, weights = onnx_graph.read(path)
    text = json.dumps(graph, allow_nan=False)
    return OnnxNetwork(json.loads(text), {name: torch.from_numpy(array.copy()) for name, array in weights.items()})


def same_as_onnxruntime(path: Path, x: np.ndarray) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    actual = read(path)(torch.from_numpy(x)).numpy()
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-5)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


BATCH_NORM = {"s": 1 + noise(4, seed=1) / 4, "b": noise(4, seed=2), "m": noise(4, seed=3), "v": noise(4) ** 2 + 0.1}
INTEGERS = {"i": np.array([0, -1]), "first": np.array([0])}
CASES = {
    "Add": ("Add", {}, {"w": noise(4, 1, 1)}),
    "Sub from": ("Sub", {}, {"w": noise(1)}),
    "Mul": ("Mul", {}, {"w": noise(2, 4, 6, 6)}),
    "Div": ("Div", {}, {"w": noise(1) + 3}),
    "AveragePool": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, {}),
    "AveragePool padded": (
        "AveragePool",
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        {},
    ),
    "BatchNormalization": ("BatchNormalization", {"epsilon": 0.01}, BATCH_NORM),
    "Conv": ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"w": noise(5, 4, 3, 3), "b": noise(5)}),
    "Conv uneven": ("Conv", {"pads": [0, 1, 2, 0]}, {"w": noise(5, 4, 3, 3)}),
    "Conv grouped": ("Conv", {"group": 4, "dilations": [2, 2]}, {"w": noise(8, 1, 2, 2)}),
    "Concat": ("Concat", {"axis": 1}, {"w": noise(2, 3, 6, 6)}),
    "Dropout": ("Dropout", {}, {}),
    "Flatten": ("Flatten", {}, {}),
    "Flatten all": ("Flatten", {"axis": 0}, {}),
    "Flatten last": ("Flatten", {"axis": -1}, {}),
    "Gather": ("Gather", {"axis": 1}, {"i": INTEGERS["i"]}),
    "GlobalAveragePool": ("GlobalAveragePool", {}, {}),
    "Identity": ("Identity", {}, {}),
    "LeakyRelu": ("LeakyRelu", {"alpha": 0.2}, {}),
    "MatMul": ("MatMul", {}, {"w": noise(6, 3)}),
    "MaxPool": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]}, {}),
    "PRelu": ("PRelu", {}, {"w": noise(4, 1, 1)}),
    "Relu": ("Relu", {}, {}),
    "Reshape": ("Reshape", {}, {"shape": np.array([0, -1, 3])}),
    "Sigmoid": ("Sigmoid", {}, {}),
    "Softmax": ("Softmax", {"axis": 1}, {}),
    "Transpose": ("Transpose", {"perm": [0, 2, 3, 1]}, {}),
    "Transpose all": ("Transpose", {}, {}),
    "Unsqueeze": ("Unsqueeze", {}, {"axes": np.array([0, -1])}),
}


@pytest.mark.parametrize("case", CASES)
def test_operator(tmp_path: Path, case: str):
    operator, attributes, weights = CASES[case]
    nodes = [helper.make_node(operator, ["x", *weights], ["y"], **attributes)]
    same_as_onnxruntime(save(tmp_path / "m.onnx", nodes, weights, ["N", 4, 6, 6]), noise(2, 4, 6, 6))


def test_gemm_with_every_switch(tmp_path: Path):
    for turn, (trans_a, trans_b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        weights = {"w": noise(*((3, 5) if trans_b else (5, 3))), "c": noise(3)}
        node = helper.make_node("Gemm", ["x", *weights], ["y"], alpha=0.5, beta=2.0, transA=trans_a, transB=trans_b)
        shape = (5, 2) if trans_a else (2, 5)
        same_as_onnxruntime(save(tmp_path / f"{turn}.onnx", [node], weights, list(shape)), noise(*shape))


def test_flattening_by_shape_arithmetic(tmp_path: Path):
    """What PyTorch's exporter makes of x.view(x.size(0), -1): Shape, Constant, Gather, Unsqueeze, Concat, Reshape."""
    constant = numpy_helper.from_array(np.array(0), "zero")
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Constant", [], ["zero"], value=constant),
        helper.make_node("Gather", ["shape", "zero"], ["size"]),
        helper.make_node("Unsqueeze", ["size"], ["sizes"], axes=[0]),
        helper.make_node("Concat", ["sizes", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"rest": np.array([-1])}, ["N", 4, 6, 6], opset=11)
    for batch_size in (1, 3):
        same_as_onnxruntime(path, noise(batch_size, 4, 6, 6))


@pytest.mark.parametrize("attributes", [{}, {"axis": 1}, {"axis": 2}, {"axis": -1}])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_of_old_and_new_operator_sets(tmp_path: Path, attributes: dict, opset: int):
    nodes = [helper.make_node("Softmax", ["x"], ["y"], **attributes)]
    same_as_onnxruntime(save(tmp_path / "m.onnx", nodes, {}, ["N", 4, 6, 6], opset), noise(2, 4, 6, 6))


def test_every_operator_is_tested():
    assert set(OPERATORS) == {case[0] for case in CASES.values()} | {"Gemm", "Shape"}


@pytest.mark.parametrize("opset", [8, 11, 13, 17, 20])
def test_operator_sets(tmp_path: Path, opset: int):
    weights = {"w": noise(4, 3, 3, 3), "b": noise(4), **{f"n_{name}": array for name, array in BATCH_NORM.items()}}
    spatial = {"spatial": 1} if opset < 9 else {}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *[f"n_{name}" for name in BATCH_NORM]], ["n"], **spatial),
        helper.make_node("Add", ["n", "c"], ["a"]),  # c is used twice: it must not be let go after the first
        helper.make_node("Flatten", ["a"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, weights, ["N", 3, 6, 6], opset)
    same_as_onnxruntime(path, noise(2, 3, 6, 6))


def test_gradient_reaches_the_input(tmp_path: Path):
    nodes = [helper.make_node("Mul", ["x", "x"], ["s"]), helper.make_node("Mul", ["s", "w"], ["y"])]
    network = read(save(tmp_path / "m.onnx", nodes, {"w": noise(5)}, [2, 5]))
    x = torch.from_numpy(noise(2, 5, seed=4)).requires_grad_()
    network(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy() * noise(5), rtol=1e-6)


def test_what_is_not_supported_is_named(tmp_path: Path):
    path = tmp_path / "m.onnx"
    cases = [
        ([helper.make_node("Tan", ["x"], ["y"])], {}, "unsupported operator Tan; supported: Add"),
        ([helper.make_node("Relu", ["z"], ["y"])], {}, "Relu needs z"),
        ([helper.make_node("Relu", ["x"], ["z"])], {}, "nothing gives the output y"),
        (
            [helper.make_node("Relu", ["x"], ["y"], domain="com.example")],
            {},
            r"unsupported operator com\.example\.Relu",
        ),
        ([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.float32([np.nan])}, "w holds NaN"),
    ]
    for nodes, weights, words in cases:
        with pytest.raises(ValueError, match=words):
            read(save(path, nodes, weights, [2, 4]))
    relu = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y1"])]
    with pytest.raises(ValueError, match="one input and one output"):
        read(save(path, relu, {}, [2, 4], num_outputs=2))
    with pytest.raises(ValueError, match="operator set must be 7"):
        read(save(path, relu[:1], {}, [2, 4], opset=6))
    for operator, attributes, words in (
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, "count"),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "auto_pad SAME_UPPER"),
    ):
        nodes = [helper.make_node(operator, ["x"], ["y"], **attributes)]
        with pytest.raises(ValueError, match=words):
            read(save(path, nodes, {}, [1, 1, 6, 6]))(torch.zeros(1, 1, 6, 6))


def test_damaged_files_and_weights_elsewhere_are_refused(tmp_path: Path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], {"w": noise(4000)}, [2, 4000])
    content = path.read_bytes()
    for kept in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match="truncated or damaged"):
            read(path)
    model = onnx.load_from_string(content)
    onnx.save(model, path, save_as_external_data=True, location="elsewhere.bin", size_threshold=10)
    with pytest.raises(ValueError, match="w is kept in another file"):
        read(path)
