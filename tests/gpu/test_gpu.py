"""The same results on a GPU as on the processor: boxes, features, embeddings, pictures, losses and trainings, in batches and in too little
memory. Skipped where there is no GPU."""

import copy
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from speech2face.audio.stored import Crop, spectrograms
from speech2face.dlib_nets.detector import load_detector
from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.face_networks.extraction import feature_shard
from speech2face.face_networks.vgg_face import VggFace
from speech2face.faces.detection import GPU_BATCH_SIZE, Detection, detect
from speech2face.faces.extraction import face_shard
from speech2face.faces.table import FACES
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.losses import EncoderLossWeights, encoder_loss
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline import machine
from speech2face.pipeline.batches import fetch, to_device
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import write_shard
from speech2face.speaker_networks.backends import SOURCES, converted_weights, open_networks
from speech2face.speaker_networks.extraction import embed
from speech2face.training.encoder import EncoderInputs
from speech2face.training.loop import Task
from speech2face.training.pairs import Pairs
from speech2face.training.processes import in_ranks
from speech2face.training.reading import Batch
from speech2face.training.session import train
from tests.audio.test_stored import FLOAT32_ERROR, most_apart, of_16_bits, speech
from tests.faces import test_extraction
from tests.speaker_networks.sounds import voice
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


def many_pictures() -> list[np.ndarray]:
    """More of two sizes, in turns, than a batch holds, and one alone."""
    some = [picture[y : y + 200, 10:226] if y % 2 else picture for picture in pictures() for y in range(6)]
    assert len(some) > 2 * GPU_BATCH_SIZE
    return [some[0][:180, :230], *some]


def assert_same_faces(found: list[list[Detection]], expected: list[list[Detection]]) -> None:
    boxes, others = ([[face.box for face in of_picture] for of_picture in table] for table in (found, expected))
    assert boxes == others
    for face, other in zip(chain.from_iterable(found), chain.from_iterable(expected), strict=True):
        assert face.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_pictures_in_batches_have_the_boxes_of_each_alone():
    images = many_pictures()
    alone = [detect([image], device=GPU)[0] for image in images]
    assert sum(map(len, alone)) > len(images) / 2
    assert_same_faces(detect(images, device=GPU), alone)
    assert_same_faces(alone, detect(images, device=CPU))


@pytest.fixture
def restored_memory() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("restored_memory")
def test_batches_that_the_memory_does_not_hold_are_halved():
    images = [np.tile(picture, (3, 3, 1)) for picture in (2 * GPU_BATCH_SIZE * pictures())[:GPU_BATCH_SIZE]]
    expected = detect(images, device=GPU)
    few = peak_bytes(images[:2])
    assert peak_bytes(images) > 2 * few
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction(1.5 * few / total)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        load_detector(device=GPU)(torch.from_numpy(np.stack(images)))
    torch.cuda.empty_cache()
    assert_same_faces(detect(images, device=GPU), expected)


def peak_bytes(images: list[np.ndarray]) -> int:
    """The most memory that the GPU reserves for a batch."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    load_detector(device=GPU)(torch.from_numpy(np.stack(images)))
    return torch.cuda.max_memory_reserved()


def test_a_shard_of_faces_is_that_of_the_processor(tmp_path: Path):
    rows = test_extraction.many(tmp_path)
    settings = test_extraction.SETTINGS
    expected, found = (
        list(face_shard(rows, settings, {"root": str(tmp_path), "device": device})) for device in (CPU, GPU)
    )
    for face, other in zip(found, expected, strict=True):
        if isinstance(other, Reject):
            assert face == other
        else:
            assert face.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-4)
            np.testing.assert_array_equal(face.pop("landmarks"), other.pop("landmarks"))
            assert face == other


def test_a_shard_of_features_is_that_of_the_processor(tmp_path: Path):
    crops = face_shard(test_extraction.many(tmp_path), test_extraction.SETTINGS, {"root": str(tmp_path), "device": CPU})
    write_shard(tmp_path / "table" / "shard-a.parquet", crops, FACES, {})
    settings = load_params(Path(__file__).parents[2] / "params.yaml").features
    rows = [{"shard": "shard-a.parquet", "content": ""}]
    context = {"faces": str(tmp_path / "table"), "weights": None}
    expected, found = (list(feature_shard(rows, settings, context | {"device": device})) for device in (CPU, GPU))
    assert [row["face_id"] for row in found] == [row["face_id"] for row in expected]
    features, others = (np.stack([row["feature"] for row in table]) for table in (found, expected))
    np.testing.assert_allclose(features, others, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SOURCES)
def test_a_speaker_network_gives_the_same_embeddings_in_batches(name: str):
    sounds = np.stack([voice(6.0, 100 + 30 * number, seed=number) for number in range(5)])
    on_cpu, on_gpu = (open_networks(converted_weights([name]), device) for device in (CPU, GPU))
    expected = np.stack([embed(on_cpu, sound[None], CPU)[0] for sound in sounds])
    tolerance = 1e-3 * float(np.abs(expected).max())
    np.testing.assert_allclose(embed(on_gpu, sounds, GPU), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(embed(on_gpu, sounds[:1], GPU), expected[:1], rtol=0, atol=tolerance)


def test_what_is_fetched_is_what_there_was_when_it_was_asked_for():
    values = torch.rand(512, 512, device=GPU)
    expected = values.cpu().numpy()
    arrived = fetch(values)
    values.zero_()  # in the order of the stream, behind the copy
    np.testing.assert_array_equal(arrived(), expected)
    host = torch.rand(64, 64)
    np.testing.assert_array_equal(to_device(host, GPU).cpu(), host)


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


@pytest.fixture
def restored_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_signals")
def test_a_training_that_was_stopped_goes_on_as_an_unbroken_one(
    inputs: EncoderInputs,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(test_encoder, "CPU", GPU)
    expected = trained(test_encoder.make_task(inputs), tmp_path / "unbroken")
    task = test_encoder.make_task(inputs)
    losses, num_steps = task.losses, 0

    def stops(batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        nonlocal num_steps
        num_steps += 1
        if num_steps == task.num_batches + 1:
            signal.raise_signal(signal.SIGTERM)
        return losses(batch, generator)

    with pytest.raises(SystemExit):
        trained(replace(task, losses=stops), tmp_path / "broken")
    assert task.num_batches < num_steps < task.epochs * task.num_batches
    # GPUs add up in an order of their own, so not to the bit
    alike(trained(test_encoder.make_task(inputs), tmp_path / "broken"), expected, 1e-3)


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
