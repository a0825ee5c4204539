"""ONNX files: any size along the free axes, nothing of this machine in them, and none that does not do what its network does."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from speech2face.exporting.onnx_files import OPSET, OnnxNetwork, write_onnx

pytestmark = pytest.mark.slow


class Sums(nn.Module):
    """[B, T, 4] to [B, 2] and [B]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.linear(x).relu().sum(1)
        return answer, answer.sum(1)


def network() -> OnnxNetwork:
    torch.manual_seed(0)
    free = {0: ("batch", 1), 1: ("frames", 3)}
    return OnnxNetwork(Sums(), "x", ("answer", "total"), torch.randn(2, 5, 4), torch.randn(3, 9, 4), free)


def test_a_file_does_what_its_network_does_at_any_size(tmp_path: Path):
    exported = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing for users to wonder about
        difference = write_onnx(exported, tmp_path / "sums.onnx", "sums of things")
    assert 0 <= difference < 1e-6
    assert [path.name for path in tmp_path.iterdir()] == ["sums.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "sums.onnx"))
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("x", ["batch", "frames", 4])]
    for batch, frames in ((1, 3), (4, 17)):
        x = torch.randn(batch, frames, 4)
        with torch.no_grad():
            expected = exported.module(x)
        for here, there in zip(expected, session.run(None, {"x": x.numpy()}), strict=True):
            np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


def test_a_file_holds_nothing_of_this_machine(tmp_path: Path):
    write_onnx(network(), tmp_path / "sums.onnx", "sums of things")
    content = (tmp_path / "sums.onnx").read_bytes()
    for word in (b".py", b"site-packages", str(Path(__file__).parents[2]).encode(), b"pkg.torch"):
        assert word not in content
    model = onnx.load(tmp_path / "sums.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.doc_string == "sums of things"
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]


class Counting(nn.Module):
    """A network that ONNX cannot follow: each call adds one more."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self.calls += 1
        return x + self.calls


def test_a_file_that_differs_is_refused(tmp_path: Path):
    exported = OnnxNetwork(Counting(), "x", ("y",), torch.zeros(2, 3), torch.zeros(4, 3), {0: ("batch", 1)})
    with pytest.raises(
        RuntimeError, match=r"counting\.onnx: y differs from PyTorch's by 1\.0e\+00 of the largest value"
    ):
        write_onnx(exported, tmp_path / "counting.onnx", "")


def test_without_onnxscript_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("speech2face.exporting.onnx_files.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"onnxscript is not installed.* pip install -r requirements\.txt"):
        write_onnx(network(), tmp_path / "sums.onnx", "")
    assert list(tmp_path.iterdir()) == []
