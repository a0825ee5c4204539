"""The model for Python, with small random networks: what it hears, what it draws, and what it refuses."""

import inspect
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import speech2face
from speech2face.drawing.model import Speech2Face
from speech2face.models.encoders import load_encoder
from speech2face.models.face_decoder import FaceDecoder, to_pictures
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from speech2face.pipeline.rejects import UnusableError
from speech2face.speaker_networks.backends import converted_weights, open_networks
from tests.trained import DECODER, ENCODER, noise, save_speaker_encoder, write_wav

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(models: Path) -> Speech2Face:
    return Speech2Face.load(models, CPU)


def test_three_lines_draw_a_face(models: Path, tmp_path: Path):
    """As the README says, with the folder and the file as text."""
    model = speech2face.Speech2Face.load(str(models))
    picture = model.draw(str(write_wav(tmp_path / "voice.wav", noise(2))))
    assert (picture.size, picture.mode) == ((224, 224), "RGB")
    assert np.asarray(picture).std() > 10


def test_the_package_is_imported_without_torch_until_the_model_is_asked_for():
    code = "import sys, speech2face; assert 'torch' not in sys.modules"
    environment = {"PYTHONPATH": str(Path(speech2face.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert speech2face.Speech2Face is Speech2Face
    with pytest.raises(AttributeError, match="no attribute 'Speech3Face'"):
        speech2face.Speech3Face  # noqa: B018


def test_a_file_and_its_waveform_are_the_same_face(model: Speech2Face, tmp_path: Path):
    """However the waveform is given: 16-bit numbers, floats, a tensor, or two equal channels."""
    path = write_wav(tmp_path / "voice.wav", noise(7, sample_rate_hz=44_100), 44_100)
    whole = (noise(7, sample_rate_hz=44_100).clip(-1, 1) * 32767).astype(np.int16)
    floats = whole.astype(np.float32) / 32768
    expected = model.features(path)
    for waveform in (whole, floats, torch.from_numpy(floats), np.stack([floats, floats])):
        assert np.abs(model.features(waveform, 44_100) - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(model.features(noise(7, seed=1), 16_000) - expected).max() > 2e-3 * np.abs(expected).max()


def test_features_are_the_mean_of_what_the_encoder_says_of_the_segments(model: Speech2Face, models: Path):
    """Of 13 s there are three segments of 6 s, one every 3 s; the last second is in none."""
    encoder, sound = load_encoder(models).eval(), noise(13)
    with torch.inference_mode():
        alone = [model.listen(sound[start : start + 96_000])[0].numpy() for start in (0, 48_000, 96_000)]
    assert model.features(sound, 16_000) == pytest.approx(np.mean(alone, axis=0), rel=1e-5)
    assert model.features(sound, 16_000).shape == (encoder.feature_dim,)


def test_a_clip_of_three_seconds_is_heard_as_the_clip_twice(model: Speech2Face):
    sound = noise(3, seed=1)
    assert np.array_equal(model.features_of([sound]), model.features_of([np.concatenate([sound, sound])]))


def test_several_voices_are_drawn_as_each_alone(model: Speech2Face, tmp_path: Path):
    voices = [write_wav(tmp_path / f"{seed}.wav", noise(2, seed)) for seed in range(10)]
    together = [np.asarray(face, int) for face in model.draw_all(voices, stretch=2)]
    alone = [np.asarray(model.draw(voice, stretch=2), int) for voice in voices]
    assert len(together) == 10 and max(np.abs(a - b).max() for a, b in zip(together, alone, strict=True)) <= 1
    assert all(np.abs(a - together[0]).max() > 10 for a in together[1:])
    assert model.draw_all([]) == []


def test_threads_may_share_a_model(model: Speech2Face):
    voices = [noise(6, seed) for seed in range(12)]
    expected = [model.features(voice, 16_000) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda voice: model.features(voice, 16_000), voices))
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_a_face_is_drawn_as_far_from_the_mean_face_as_asked(models: Path, tmp_path: Path):
    """How far real faces are is read from the validation of the best epoch."""
    folder = shutil.copytree(models, tmp_path / "models")
    encoder = load_encoder(models)
    about = {"segment_s": 6.0, "best_epoch": 1, "history": [{"val/stretch": 9.0}, {"val/stretch": 2.5}]}
    torch.nn.init.constant_(encoder.mean_feature, 0.25)
    save_network(encoder, folder / "encoder" / "encoder", about, **ENCODER)
    model = Speech2Face.load(folder, CPU)
    assert model.stretch == 2.5
    seen = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    feature = np.full((1, encoder.feature_dim), 1.25, np.float32)
    drawn = [model.faces(feature, stretch=stretch) for stretch in (0.0, 1.0, 2.5)]
    assert [float(f[0, 0]) for f in seen] == [0.25, 1.25, 2.75]
    assert np.array_equal(np.asarray(model.mean_face()), drawn[0][0])
    for stretch in (-1.0, 10.5, float("nan")):
        with pytest.raises(ValueError, match="stretch must be from 0 to 10"):
            model.faces(feature, stretch=stretch)


def test_pictures_are_clipped_and_rounded():
    image = torch.tensor([[[-0.2, 0.0]], [[0.5, 1.0]], [[1.7, 127.5 / 255]]])
    assert to_pictures(image[None]).tolist() == [[[[0, 128, 255], [0, 255, 128]]]]


def test_a_voice_that_cannot_be_used_is_one_line_with_a_reason(model: Speech2Face, tmp_path: Path):
    text = tmp_path / "text.wav"
    text.write_bytes(b"this is not audio, whatever its name says " * 40)
    for voice, rate, reason in (
        (text, None, "unreadable"),
        (tmp_path / "none.wav", None, "unreadable"),
        (np.zeros(32_000, np.float32), 16_000, "silent"),
        (noise(0.2), 16_000, "too_short"),
        (np.zeros(0, np.float32), 16_000, "too_short"),
        (np.full(32_000, np.nan, np.float32), 16_000, "not_finite"),
    ):
        with pytest.raises(UnusableError) as caught:
            model.draw(voice, rate)
        assert caught.value.reason == reason and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no segment of a voice was given"):
        model.features_of([])


def test_networks_that_do_not_belong_together_are_refused(models: Path, tmp_path: Path):
    root = shutil.copytree(models, tmp_path / "m")
    other = DECODER | {"feature_dim": 8}
    save_network(FaceDecoder(**other), root / "decoder" / "decoder", **other)
    with pytest.raises(ValueError, match="an encoder and a decoder of different features; run: dvc repro"):
        Speech2Face.load(root, CPU)


@pytest.mark.parametrize("about", [None, {"segment_s": None}, {"segment_s": "six"}])
def test_an_encoder_that_does_not_say_how_long_it_hears_is_refused(models: Path, tmp_path: Path, about):
    """As those of earlier versions do not."""
    root = shutil.copytree(models, tmp_path / "m")
    save_network(VoiceEncoder(**ENCODER), root / "encoder" / "encoder", about, **ENCODER)
    with pytest.raises(ValueError, match=r"does not say how many seconds it hears .*dvc repro"):
        Speech2Face.load(root, CPU)


def test_the_encoder_hears_as_much_as_its_weight_file_says(model: Speech2Face, models: Path, tmp_path: Path):
    root = shutil.copytree(models, tmp_path / "m")
    save_network(VoiceEncoder(**ENCODER), root / "encoder" / "encoder", {"segment_s": 3.0}, **ENCODER)
    sound, short = noise(4), Speech2Face.load(root, CPU)
    assert np.array_equal(short.features_of([sound]), short.features_of([sound[: 3 * 16_000]]))
    assert not np.array_equal(model.features_of([sound]), model.features_of([sound[: 3 * 16_000]]))


@pytest.fixture(scope="module")
def of_embeddings(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with an encoder that hears the real CAM++."""
    root = tmp_path_factory.mktemp("embeddings")
    shutil.copytree(models / "decoder", root / "decoder")
    (weights,) = converted_weights(["campplus"]).values()
    save_speaker_encoder(root, weights.stem)
    return root


@pytest.mark.slow
def test_an_encoder_of_embeddings_hears_its_speaker_network(of_embeddings: Path):
    model, encoder = Speech2Face.load(of_embeddings, CPU), load_encoder(of_embeddings).eval()
    sound = noise(6)
    networks = open_networks(converted_weights(["campplus"]), CPU)
    with torch.inference_mode():
        parts = networks[0].embed(torch.from_numpy(sound)[None], [(0, 6), (0, 3), (1.5, 4.5), (3, 6)])
        torch.testing.assert_close(torch.from_numpy(model.features(sound, 16_000)), encoder(parts)[0])


@pytest.mark.slow
def test_a_speaker_network_of_other_weights_is_refused(of_embeddings: Path, tmp_path: Path):
    root = shutil.copytree(of_embeddings, tmp_path / "models")
    save_speaker_encoder(root, "0123456789")
    with pytest.raises(ValueError, match=r"learned from campplus \(01234567\), and here are campplus"):
        Speech2Face.load(root, CPU)


def test_missing_models_say_how_to_get_them(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"encoder.safetensors is missing: train the network"):
        Speech2Face.load(tmp_path / "none", CPU)


def test_what_users_call_is_typed_and_documented():
    for name, member in inspect.getmembers(Speech2Face):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), name
            signature = inspect.signature(member)
            assert signature.return_annotation is not inspect.Signature.empty, name
