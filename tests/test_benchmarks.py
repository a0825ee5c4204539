"""The benchmarks are not run as tests. But each of them starts, so all that they import exists; and that of GPUs, which few machines can
run, works at a tiny size."""

import importlib
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from speech2face.face_networks.vgg_face import VggFace

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_starts(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    assert done.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """benchmarks/gpu.py, imported as scripts beside it are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("gpu")


def closed_form_gflop(network: torch.nn.Module, side: int) -> float:
    """Of a narrow VGG-Face: two operations for each weight at each place."""
    total = 0
    for name, layer in network.named_children():
        if name.startswith("conv"):
            total += 2 * layer.weight.numel() * (side // 2 ** (int(name[4]) - 1)) ** 2
    return (total + 2 * network.fc6.weight.numel() + 2 * network.fc7.weight.numel()) / 1e9


def test_operations_are_counted(gpu: ModuleType):
    network = VggFace((1, 2, 3, 4, 5), 6, 7, 2).eval()
    crops = torch.rand(2, 3, 224, 224)
    assert gpu.gflop_of(lambda: network.embed(crops)) == pytest.approx(2 * closed_form_gflop(network, 224), rel=1e-6)
    lstm, heard = torch.nn.LSTM(40, 32, 2, batch_first=True), torch.rand(3, 10, 40)
    expected = 3 * 10 * 2 * 4 * 32 * ((40 + 32) + (32 + 32)) / 1e9
    assert gpu.gflop_of_recurrent(lambda: lstm(heard)) == pytest.approx(expected, rel=1e-6)
    linear, rows = torch.nn.Linear(50, 60), torch.rand(8, 50)
    # forward, and backward with respect to the weights: nobody asks for the gradient of the rows
    assert gpu.gflop_of(lambda: linear(rows).sum().backward()) == pytest.approx(2 * 2 * 8 * 50 * 60 / 1e9, rel=1e-6)


@pytest.mark.slow
def test_the_benchmark_of_gpus_fills_its_table(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """At a tiny size, on the processor: so all of it works where there is a GPU, but for what only a GPU does."""
    page, lines = tmp_path / "scale.md", tmp_path / "rows.jsonl"
    shutil.copy(BENCHMARKS.parent / "docs" / "scale.md", page)
    before = page.read_text("utf-8")
    sizes = ["--device", "cpu", "--size", "tiny", "--seconds", "0", "--compiler", "eager"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *sizes, "--write", str(page), "--json", str(lines)])
    gpu.main()
    printed = capsys.readouterr().out.strip()
    rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    parts = [row["part"] for row in rows]
    for wanted in (
        *("train_encoder, width 1", "train_decoder", "loader", "crop_faces: detector", "crop_faces: whole stage"),
        *("extract_features: dlib_resnet", "extract_features: vgg_face", "extract_features: whole stage"),
        *("embed_voices: ge2e", "embed_voices: campplus", "embed_voices: whole stage"),
    ):
        assert any(part.startswith(wanted) for part in parts), wanted
    assert sum(part.endswith(", compiled") for part in parts) == 4  # two widths, two precisions
    assert all(row["rate"] > 0 for row in rows) and {row["precision"] for row in rows} == {"float32", "bfloat16"}
    assert all(row["share"] > 0 for row in rows if not row["part"].startswith("loader"))
    text = page.read_text("utf-8")
    assert f"<!-- rates on cpu -->\n{printed}\n<!-- end of rates on cpu -->" in text
    outside = re.compile("<!-- rates on cpu -->.*<!-- end of rates on cpu -->", re.DOTALL)
    assert outside.sub("", text) == outside.sub("", before)


def test_where_there_is_no_gpu_the_benchmark_says_so_in_one_line(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    gpu.main()
    printed = capsys.readouterr().out
    assert printed.startswith("no GPU here") and printed.count("\n") == 1


def test_what_the_memory_does_not_hold_is_a_row_that_says_so(gpu: ModuleType):
    bench = gpu.Bench(torch.device("cpu"), gpu.SIZES["tiny"], 0.0, None)

    def build() -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    row = bench.row("train_encoder", "clips", 8, build, batch=8, gflop=3.0)
    assert gpu.line(row) == "| train_encoder | float32 | 8 | out of memory | 3.00 |  |  |"


def test_a_page_without_a_place_for_the_table_is_refused(gpu: ModuleType, tmp_path: Path):
    (tmp_path / "page.md").write_text("<!-- rates on cuda -->\n", "utf-8")
    with pytest.raises(ValueError, match="has no place for the table"):
        gpu.put(tmp_path / "page.md", "cuda", "table")
    assert (tmp_path / "page.md").read_text("utf-8") == "<!-- rates on cuda -->\n"
