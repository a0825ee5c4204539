"""A training of a small network in a few milliseconds, for the tests of loops, sessions and runs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from speech2face.pipeline.params import SpeakerEmbedding
from speech2face.training import ranks
from speech2face.training.loop import Metrics, Task

STEPS, EPOCHS = 5, 4
SPEAKER_EMBEDDING = SpeakerEmbedding(
    networks=["campplus"],
    hidden_dim=16,
    num_layers=1,
    members=2,
    dropout=0.2,
    lr=0.01,
    weight_decay=0.01,
    batch_size=8,
    epochs=20,
    contrastive=0.5,
    contrastive_temperature=0.2,
)


class Toy(nn.Module):
    """[B, 3] to [B, 1], with batch normalisation, whose running statistics are part of the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # No bias before the normalisation, which takes it out again: its gradient is rounding, and Adam follows that.
        self.layers = nn.Sequential(
            nn.Linear(3, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


def toy_task(
    width: int = 8,
    epochs: int = EPOCHS,
    fail_at: int | None = None,
    failure: Callable[[], None] | None = None,
    scores: Sequence[float] = (),
    said_width: int | None = None,
    patience: int | None = None,
) -> Task:
    """Regression with noise from each step's generator and a decaying learning rate.

    `failure` is called at step `fail_at`, counted from the start of this session; `scores` are those of the epochs, by default the
    negative error; `said_width` is what the weight file says, if it is not `width`.
    """
    torch.manual_seed(0)
    network = Toy(width)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    inputs = torch.randn(STEPS, 16, 3, generator=torch.Generator().manual_seed(1))
    numbers, given = iter(range(10_000)), iter(scores)

    def losses(batch: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        if next(numbers) == fail_at and failure is not None:
            failure()
        noise = torch.randn(batch.shape, generator=generator)
        found = ranks.gathered(network(ranks.mine(batch + 0.1 * noise)))
        return {"total": (found - batch.sum(1, keepdim=True)).square().mean()}

    def batches(epoch: int, first_step: int = 0) -> Iterator[torch.Tensor]:
        return (inputs[i] for i in torch.randperm(STEPS, generator=torch.Generator().manual_seed(epoch))[first_step:])

    def validate() -> Metrics:
        with torch.no_grad():
            error = float((network(inputs[0]) - inputs[0].sum(1, keepdim=True)).square().mean())
        return {"total": error, "score": next(given, -error)}

    return Task(
        "toy",
        network,
        optimizer,
        torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9),
        epochs,
        STEPS,
        batches,
        losses,
        validate,
        lambda metrics: (metrics["score"],),
        patience=patience,
        dimensions={"width": said_width or width},
        about={"segment_s": 6.0},
        counts={"clips": 80, "clips_without_face": 3},
    )


def build_toy(*, seed: int, device: torch.device, **changes: Any) -> Task:
    """`toy_task` as a plan builds it."""
    return toy_task(**changes)


def build_other(*, seed: int, device: torch.device, **changes: Any) -> Task:
    """The same from other code."""
    return toy_task(scores=[4, 3, 2, 1], **changes)


def weights(task: Task) -> dict[str, torch.Tensor]:
    """A copy of the network's weights and buffers."""
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
