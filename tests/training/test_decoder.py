import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speech2face.training.canonical import CanonicalFaces
from speech2face.training.decoder import decoder_data, train_decoder
from speech2face.training.pairs import Targets

SETTINGS = {
    "texture": "cnn",
    "lr": 1e-3,
    "batch_size": 4,
    "epochs": 2,
    "precision": "float32",
    "max_gradient_norm": 1.0,
    "morph_fraction": 0.5,
    "morph_neighbours": 2,
    "weights": {"texture": 1.0, "landmarks": 0.01, "embedding": 0.1},
}
SPLITS = ("train",) * 6 + ("val",) * 2


class Colour(nn.Module):
    """A face network whose feature is the picture's mean colour."""

    feature_dim = 3

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        return crops.mean((2, 3))


@pytest.fixture
def faces() -> CanonicalFaces:
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(40, 180, 8), np.linspace(40, 180, 9), indexing="ij")
    mean = np.stack([x.ravel(), y.ravel()], 1)[:68].astype(np.float32)
    colours = rng.integers(40, 200, (8, 3, 1, 1))
    colours[6:] = colours[:2]  # what is learned of the training faces holds for the validation faces
    textures = np.broadcast_to(colours, (8, 3, 224, 224)).astype(np.uint8)
    landmarks = (mean + rng.normal(size=(8, 68, 2))).astype(np.float32)
    return CanonicalFaces(tuple("abcdefgh"), SPLITS, textures, landmarks, mean, 8, 0)


@pytest.fixture
def targets(faces: CanonicalFaces) -> Targets:
    features = faces.textures.mean((2, 3), dtype=np.float64).astype(np.float32) / 255
    index = {f"{speaker}/v": i for i, speaker in enumerate(faces.speaker_ids)}
    return Targets(features, index, dict(zip(faces.speaker_ids, SPLITS, strict=True)))


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_splits_stay_apart(faces, targets):
    training, validation = decoder_data(faces, targets, "train"), decoder_data(faces, targets, "val")
    assert (len(training), len(validation)) == (6, 2)
    np.testing.assert_array_equal(validation.textures, faces.textures[6:])
    np.testing.assert_array_equal(validation.features, targets.features[6:])


def test_a_morph_is_the_same_way_between_two_faces_in_everything(faces, targets):
    data = decoder_data(faces, targets, "train")
    first, second, part = np.array([0, 1]), np.array([2, 3]), np.array([0.0, 0.25])
    batch = data.blend(first, second, part, torch.device("cpu"))
    np.testing.assert_array_equal(batch.features[0], data.features[0])
    np.testing.assert_allclose(batch.textures[1], (0.75 * data.textures[1] + 0.25 * data.textures[3]) / 255, rtol=1e-5)
    np.testing.assert_allclose(batch.landmarks[1], 0.75 * data.landmarks[1] + 0.25 * data.landmarks[3], rtol=1e-5)
    np.testing.assert_allclose(batch.features[1], 0.75 * data.features[1] + 0.25 * data.features[3], rtol=1e-5)


def test_training_learns_the_colours_of_faces_and_writes_its_curves(faces, targets, tmp_path: Path):
    live, epochs = tmp_path / "live", 40
    settings = SETTINGS | {"texture": "linear", "epochs": epochs, "morph_fraction": 0.0}
    network, metrics = train_decoder(settings, 0, faces, targets, Colour(), torch.device("cpu"), "f", live)
    truth = torch.from_numpy(targets.features[:6])
    with torch.no_grad():
        colours = network(truth).texture.mean((2, 3))
    # the mean face, where training starts, is nearest to one and the same face; by chance 4 of 6 would be found once in 120 times
    assert (torch.cdist(colours, truth).argmin(1) == torch.arange(6)).sum() >= 4
    assert (colours - truth).abs().mean() < (truth - truth.median(0).values).abs().mean()
    assert np.abs(network.mean_landmarks.numpy() - faces.mean_landmarks).max() == 0
    assert 1 <= metrics["best_epoch"] <= epochs
    assert set(metrics["val"]) == {"total", "texture", "landmarks", "embedding"}
    assert len((live / "plots/metrics/val/total.tsv").read_text().splitlines()) == 1 + epochs


def test_too_few_faces_are_refused(faces, targets, tmp_path: Path):
    one = CanonicalFaces(("a",), ("train",), faces.textures[:1], faces.landmarks[:1], faces.mean_landmarks, 1, 0)
    with pytest.raises(
        ValueError, match=r"1 training speakers have a canonical face, 2 are needed; loosen decoder.frontal"
    ):
        train_decoder(SETTINGS, 0, one, targets, Colour(), torch.device("cpu"), "f", tmp_path / "live")
