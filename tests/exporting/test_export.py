"""Exported folders: they do what the package does, where the package and PyTorch are not."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from speech2face import cli
from speech2face.exporting import export
from speech2face.exporting.speech2face_onnx import NOTE, Speech2FaceOnnx
from speech2face.models.encoders import load_encoder
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.weight_files import load_network, save_network
from speech2face.speaker_networks.backends import converted_weights, embedding_dim, open_networks
from speech2face.speaker_networks.table import stretches_s
from tests.exporting.small import DECODER, SEGMENT_S, face_decoder, save_models, write_wav
from tests.speaker_networks.sounds import voice

FILES = {"encoder.onnx", "decoder.onnx", "speech2face_onnx.py", "about.json", "README.md"}
ALONE = """
import runpy, socket, sys

def refuse(*arguments, **options):
    raise AssertionError("the network was asked for")

for name in ("torch", "torchaudio", "speech2face", "scipy", "pandas", "av", "onnx", "safetensors"):
    sys.modules[name] = None  # importing it is an error
socket.socket.connect = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def draw_alone(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program of a folder where nothing but what its page names can be imported."""
    command = [sys.executable, "-I", "-c", ALONE, folder / "speech2face_onnx.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def difference(first: Path, second: Path) -> int:
    """The largest between two pictures, in grey levels."""
    pictures = []
    for path in (first, second):
        with Image.open(path) as picture:
            assert (picture.size, picture.mode) == ((224, 224), "RGB")
            pictures.append(np.asarray(picture).astype(int))
    return int(np.abs(pictures[0] - pictures[1]).max())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "onnx"
    printed = export.export_onnx(out, models, "1.2.3")
    assert NOTE in printed and str(out / "speech2face_onnx.py") in printed
    assert [path.name for path in out.parent.iterdir()] == ["onnx"]
    return out


def unwritten(network: object, path: Path, doc: str) -> float:
    """In place of `write_onnx`, for tests of what is around it."""
    path.write_bytes(b"a network")
    return 0.0


def failing(network: object, path: Path, doc: str) -> float:
    path.write_bytes(b"half a netw")
    raise RuntimeError("it differs")


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "frames"), [(1, 259), (3, 261), (2, 400), (1, 601)])
def test_the_encoder_is_pytorchs_at_any_size(models: Path, folder: Path, batch: int, frames: int):
    spectrograms = torch.randn(batch, 2, 257, frames, generator=torch.Generator().manual_seed(frames))
    with torch.inference_mode():
        expected = load_encoder(models).eval()(spectrograms).numpy()
    found = Speech2FaceOnnx(folder).encode(spectrograms.numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert found.std() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_decoder_is_pytorchs_at_any_size(models: Path, folder: Path, batch: int):
    features = torch.randn(batch, 16, generator=torch.Generator().manual_seed(batch))
    with torch.inference_mode():
        expected = load_network(FaceDecoder, models / "decoder" / "decoder").eval()(features)
    session = onnxruntime.InferenceSession(str(folder / "decoder.onnx"))
    landmarks, texture = session.run(["landmarks", "texture"], {"feature": features.numpy()})
    np.testing.assert_allclose(landmarks / 224, expected.landmarks / 224, rtol=0, atol=1e-6)
    np.testing.assert_allclose(texture, expected.texture, rtol=0, atol=1e-6)
    assert not {"AveragePool", "Resize"} & set(_operators(folder / "decoder.onnx"))


def _operators(path: Path) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [258, 1])
def test_fewer_frames_than_the_encoder_sees_are_refused_in_words(folder: Path, frames: int):
    with pytest.raises(ValueError, match=rf"at least 259 frames, 2\.605 s \(got {frames}\)"):
        Speech2FaceOnnx(folder).encode(np.zeros((1, 2, 257, frames), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(("duration_s", "stretch"), [(1.0, 1.0), (6.0, 1.0), (13.7, 1.0), (4.0, 3.0)])
def test_the_picture_is_that_of_predict(models: Path, folder: Path, tmp_path: Path, duration_s: float, stretch: float):
    path = write_wav(tmp_path / "voice.wav", voice(duration_s))
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    arguments = ["predict", path, "-o", ours, "--models", models, "--stretch", stretch]
    assert cli.main([str(argument) for argument in arguments]) == 0
    done = draw_alone(folder, path, theirs, "--stretch", stretch)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{theirs}: drawn from {path}\n{NOTE}\n"
    assert difference(ours, theirs) <= 1
    assert np.asarray(Image.open(ours)).std() > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["silent.wav", "face.png"], "silent"),
        (["nothing.wav", "face.png"], "nothing.wav"),
        (["voice.wav", "face.what"], "unknown file extension"),
        (["voice.wav", "face.png", "--stretch", "11"], "--stretch must be from 0 to 10 (got 11)"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(folder: Path, tmp_path: Path, arguments: list[str], words: str):
    write_wav(tmp_path / "voice.wav", voice(1.0))
    write_wav(tmp_path / "silent.wav", np.zeros(32_000))
    done = draw_alone(folder, *(tmp_path / word if "." in word else word for word in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("speech2face_onnx: error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert not (tmp_path / arguments[1]).exists()


@pytest.mark.slow
def test_a_network_that_was_not_copied_whole_is_one_line(folder: Path, tmp_path: Path):
    damaged = shutil.copytree(folder, tmp_path / "onnx")
    (damaged / "decoder.onnx").write_bytes((folder / "decoder.onnx").read_bytes()[:1000])
    done = draw_alone(damaged, write_wav(tmp_path / "voice.wav", voice(1.0)), tmp_path / "face.png")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "decoder.onnx cannot be read" in done.stderr


@pytest.mark.slow
def test_the_folder_explains_itself(models: Path, folder: Path):
    assert {path.name for path in folder.iterdir()} == FILES
    about = json.loads((folder / "about.json").read_text("utf-8"))
    assert set(about["files"]) == FILES
    assert (about["segment_s"], about["stretch"], about["feature_dim"]) == (SEGMENT_S, 2.5, 16)
    assert about["training"]["encoder"] == {
        "fingerprint": "0123456789abcdef",
        "counts": {"clips": 258},
        "epochs": 3,
        "best_epoch": 1,
        "validation": {"val/stretch": 2.5},
    }
    assert torch.equal(torch.tensor(about["mean_feature"]), load_encoder(models).mean_feature)
    assert str(models) not in (folder / "about.json").read_text("utf-8") + (folder / "README.md").read_text("utf-8")


def test_an_export_takes_the_place_of_an_earlier_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(export, "write_onnx", unwritten)
    out = tmp_path / "onnx"
    out.mkdir()  # an empty one is as good as none
    command = ["export", "--onnx", str(out), "--models", str(models)]
    assert cli.main(command) == 0
    assert NOTE in capsys.readouterr().out
    (out / "README.md").write_text("of before")
    (out / "__pycache__").mkdir()
    assert cli.main(command) == 0
    assert {path.name for path in out.iterdir()} == FILES
    assert "of before" not in (out / "README.md").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
    capsys.readouterr()
    (out / "face.png").write_bytes(b"a picture that someone drew")
    assert cli.main(command) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "also holds face.png, which would be lost" in errors
    assert (out / "face.png").read_bytes() == b"a picture that someone drew"


def _a_file(out: Path) -> None:
    out.write_text("text")


def _a_folder_of_something_else(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("text")


def _a_folder_with_another_about(out: Path) -> None:
    out.mkdir()
    (out / "about.json").write_text('{"files": ["about.json"], "format": "other"}')


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_a_file, "is a file: give a folder"),
        (_a_folder_of_something_else, "is not empty and no export of this command: give another folder, or empty it"),
        (_a_folder_with_another_about, "is not empty and no export of this command"),
    ],
)
def test_what_is_no_export_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None], words: str
):
    out = tmp_path / "out"
    make(out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert cli.main(["export", "--onnx", str(out), "--models", str(tmp_path / "none")]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("speech2face: error: ") and errors.count("\n") == 1 and words in errors
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_models_are_one_line_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["export", "--onnx", str(tmp_path / "out"), "--models", str(tmp_path / "models")]) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "is missing: train the network, or copy" in errors
    assert cli.main(["export", "--onnx", str(tmp_path / "no" / "out")]) == 1
    assert "must be a folder that exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_leaves_no_half_of_a_folder(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
):
    out = tmp_path / "onnx"
    if earlier:
        monkeypatch.setattr(export, "write_onnx", unwritten)
        export.export_onnx(out, models, "1.2.3")
    before = {path.name: path.read_bytes() for path in out.glob("*")}
    monkeypatch.setattr(export, "write_onnx", failing)
    with pytest.raises(RuntimeError, match="it differs"):
        export.export_onnx(out, models, "1.2.3")
    assert {path.name: path.read_bytes() for path in out.glob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == (["onnx"] if earlier else [])


def test_networks_of_different_features_are_refused(models: Path, tmp_path: Path):
    folder = shutil.copytree(models, tmp_path / "models")
    dimensions = {**DECODER, "feature_dim": 8}
    decoder = FaceDecoder(**dimensions)
    decoder.set_means(face_decoder().mean_landmarks)
    save_network(decoder, folder / "decoder" / "decoder", **dimensions)
    with pytest.raises(ValueError, match="an encoder and a decoder of different features"):
        export.export_onnx(tmp_path / "out", folder, "1.2.3")


def _hearing(models: Path, out: Path, learned: dict[str, str], segment_s: float) -> SpeakerEncoder:
    """Models whose encoder hears through speaker networks."""
    torch.manual_seed(2)
    dimensions = {"embedding_dim": embedding_dim(list(learned)), "feature_dim": 16, "hidden_dim": 8}
    encoder = SpeakerEncoder(**dimensions)
    encoder.mean_feature.normal_()
    shutil.copytree(models / "decoder", out / "decoder")
    about = {"segment_s": segment_s, "speaker_networks": learned}
    save_network(encoder, out / "encoder" / "encoder", about, **dimensions)
    return encoder.eval()


@pytest.mark.slow
def test_other_speaker_networks_than_the_encoder_learned_from_are_refused(models: Path, tmp_path: Path):
    _hearing(models, tmp_path / "models", {"ge2e": "0" * 64}, 6.0)
    with pytest.raises(ValueError, match=r"learned from ge2e \(00000000\), and here are ge2e"):
        export.export_onnx(tmp_path / "out", tmp_path / "models", "1.2.3")


@pytest.mark.slow
def test_an_encoder_of_embeddings_takes_its_speaker_networks_along(models: Path, tmp_path: Path):
    """With GE2E alone: CAM++ takes PyTorch a minute to write. `test_networks` writes a shorter one, and each export compares what it
    wrote."""
    learned = {name: path.stem for name, path in converted_weights(["ge2e"]).items()}
    encoder = _hearing(models, tmp_path / "models", learned, 4.5)
    folder = tmp_path / "onnx"
    export.export_onnx(folder, tmp_path / "models", "1.2.3")
    assert {path.name for path in folder.iterdir()} == FILES | {"ge2e.onnx"}
    model = Speech2FaceOnnx(folder)
    (network,) = open_networks(converted_weights(list(learned)), torch.device("cpu"))
    sounds = np.stack([voice(4.5), 0.01 * voice(4.5, seed=1), voice(4.5, 220.0, seed=2)])
    for batch in (1, 3):
        (found,) = model.speaker_networks[0].run(None, {"waveform": sounds[:batch]})
        with torch.inference_mode():
            embeddings = network.embed(torch.from_numpy(sounds[:batch]), stretches_s(4.5))
            features = encoder(embeddings).numpy()
        np.testing.assert_allclose(found, embeddings, rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            model.encoder.run(None, {"embeddings": embeddings.numpy()})[0], features, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(model.listen(sounds[2]), features[2:], rtol=1e-5, atol=1e-5)
    path = write_wav(tmp_path / "voice.wav", voice(7.0))
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    assert cli.main(["predict", str(path), "-o", str(ours), "--models", str(tmp_path / "models")]) == 0
    done = draw_alone(folder, path, theirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert difference(ours, theirs) <= 1
    page = (folder / "README.md").read_text("utf-8")
    for words in ("`waveform` [batch, 72000]", "[batch, 3, 256]", "ge2e with resemblyzer"):
        assert words in page
