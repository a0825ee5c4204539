"""Two ranks take the steps that one process takes on the whole batch, in each of the trainings."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speech2face.models.face_decoder import FaceDecoder
from speech2face.pipeline import machine
from speech2face.pipeline.params import SpecAugment
from speech2face.training import decoder, ranks
from speech2face.training.canonical import CanonicalFaces
from speech2face.training.encoder import EncoderInputs
from speech2face.training.loop import Metrics, State, Task, epochs
from speech2face.training.pairs import Targets
from speech2face.training.processes import in_ranks
from tests.training import test_decoder, test_encoder, test_speaker_encoder
from tests.training.test_decoder import faces, targets  # noqa: F401 - fixtures
from tests.training.test_encoder import data, inputs  # noqa: F401 - fixtures
from tests.training.test_speaker_encoder import data as embeddings  # noqa: F401 - a fixture


@dataclass
class Trained:
    """What became of a network: its weights and buffers, and the metrics of each epoch."""

    weights: dict[str, np.ndarray]
    history: list[Metrics]


def trained(task: Task) -> Trained:
    """A training in double precision, after which all ranks have the same to the bit."""
    task.network.double()
    state, num_steps = State(), 0
    for steps in epochs(task, state, 3, lambda: None):
        num_steps += len(list(steps))
    assert num_steps == task.epochs * task.num_batches
    weights = {name: value.clone() for name, value in task.network.state_dict().items()}
    for name, value in weights.items():
        for rank in ranks.gathered(value[None]) if value.is_floating_point() else [value]:
            assert torch.equal(rank, value), name
    return Trained({name: value.cpu().numpy() for name, value in weights.items()}, state.history)


@dataclass
class Tasks:
    """The trainings, of random crops and masks, with every term of the losses, morphs, decoded faces of which half of a batch of two is
    drawn, and so none by the second rank, and dropout."""

    encoder: EncoderInputs
    faces: CanonicalFaces
    targets: Targets
    embeddings: Path

    def build(self) -> dict[str, Task]:
        weights = test_encoder.SETTINGS.weights.model_copy(update={"contrastive": 1.0})
        masks = SpecAugment(frequency_bins=40, time_frames=30)
        halves = {"batch_size": 2, "embedding_fraction": 0.5}
        of_speakers = test_speaker_encoder.make_task(self.embeddings, epochs=2)
        objective = of_speakers.losses.__self__  # type: ignore[attr-defined]
        objective.deviations = objective.deviations.double()
        return {
            "encoder": test_encoder.make_task(self.encoder, weights=weights, spec_augment=masks),
            "decoder": test_decoder.make_task(self.faces, self.targets, max_gradient_norm=0.1, **halves),
            "speaker encoder": of_speakers,
        }


def train_all(tasks: Tasks, names: Sequence[str] = ("encoder", "decoder", "speaker encoder")) -> dict[str, Trained]:
    """What becomes of the trainings, on the device that this process is given."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (test_encoder, test_decoder, test_speaker_encoder):
            patch.setattr(module, "CPU", machine.device())
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(decoder, "FaceDecoder", functools.partial(FaceDecoder, first_dim=32, landmark_hidden_dim=8))
        built = tasks.build()
        return {name: trained(built[name]) for name in names}


@pytest.fixture
def tasks(inputs: EncoderInputs, faces: CanonicalFaces, targets: Targets, embeddings: Path) -> Tasks:  # noqa: F811
    of_voices, of_faces = (replace(t, features=t.features.astype(np.float64)) for t in (inputs.targets, targets))
    networks = inputs.f_dec.double(), inputs.face_logits.double()
    return Tasks(EncoderInputs(inputs.spectrograms, of_voices, *networks), faces, of_faces, embeddings)


def train_both_ways(tasks: Tasks) -> tuple[dict[str, Trained], dict[str, Trained]]:
    """On whole batches, and the encoder in micro-batches of 1 as well."""
    with pytest.MonkeyPatch.context() as patch:
        whole = train_all(tasks)
        patch.setenv("S2F_MICRO_BATCH", "1")
        return whole, train_all(tasks, ("encoder",))


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns(tasks: Tasks):
    expected = train_all(tasks)
    whole, in_micro_batches = in_ranks(2, partial(train_both_ways, tasks))
    assert_alike(expected, whole)
    assert_alike({"encoder": expected["encoder"]}, in_micro_batches)


def assert_alike(expected: dict[str, Trained], found: dict[str, Trained]) -> None:
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        two = found[name]
        assert two.weights.keys() == one.weights.keys()
        for part, weights in one.weights.items():
            np.testing.assert_allclose(two.weights[part], weights, rtol=1e-9, atol=1e-9, err_msg=f"{name}: {part}")
        assert len(two.history) == len(one.history) > 1
        for metrics, wanted in zip(two.history, one.history, strict=True):
            assert metrics == pytest.approx(wanted, rel=1e-9, abs=1e-9), name


def test_one_process_is_the_whole():
    rows = torch.randn(5, 3, requires_grad=True)
    same: list[Callable[[torch.Tensor], torch.Tensor]] = [ranks.mine, ranks.gathered, ranks.summed]
    assert all(function(rows) is rows for function in same)
    assert (ranks.count(), ranks.is_first(), ranks.agreed(7), ranks.from_first(lambda: "it")) == (1, True, 7, "it")
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    ranks.over_the_whole_batch(network)
    assert [type(module) for module in network] == [nn.BatchNorm1d, nn.Dropout]
    ranks.check_batch(7)


def both(kind: type[nn.Module], whole: type[nn.Module], *arguments: float) -> tuple[nn.Module, nn.Module]:
    """A layer of PyTorch's, and the same as it is on several ranks."""
    expected, found = kind(*arguments), kind(*arguments)
    found.__class__ = whole
    return expected, found


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_batch_normalisation_is_pytorchs(precision: torch.dtype):
    torch.manual_seed(0)
    layers = both(nn.BatchNorm2d, ranks.WholeBatchNorm, 3)
    rows = (5 + 2 * torch.randn(4, 3, 6, 5)).to(precision).contiguous(memory_format=torch.channels_last)
    weights, seen = torch.randn(4, 3, 6, 5).to(precision), []
    for layer in layers:
        layer.to(torch.float64 if precision == torch.float64 else torch.float32)
        nn.init.constant_(layer.weight, 1.5)
        given = rows.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            outputs = layer(given)
        (outputs * weights).sum().backward()
        layer.eval()
        seen.append([outputs, given.grad, layer.weight.grad, layer.bias.grad, *layer.buffers(), layer(rows)])
    for expected, found in zip(*seen, strict=True):
        assert found.dtype == expected.dtype and found.stride() == expected.stride()
        tolerance = {"rtol": 1e-12, "atol": 1e-12} if precision == torch.float64 else {"rtol": 0.02, "atol": 0.02}
        torch.testing.assert_close(found, expected, **tolerance)


def test_dropout_is_pytorchs():
    found = []
    for layer in both(nn.Dropout, ranks.WholeBatchDropout, 0.3):
        torch.manual_seed(0)
        found += [layer(torch.arange(1.0, 41).view(8, 5)), layer.eval()(torch.ones(2))]
    torch.testing.assert_close(found[:2], found[2:])


def test_batches_are_divided_evenly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks, "count", lambda: 3)
    ranks.check_batch(6)
    with pytest.raises(ValueError, match="a batch of 8 cannot be divided evenly among 3 processes; set S2F_PROCESSES"):
        ranks.check_batch(8)
