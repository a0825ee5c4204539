"""One training run, step by step: knows networks only as tensors in and a loss out.

Everything random is drawn from (seed, epoch, step), so a run that was interrupted and resumed is, step for step, the run that was
not. Several processes may train one network together, see `ranks`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from speech2face.training import ranks

LOOK_EVERY = 10
"""Steps after which their losses are looked at: until a number is looked at, a GPU works on while the next steps are prepared."""

Metrics = dict[str, float]


@dataclass(frozen=True)
class Task:
    """What there is to train.

    `batches(epoch, first_step=0)` gives the epoch's batches from a step on, in an order that depends on the epoch alone, and `num_batches`
    is the number of all; `losses(batch, generator)` the terms of a batch's loss, "total" among them; `validate()` the metrics of the
    network as it is. On several ranks the losses are those of the whole batch on each, and the first alone validates.
    The best epoch is the one of which `score(metrics)` is greatest; ties go to the earliest. The training ends after `epochs` epochs, or
    as soon as the best lies `patience` epochs back, 1 or more; None for never. `dimensions` rebuild the network, `about` is
    what else its weight file says of it, and `counts` are numbers of examples, for the stage's results.
    """

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    num_batches: int
    batches: Callable[..., Iterable[Any]]
    losses: Callable[[Any, torch.Generator], dict[str, torch.Tensor]]
    validate: Callable[[], Metrics]
    score: Callable[[Metrics], tuple[float, ...]]
    max_gradient_norm: float = math.inf
    patience: int | None = None
    dimensions: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class State:
    """How far a run is: `step` steps of `epoch` are done, `sums` are those of their losses and learning rates, but for the losses of the
    last few steps, which are `unseen`; `history` holds the metrics of the epochs before, `best` the weights of the best of them."""

    epoch: int = 0
    step: int = 0
    sums: Metrics = field(default_factory=dict)
    history: list[Metrics] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    unseen: list[dict[str, torch.Tensor]] = field(default_factory=list)


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The source of all that is random in one training step, on the CPU."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63)


def steps(task: Task, state: State, seed: int) -> Iterator[None]:
    """Train on what is left of the state's epoch, a step at a time. Raises ValueError if a loss was not finite, every `LOOK_EVERY` steps
    and at the end."""
    task.network.train()
    for step, batch in enumerate(task.batches(state.epoch, state.step), state.step):
        task.optimizer.zero_grad(set_to_none=True)
        losses = task.losses(batch, step_generator(seed, state.epoch, step))
        losses["total"].backward()
        ranks.average_gradients(task.network)
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), task.max_gradient_norm)
        state.unseen.append({name: value.detach() for name, value in losses.items()})
        state.sums["lr"] = state.sums.get("lr", 0.0) + float(task.scheduler.get_last_lr()[0])
        task.optimizer.step()
        task.scheduler.step()
        state.step = step + 1
        if len(state.unseen) >= LOOK_EVERY:
            look(task, state)
        yield
    look(task, state)


def look(task: Task, state: State) -> None:
    """Add the unseen losses to the sums. Raises ValueError, with the step, if one is not finite."""
    for step, losses in enumerate(_numbers(state.unseen), state.step - len(state.unseen)):
        if not math.isfinite(losses["total"]):
            raise ValueError(
                f"{task.name}: the loss is {losses['total']} at epoch {state.epoch + 1}, step {step}; lower the learning rate"
            )
        for name, value in losses.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
    state.unseen = []


def _numbers(unseen: list[dict[str, torch.Tensor]]) -> list[Metrics]:
    """The losses of some steps, fetched from their device at once."""
    if not unseen:
        return []
    values = torch.stack([torch.stack(list(losses.values())) for losses in unseen]).tolist()
    return [dict(zip(losses, row, strict=True)) for losses, row in zip(unseen, values, strict=True)]


def epochs(task: Task, state: State, seed: int, report: Callable[[], None]) -> Iterator[Iterator[None]]:
    """The epochs that are left, each as its steps: going through them trains the task's network. `report` is called after each.

    At the end the network has the weights of the best epoch. Raises ValueError if a loss or a metric is not finite.
    """
    ranks.over_the_whole_batch(task.network)
    while state.epoch < task.epochs and not out_of_patience(task, state):
        yield steps(task, state, seed)
        close_epoch(task, state)
        report()
    task.network.load_state_dict(state.best)
    task.network.eval()


def out_of_patience(task: Task, state: State) -> bool:
    """Whether the best of the epochs that are closed lies as many epochs back as the task has patience for."""
    return task.patience is not None and len(state.history) - 1 - state.best_epoch >= task.patience


def close_epoch(task: Task, state: State) -> None:
    """Validate at the end of an epoch, and keep the weights if they are the best so far. Raises ValueError if a metric is not finite."""
    task.network.eval()
    validation = ranks.from_first(task.validate)
    if wrong := [name for name, value in validation.items() if not math.isfinite(value)]:
        raise ValueError(
            f"{task.name}: {wrong[0]} of the validation is {validation[wrong[0]]} after epoch {state.epoch + 1}; lower the learning rate"
        )
    means = {name: value / state.step for name, value in state.sums.items()}
    lr = means.pop("lr")
    training = {f"train/{name}": value for name, value in means.items()}
    metrics = training | {f"val/{name}": value for name, value in validation.items()} | {"lr": lr}
    if not state.history or task.score(validation) > task.score(_validation(state.history[state.best_epoch])):
        state.best = {name: value.detach().cpu().clone() for name, value in task.network.state_dict().items()}
        state.best_epoch = state.epoch
    state.history.append(metrics)
    state.epoch, state.step, state.sums = state.epoch + 1, 0, {}


def _validation(metrics: Metrics) -> Metrics:
    return {name.removeprefix("val/"): value for name, value in metrics.items() if name.startswith("val/")}
