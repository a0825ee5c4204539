"""The same results on a GPU as on the processor: boxes, features, pictures, losses and trainings. Skipped where there is no GPU."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from speech2face.audio.stored import Crop, spectrograms
from speech2face.dlib_nets.detector import load_detector
from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.losses import EncoderLossWeights, encoder_loss
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline import machine
from speech2face.training.encoder import EncoderInputs
from speech2face.training.loop import Task
from speech2face.training.pairs import Pairs
from speech2face.training.processes import in_ranks
from speech2face.training.session import train
from tests.audio.test_stored import FLOAT32_ERROR, most_apart, of_16_bits, speech
from tests.training import test_decoder, test_encoder
from tests.training.test_decoder import faces, narrow, targets  # noqa: F401 - fixtures
from tests.training.test_encoder import data, inputs  # noqa: F401 - fixtures
from tests.training.test_ranks import Tasks, assert_alike, embeddings, tasks, train_all  # noqa: F401 - the last but one are fixtures

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is false: no GPU here"),
]
GOLDEN = Path(__file__).parents[1] / "golden" / "faces"
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def full_float32():
    """As in the stages, which ask for their device."""
    machine.device()


def pictures() -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(GOLDEN.glob("*.jpg"))]


@pytest.mark.parametrize("crop", [None, Crop(torch.tensor([0, 100, 342]), 259)])
def test_the_spectrograms_of_stored_waveforms_are_the_same(crop: Crop | None):
    waveforms = torch.from_numpy(of_16_bits(speech(3 * 96_000)).reshape(3, 96_000))
    expected, found = (spectrograms(waveforms, device, crop).cpu().double().numpy() for device in (CPU, GPU))
    assert (np.abs(found - expected) <= most_apart(expected, 2 * FLOAT32_ERROR) + 1e-6).all()


@pytest.mark.parametrize("upsample", [0, 1])
def test_the_detector_finds_the_same_boxes(upsample: int):
    on_cpu, on_gpu = (load_detector(device=device) for device in (CPU, GPU))
    num_boxes = 0
    for picture in pictures():
        image = torch.tensor(picture)[None]
        expected, found = on_cpu(image, upsample)[0], on_gpu(image.to(GPU), upsample)[0]
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_allclose(found.confidences, expected.confidences, rtol=0, atol=1e-4)
        num_boxes += len(expected.boxes)
    assert num_boxes >= len(pictures())


def shape(batch: int) -> torch.Tensor:
    """Landmarks [B, 68, 2] spread over the middle of a crop."""
    y, x = np.meshgrid(np.linspace(60, 170, 8), np.linspace(60, 170, 9), indexing="ij")
    grid = np.stack([x.ravel(), y.ravel()], 1)[:68]
    moved = grid + np.random.default_rng(0).normal(0, 2, (batch, 68, 2))
    return torch.from_numpy(moved.astype(np.float32))


@pytest.mark.parametrize("network", [lambda: DlibResnet(device="cpu"), lambda: VggFace((8, 8, 8, 8, 8), 16, 32, 5)])
def test_a_face_network_gives_the_same_features_and_gradients(network: Callable[[], nn.Module]):
    torch.manual_seed(0)
    on_cpu = network().eval().double()  # in float32 roundings tip some ReLUs and maxima, and with them gradients
    on_gpu = copy.deepcopy(on_cpu).to(GPU)
    crops, landmarks = torch.rand(4, 3, 224, 224, dtype=torch.float64), shape(4).double()
    found = []
    for module, device in ((on_cpu, CPU), (on_gpu, GPU)):
        image = crops.detach().clone().to(device).requires_grad_()
        features = module.embed(image, landmarks.to(device))
        (features**2).sum().backward()
        found.append((features.detach().cpu(), image.grad.cpu()))
    for expected, seen in zip(*found, strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_the_decoder_draws_the_same_picture_with_the_same_gradients():
    torch.manual_seed(0)
    on_cpu = FaceDecoder(16, first_dim=32, landmark_hidden_dim=8, texture_channels=8)
    on_cpu.set_means(shape(1)[0], torch.rand(3, 224, 224))
    on_cpu.double()
    on_gpu = copy.deepcopy(on_cpu).to(GPU)
    features = torch.randn(3, 16, dtype=torch.float64)
    found = []
    for module, device in ((on_cpu, CPU), (on_gpu, GPU)):
        decoded = module(features.to(device))
        (decoded.image.square().mean() + decoded.landmarks.square().mean()).backward()
        gradients = [parameter.grad.cpu() for parameter in module.parameters()]
        found.append([*(part.detach().cpu() for part in decoded), *gradients])
    for expected, seen in zip(*found, strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_the_encoder_and_its_loss_are_the_same():
    torch.manual_seed(0)
    networks = VoiceEncoder(2, 16, 8), nn.Linear(16, 32).requires_grad_(False), nn.Linear(16, 5).requires_grad_(False)
    clips, target = torch.randn(4, 2, 257, 301), torch.randn(4, 16)
    weights, identities = EncoderLossWeights(unit=0.025, distill=2.0, contrastive=1.0), torch.tensor([0, 1, 2, 2])
    found = []
    for device in (CPU, GPU):
        encoder, f_dec, logits = (copy.deepcopy(network).to(device) for network in networks)
        terms = encoder_loss(
            encoder(clips.to(device)),
            target.to(device),
            f_dec=f_dec,
            face_logits=logits,
            weights=weights,
            identities=identities.to(device),
        )
        terms.total.backward()
        found.append([*(term.detach().cpu() for term in terms), encoder.fc2.weight.grad.cpu()])
    for expected, seen in zip(*found, strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def trained(task: Task, work: Path) -> list[dict[str, float]]:
    state, _ = train(task, 0, work / "c.pt", lambda metrics: None)
    assert all(parameter.device.type == task_device(task) for parameter in task.network.parameters())
    return state.history


def task_device(task: Task) -> str:
    return next(task.network.parameters()).device.type


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_decoder_trains_alike(faces, targets, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    expected = trained(test_decoder.make_task(faces, targets, precision=precision), tmp_path / "cpu")
    monkeypatch.setattr(test_decoder, "CPU", GPU)
    task = test_decoder.make_task(faces, targets, precision=precision)
    assert task_device(task) == "cuda"
    alike(trained(task, tmp_path / "gpu"), expected, 0.02 if precision == "float32" else 0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_encoder_trains_alike(inputs, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    expected = trained(test_encoder.make_task(inputs, precision=precision), tmp_path / "cpu")
    monkeypatch.setattr(test_encoder, "CPU", GPU)
    task = test_encoder.make_task(inputs, precision=precision)
    assert task_device(task) == "cuda"
    alike(trained(task, tmp_path / "gpu"), expected, 0.02 if precision == "float32" else 0.1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")
def test_two_gpus_learn_what_one_learns(tasks: Tasks):  # noqa: F811
    assert_alike(train_all(tasks), in_ranks(2, partial(train_all, tasks)))


def alike(found: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float) -> None:
    """The losses of each epoch; recall and ranks of a handful of clips may leap."""
    assert len(found) == len(expected)
    for seen, wanted in zip(found, expected, strict=True):
        for name in ("train/total", "val/total"):
            assert seen[name] == pytest.approx(wanted[name], rel=tolerance, abs=1e-3), name


def test_a_gpu_fetches_batches_from_pinned_memory(inputs: EncoderInputs):  # noqa: F811
    for pinned in (False, True):
        pairs = Pairs(inputs.spectrograms, inputs.targets, "train", pinned)
        assert {batch.heard.is_pinned() for batch in pairs.shuffled(4, 0, 0)} == {pinned}
