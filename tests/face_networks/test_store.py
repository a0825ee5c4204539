"""Weight files are converted once; what is kept is mapped, shared, and named by its content."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from speech2face.face_networks import load_vgg_face, store
from speech2face.face_networks.converted import read_converted
from speech2face.face_networks.extraction import feature_shard
from speech2face.face_networks.store import converted
from speech2face.face_networks.vgg_face import open_vgg_face
from speech2face.pipeline.code import reached
from tests.face_networks.files import weight_files
from tests.face_networks.files.weight_files import NARROW_H5
from tests.face_networks.test_arcface import write_recognition

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("readers_at_once")]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A store of its own for each of these tests."""
    return tmp_path / "repository"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources that have been converted so far."""
    done: list[Path] = []
    run = store.run_isolated

    def counted(function: str, path: Path, *arguments: str) -> str:
        done.append(path)
        return run(function, path, *arguments)

    monkeypatch.setattr(store, "run_isolated", counted)
    return done


def test_a_file_is_converted_once(repository: Path, conversions: list[Path]):
    first = converted("vgg_face", NARROW_H5)
    assert first == converted("vgg_face", NARROW_H5) and conversions == [NARROW_H5]
    assert [path.name for path in (repository / ".work" / "weights").iterdir()] == [first.name]


def test_a_file_that_moves_is_not_converted_again(tmp_path: Path, conversions: list[Path]):
    first = converted("vgg_face", NARROW_H5)
    (tmp_path / "moved").write_bytes(NARROW_H5.read_bytes())
    assert converted("vgg_face", tmp_path / "moved") == first
    assert conversions == [NARROW_H5]


def test_another_file_with_the_same_weights_comes_to_the_same_content(tmp_path: Path, conversions: list[Path]):
    path = tmp_path / "weights"
    weight_files.write_pytorch(path)
    assert converted("vgg_face", path) == converted("vgg_face", NARROW_H5)
    assert conversions == [path, NARROW_H5]
    weight_files.write_torch7(path)  # under the same name
    assert converted("vgg_face", path) == converted("vgg_face", NARROW_H5)
    assert conversions == [path, NARROW_H5, path]


def test_a_changed_reader_converts_again(monkeypatch: pytest.MonkeyPatch, conversions: list[Path]):
    first = converted("vgg_face", NARROW_H5)
    code = store._reader_code(store.READERS["vgg_face"])
    assert {f"speech2face.face_networks.files.{name}" for name in ("keras_h5", "matlab", "torch7", "pytorch")} <= set(
        code["modules"]
    )
    assert {"h5py", "scipy", "numpy", "torch"} <= set(code["libraries"])
    newer = code | {"libraries": code["libraries"] | {"h5py": "4.0"}}
    monkeypatch.setattr(store, "_reader_code", lambda *_: newer)
    assert converted("vgg_face", NARROW_H5) == first
    assert len(conversions) == 2


def test_what_was_removed_is_made_again(repository: Path, conversions: list[Path]):
    path = converted("vgg_face", NARROW_H5)
    path.unlink()
    assert converted("vgg_face", NARROW_H5) == path and path.is_file()
    (index,) = (repository / ".work" / "weight_sources").iterdir()
    assert json.loads(index.read_text())["digest"] == path.stem
    index.write_text("{")
    assert converted("vgg_face", NARROW_H5) == path
    assert len(conversions) == 3


def test_a_model_pack_is_known_by_its_models(tmp_path: Path, conversions: list[Path]):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_recognition(tmp_path / name / "recognition.onnx")
        (tmp_path / name / "notes.txt").write_text(name)
    assert converted("arcface", tmp_path / "first") == converted("arcface", tmp_path / "second")
    assert conversions == [tmp_path / "first"]
    write_recognition(tmp_path / "second" / "recognition.onnx", opset=17)
    assert converted("arcface", tmp_path / "first") == converted("arcface", tmp_path / "second")
    assert len(conversions) == 2  # another file, the same network


def test_a_store_that_cannot_be_written_is_named_in_one_line(repository: Path):
    repository.mkdir()
    (repository / ".work").write_text("a file where the folder should be")
    with pytest.raises(
        RuntimeError, match=r"weights/[0-9a-f]{64}\.safetensors cannot be written .*: make room"
    ) as error:
        load_vgg_face(NARROW_H5)
    assert "\n" not in str(error.value)


def test_what_is_not_a_converted_file_is_refused(tmp_path: Path):
    path = converted("vgg_face", NARROW_H5)
    with pytest.raises(ValueError, match=r"must be a converted network of kind arcface .got vgg_face"):
        read_converted(path, "arcface")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{path} is damaged .*: remove it, and it is made again"):
        load_vgg_face(NARROW_H5)
    with pytest.raises(FileNotFoundError):
        open_vgg_face(tmp_path / "absent.safetensors")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says how memory is mapped")
def test_weights_are_mapped_and_never_copied():
    network = load_vgg_face(NARROW_H5)
    name = converted("vgg_face", NARROW_H5).name
    network.embed(torch.rand(2, 3, 224, 224))
    kinds: dict[str, int] = {}
    is_ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):  # the head of a mapping: addresses, rights, ..., file
            is_ours = line.endswith(name)
        elif is_ours and rest[-1] == "kB":
            kinds[first] = kinds.get(first, 0) + int(rest[0])
    num_kb = sum(parameter.numel() * 4 for parameter in network.parameters()) // 1024
    assert kinds["Rss:"] >= num_kb and kinds["Private_Dirty:"] == kinds["Shared_Dirty:"] == 0


LOADS = """
import sys
from pathlib import Path
import torch
from speech2face.face_networks.backends import open_backend
import speech2face.face_networks.extraction
for name, path in zip(("vgg_face", "arcface"), sys.argv[1:], strict=True):
    open_backend(name, "fc7", Path(path)).embed(torch.rand(1, 3, 224, 224), torch.rand(1, 68, 2) * 200)
readers = ("h5py", "scipy.io", "onnx", "onnxruntime", "insightface", "cv2")
print(sorted(name for name in sys.modules if name in readers or "face_networks.files." in name))
"""


def test_weights_are_used_without_any_reader(tmp_path: Path):
    write_recognition(tmp_path / "recognition.onnx")
    paths = [str(converted("vgg_face", NARROW_H5)), str(converted("arcface", tmp_path))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", LOADS, *paths], env=environment, capture_output=True, text=True)
    assert done.stdout == "['speech2face.face_networks.files.isolated']\n", done.stderr


def test_readers_and_store_are_not_part_of_the_code_that_makes_features():
    code = reached(feature_shard)
    assert {"speech2face.face_networks.vgg_face", "speech2face.face_networks.onnx_network"} <= set(code.modules)
    assert not [name for name in code.modules if ".files" in name or name.endswith(("store", "vgg_face_file"))]
    assert not {"h5py", "scipy", "onnx", "onnxruntime", "insightface"} & set(code.libraries)
