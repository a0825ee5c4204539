"""Prediction with small random networks: reading a recording, writing a picture, and what can go wrong."""

import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from speech2face import cli, predict
from speech2face.models.encoders import load_encoder
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from speech2face.pipeline.rejects import REASONS, UnusableError
from speech2face.predict import Speech2Face, to_picture
from speech2face.speaker_networks.backends import converted_weights, open_networks

ENCODER = {"base_channels": 2, "feature_dim": 16, "hidden_dim": 8}
DECODER = {"feature_dim": 16, "first_dim": 16, "landmark_hidden_dim": 8, "texture_channels": 8}
SEGMENT_S = 6.0
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    encoder, decoder = VoiceEncoder(**ENCODER), FaceDecoder(**DECODER)
    y, x = torch.meshgrid(torch.linspace(40, 180, 9)[:8], torch.linspace(40, 180, 9), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], 1)[:68]
    decoder.set_means(points, torch.linspace(0, 1, 224).expand(3, 224, 224))
    save_network(encoder, root / "encoder" / "encoder", {"segment_s": SEGMENT_S}, **ENCODER)
    save_network(decoder, root / "decoder" / "decoder", **DECODER)
    return root


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).normal(size=3 * 16000) * 0.1
    return write_wav(tmp_path / "voice.wav", noise.clip(-1, 1))


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_recording_becomes_a_picture(models: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "face.png"
    assert run("predict", voice, "-o", out, "--models", models) == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.mode) == ((224, 224), "RGB")
        assert np.asarray(picture).std() > 10
    text = capsys.readouterr().out
    assert "3.0 s" in text and "not the speaker's face" in text
    first = out.read_bytes()
    run("predict", voice, "-o", out, "--models", models)
    assert out.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.png", "voice.wav"]


def test_a_face_is_drawn_as_far_from_the_mean_face_as_asked(models: Path, voice: Path, tmp_path: Path, capsys):
    """How far real faces are is read from the validation of the best epoch."""
    folder = shutil.copytree(models, tmp_path / "models")
    encoder = load_encoder(models)
    about = {"segment_s": 6.0, "best_epoch": 1, "history": [{"val/stretch": 9.0}, {"val/stretch": 2.5}]}
    torch.nn.init.constant_(encoder.mean_feature, 0.25)
    dimensions = {"base_channels": 2, "feature_dim": encoder.feature_dim, "hidden_dim": encoder.fc1.out_features}
    save_network(encoder, folder / "encoder" / "encoder", about, **dimensions)
    model = Speech2Face.load(folder, torch.device("cpu"))
    assert model.stretch == 2.5
    seen = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    feature = torch.full((1, encoder.feature_dim), 1.25)
    for stretch in (0.0, 1.0, 2.5):
        model.face(feature, stretch)
    assert [float(f[0, 0]) for f in seen] == [0.25, 1.25, 2.75]
    out = tmp_path / "face.png"
    for arguments, words in {
        ("--stretch", "3"): "3 times as far from the mean face as predicted; real faces are 2.5 times as far.",
        (): "",
    }.items():
        assert run("predict", voice, "-o", out, "--models", folder, *arguments) == 0
        printed = capsys.readouterr().out
        assert words in printed and ("times" in printed) == bool(words)
    assert run("predict", voice, "-o", out, "--models", folder, "--stretch", "-1") == 1
    assert "--stretch must be from 0 to 10 (got -1)" in capsys.readouterr().err


def test_a_clip_of_three_seconds_is_heard_as_the_clip_twice(models: Path):
    model = Speech2Face.load(models, torch.device("cpu"))
    sound = np.random.default_rng(1).normal(size=48000).astype(np.float32) * 0.1
    assert torch.equal(model.features([sound]), model.features([np.concatenate([sound, sound])]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.wav", b"this is not audio, whatever its name says " * 40, "text.wav"),
        ("empty.wav", b"", "empty.wav"),
        ("missing.wav", None, "no such file"),
    ],
)
def test_a_file_that_is_not_audio_is_one_clear_line(models, tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "face.png"
    out.write_bytes(b"of before")
    assert run("predict", tmp_path / name, "-o", out, "--models", models) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("speech2face: error: ") and words in errors
    assert out.read_bytes() == b"of before"


@pytest.mark.parametrize(
    ("samples", "word"), [(np.zeros(32000), "silent"), (np.full(3200, 0.3), "less than 1 s of sound; use a longer")]
)
def test_silence_and_a_fifth_of_a_second_are_refused(models, tmp_path, capsys, samples, word):
    assert run("predict", write_wav(tmp_path / "v.wav", samples), "-o", tmp_path / "face.png", "--models", models) != 0
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and word in errors


@pytest.mark.parametrize("out", ["nowhere/face.png", "face.txt", "folder.png"])
def test_an_output_that_cannot_be_written_is_reported_before_anything_is_done(models, voice, tmp_path, capsys, out):
    (tmp_path / "folder.png").mkdir()
    assert run("predict", voice, "-o", tmp_path / out, "--models", models) != 0
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and out.split("/")[0] in errors


@pytest.mark.parametrize("reason", REASONS)
def test_no_remedy_names_a_parameter_that_a_prediction_does_not_have(reason, monkeypatch, tmp_path):
    def fails(*arguments: object, **options: object) -> None:
        raise UnusableError(reason, "v.wav: too little or too much; raise the limit or lower the minimum")

    monkeypatch.setattr(predict, "read_segments", fails)
    with pytest.raises(UnusableError) as caught:
        list(predict.Heard(Path("v.wav"), 6.0))
    changed = "limit" not in str(caught.value)
    assert caught.value.reason == reason and str(caught.value).startswith("v.wav: ")
    assert changed == (reason in ("too_short", "timeout"))  # the reasons whose remedy is a parameter


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_not_utf_8_is_printed_as_an_escape(
    models: Path, voice: Path, tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
):
    odd = voice.rename(tmp_path / "caf\udce9.wav")
    printed = {name: TextIOWrapper(BytesIO(), encoding, errors) for name, errors in STREAMS.items()}
    for name, stream in printed.items():
        monkeypatch.setattr(sys, name, stream)
    command = ["predict", str(odd), "-o", str(tmp_path / "\udcff.png"), "--models", str(models)]
    assert cli.main(command) == 0
    odd.write_bytes(b"no sound")
    assert cli.main(command) == 1
    out, err = (flushed(stream) for stream in printed.values())
    assert b"\\udcff.png: drawn from 3.0 s of " in out and b"caf\\udce9.wav." in out
    assert err.count(b"\n") == 1 and b"caf\\udce9.wav: " in err


STREAMS = {"stdout": "strict", "stderr": "backslashreplace"}
"""How Python writes what an encoding does not have."""


def flushed(stream: TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, BytesIO)
    return stream.buffer.getvalue()


def test_networks_that_do_not_belong_together_are_refused(models, voice, tmp_path, capsys):
    shutil.copytree(models, tmp_path / "m")
    other = DECODER | {"feature_dim": 8}
    save_network(FaceDecoder(**other), tmp_path / "m" / "decoder" / "decoder", **other)
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", tmp_path / "m") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "an encoder and a decoder of different features; run: dvc repro" in errors


@pytest.mark.parametrize("about", [None, {"segment_s": None}, {"segment_s": "six"}])
def test_an_encoder_that_does_not_say_how_long_it_hears_is_one_clear_line(models, voice, tmp_path, capsys, about):
    """As those of earlier versions do not."""
    shutil.copytree(models, tmp_path / "m")
    save_network(VoiceEncoder(**ENCODER), tmp_path / "m" / "encoder" / "encoder", about, **ENCODER)
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", tmp_path / "m") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "does not say how many seconds it hears" in errors and "dvc repro" in errors


def test_the_encoder_hears_as_much_as_its_weight_file_says(models, tmp_path):
    shutil.copytree(models, tmp_path / "m")
    save_network(VoiceEncoder(**ENCODER), tmp_path / "m" / "encoder" / "encoder", {"segment_s": 3.0}, **ENCODER)
    sound = np.random.default_rng(1).normal(size=4 * 16000).astype(np.float32) * 0.1
    short = Speech2Face.load(tmp_path / "m", torch.device("cpu"))
    assert torch.equal(short.features([sound]), short.features([sound[: 3 * 16000]]))
    whole = Speech2Face.load(models, torch.device("cpu"))
    assert not torch.equal(whole.features([sound]), whole.features([sound[: 3 * 16000]]))


@pytest.fixture(scope="module")
def of_embeddings(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with an encoder that hears the real CAM++."""
    root = tmp_path_factory.mktemp("embeddings")
    shutil.copytree(models / "decoder", root / "decoder")
    (weights,) = converted_weights(["campplus"]).values()
    sizes = {"embedding_dim": 192, "feature_dim": 16, "hidden_dim": 8}
    about = {"segment_s": SEGMENT_S, "speaker_networks": {"campplus": weights.stem}}
    torch.manual_seed(0)
    save_network(SpeakerEncoder(**sizes), root / "encoder" / "encoder", about, **sizes)
    return root


@pytest.mark.slow
def test_an_encoder_of_embeddings_hears_its_speaker_network(of_embeddings: Path, voice: Path, tmp_path: Path):
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", of_embeddings) == 0
    model, encoder = Speech2Face.load(of_embeddings, CPU), load_encoder(of_embeddings).eval()
    sound = np.random.default_rng(1).normal(size=96_000).astype(np.float32) * 0.1
    networks = open_networks(converted_weights(["campplus"]), CPU)
    with torch.inference_mode():
        parts = networks[0].embed(torch.from_numpy(sound)[None], [(0, 6), (0, 3), (1.5, 4.5), (3, 6)])
        torch.testing.assert_close(model.features([sound]), encoder(parts))


@pytest.mark.slow
def test_a_speaker_network_of_other_weights_is_one_clear_line(
    of_embeddings: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = shutil.copytree(of_embeddings, tmp_path / "models")
    encoder = load_encoder(root)
    sizes = {"embedding_dim": 192, "feature_dim": 16, "hidden_dim": 8}
    about = {"segment_s": SEGMENT_S, "speaker_networks": {"campplus": "0123456789"}}
    save_network(encoder, root / "encoder" / "encoder", about, **sizes)
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", root) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "learned from campplus (01234567), and here are campplus" in errors
    assert not (tmp_path / "face.png").exists()


def test_a_face_is_drawn_from_all_of_a_recording(models: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    sound = np.concatenate([0.05 * rng.normal(size=96_000), np.zeros(96_000), 0.3 * rng.normal(size=96_000)])
    heard = predict.Heard(write_wav(tmp_path / "long.wav", sound.clip(-1, 1)), SEGMENT_S)
    segments = list(heard)
    assert [len(segment) for segment in segments] == [96_000] * 4  # of five, the one in the middle is silent
    assert heard.duration_s == pytest.approx(18.0)
    model = Speech2Face.load(models, CPU)
    alone = torch.stack([model.features([segment]) for segment in segments])
    torch.testing.assert_close(model.features(segments), alone.mean(0))


def test_missing_models_say_how_to_get_them(voice, tmp_path, capsys):
    assert run("predict", voice, "-o", tmp_path / "face.png", "--models", tmp_path / "none") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "encoder.safetensors is missing: train the network" in errors


@pytest.mark.slow
def test_the_command_itself_exits_non_zero_without_a_traceback(tmp_path: Path):
    command = [sys.executable, "-m", "speech2face.cli", "predict", str(tmp_path / "none.wav")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}


def test_pictures_are_clipped_and_rounded():
    image = torch.tensor([[[-0.2, 0.0]], [[0.5, 1.0]], [[1.7, 127.5 / 255]]])
    assert to_picture(image).tolist() == [[[0, 128, 255], [0, 255, 128]]]


def test_what_nobody_foresaw_is_one_line(
    voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fails(*arguments: object, **options: object) -> None:
        raise AttributeError("no decoder")

    monkeypatch.setattr(predict, "read_segments", fails)
    monkeypatch.setattr(
        Speech2Face, "load", lambda *_: Speech2Face(None, None, torch.device("cpu"), 6.0, torch.zeros(4), 1.0)
    )
    assert run("predict", voice, "-o", tmp_path / "face.png") == 1
    assert capsys.readouterr().err == f"speech2face: error: {voice}: AttributeError: no decoder\n"
