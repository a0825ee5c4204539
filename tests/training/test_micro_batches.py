"""Micro-batches take the step of the whole batch, with less of it in memory; test_ranks trains in them, test_decoder takes steps."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from speech2face.training.micro_batches import over_micro_batches, parts, recomputed


@pytest.fixture
def micro(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setenv("S2F_MICRO_BATCH", str(size))


def layers(last: bool) -> nn.Sequential:
    """Convolutions with batch normalisation between them; with or without one at the end."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.MaxPool2d(2), nn.Conv2d(5, 4, 2), nn.ReLU()
    )
    network.append(nn.BatchNorm2d(4))
    if not last:
        network.append(nn.Conv2d(4, 3, 1))
    for norm in network:
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
    return network


def two_steps(network: nn.Sequential, rows: Tensor, wanted: Tensor) -> list[Tensor]:
    """All that a training makes of a network: outputs, gradients, weights, running statistics, and outputs in eval mode."""
    found = []
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        outputs = network(rows)
        (outputs - wanted[:, : outputs.shape[1]]).square().mean().backward()
        found += [outputs.detach(), *(parameter.grad.clone() for parameter in network.parameters())]
        optimizer.step()
    with torch.inference_mode():
        return [*found, *(value.clone() for value in network.state_dict().values()), network.eval()(rows)]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("last", [True, False])
def test_batch_normalisation_is_that_of_the_whole_batch(last: bool, size: int, micro: Callable[[int], None]):
    """Against PyTorch's own layers, in double precision; 7 rows, so that micro-batches differ in size."""
    rows, wanted = torch.randn(7, 2, 11, 9).double() + 3, torch.randn(7, 4, 3, 2).double()
    expected = two_steps(layers(last).double(), rows, wanted)
    micro(size)
    network = layers(last).double()
    over_micro_batches(network)
    for value, found in zip(expected, two_steps(network, rows, wanted), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)


def test_a_batch_that_fits_is_what_it_was_to_the_bit(micro: Callable[[int], None]):
    rows, wanted = torch.randn(7, 2, 11, 9), torch.randn(7, 4, 3, 2)
    expected = two_steps(layers(True), rows, wanted)
    for setting in (lambda: None, partial(micro, 7), partial(micro, 100)):
        setting()
        network = layers(True)
        over_micro_batches(network)
        assert all(map(torch.equal, expected, two_steps(network, rows, wanted)))


def test_gradients_reach_what_lies_before(micro: Callable[[int], None]):
    rows, seen = torch.randn(4, 2, 11, 9).double(), []
    for size in (4, 1):
        micro(size)
        network, given = layers(True).double(), rows.clone().requires_grad_()
        over_micro_batches(network)
        network(given).pow(3).sum().backward()
        seen.append(given.grad)
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-9, atol=1e-11)


def kept_bytes(compute: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that autograd keeps for the gradient."""
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        compute()
    return sum(storage.nbytes() for storage in kept.values())


def test_of_each_row_less_is_kept(micro: Callable[[int], None]):
    rows = torch.randn(16, 2, 40, 40)
    whole = kept_bytes(lambda: layers(True)(rows))
    micro(2)
    network = layers(True)
    over_micro_batches(network)
    between = rows.nbytes + 16 * 5 * 38 * 38 * 4  # what goes into the first stretch of layers, and into the second
    assert between <= kept_bytes(lambda: network(rows)) < 1.5 * between < whole


def test_one_micro_batch_at_a_time_is_computed_again():
    running, most = [0], [0]

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(context: object, value: Tensor) -> Tensor:
            running[0] += 1
            return value.clone()

        @staticmethod
        def backward(context: object, gradient: Tensor) -> Tensor:
            most[0] = max(most[0], running[0])
            running[0] -= 1
            return gradient

    rows = torch.randn(5, 2, requires_grad=True)
    outputs = [recomputed(lambda row: (Counted.apply(row) * 2,), row)[0] for row in rows]
    running[0] = 0  # so far nothing is kept
    torch.stack(outputs).sum().backward()
    assert most == [1] and running == [0]
    assert torch.equal(rows.grad, torch.full((5, 2), 2.0))


def test_parts_cover_the_batch(micro: Callable[[int], None]):
    assert parts(5) == [slice(0, 5)]
    micro(2)
    assert parts(5) == [slice(0, 2), slice(2, 4), slice(4, 5)]
