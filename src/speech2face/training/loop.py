"""The training loop: knows networks only as tensors in and a loss out, and can be stopped at any step.

Everything random is drawn from (seed, epoch, step), so a run that was interrupted and resumed is, step for step, the run that was
not. Checkpoints live in `$DVC_ROOT/.work`, because DVC deletes a stage's outputs before it runs.
"""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from dvclive import Live
from torch import nn

from speech2face.pipeline.engine import work_directory
from speech2face.pipeline.progress import progress
from speech2face.pipeline.provenance import code_digest, json_digest
from speech2face.training.checkpoint import load_checkpoint, save_checkpoint

Metrics = dict[str, float]
CHECKPOINT_EVERY_S = 60.0


@dataclass(frozen=True)
class Task:
    """What there is to train.

    `batches(epoch)` gives the epoch's batches in an order that depends on the epoch alone, and `num_batches` their number;
    `losses(batch, generator)` the terms of a batch's loss, "total" among them; `validate()` the metrics of the network as it is.
    The best epoch is the one of which `score(metrics)` is greatest; ties go to the earliest.
    """

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    epochs: int
    num_batches: int
    batches: Callable[[int], Iterable[Any]]
    losses: Callable[[Any, torch.Generator], dict[str, torch.Tensor]]
    validate: Callable[[], Metrics]
    score: Callable[[Metrics], tuple[float, ...]]
    max_gradient_norm: float = math.inf


@dataclass
class _State:
    epoch: int
    step: int  # steps done in this epoch
    sums: Metrics  # of this epoch's training losses
    history: list[Metrics]
    best: dict[str, torch.Tensor]
    best_epoch: int


def train(task: Task, seed: int, fingerprint: str, live_directory: Path) -> dict[str, Any]:
    """Train, leave the best epoch's weights in `task.network`, and return the best epoch's number (from 1) and metrics.

    `fingerprint` names the run: a checkpoint of the same run is resumed, that of another never. SIGTERM and an interrupt save, and
    exit with status 143 or 130; a kill costs at most the steps since the last checkpoint. Raises ValueError if the loss is not finite.
    """
    device = next(task.network.parameters()).device
    path = work_directory() / "checkpoints" / task.name / f"{fingerprint[:24]}.pt"
    state = _resume(task, path, device) or _State(0, 0, {}, [], {}, -1)
    asked_to_stop = _on_signals()
    saved = time.monotonic()
    with Live(str(live_directory), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        for metrics in state.history:
            _log(live, metrics)
        while state.epoch < task.epochs:
            for _ in progress(
                _epoch(task, state, seed),
                task.num_batches - state.step,
                f"{task.name} epoch {state.epoch + 1}/{task.epochs}",
                "steps",
            ):
                stopping = asked_to_stop()
                if stopping or time.monotonic() - saved >= CHECKPOINT_EVERY_S:
                    save_checkpoint(path, _contents(task, state))
                    saved = time.monotonic()
                if stopping:
                    print(
                        f"{task.name}: stopped at epoch {state.epoch + 1}, step {state.step}; run again to go on",
                        file=sys.stderr,
                    )
                    sys.exit(128 + stopping)
            _close_epoch(task, state)
            _log(live, state.history[-1])
            print(
                f"{task.name} epoch {state.epoch}/{task.epochs}: " + _text(state.history[-1]),
                file=sys.stderr,
                flush=True,
            )
    task.network.load_state_dict(state.best)
    task.network.eval()
    return _best(task, state)


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The source of all that is random in one training step, on the CPU."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63)


def _epoch(task: Task, state: _State, seed: int) -> Iterator[None]:
    """Train on what is left of the state's epoch."""
    task.network.train()
    for step, batch in enumerate(task.batches(state.epoch)):
        if step < state.step:
            continue
        task.optimizer.zero_grad(set_to_none=True)
        losses = task.losses(batch, step_generator(seed, state.epoch, step))
        total = losses["total"]
        if not torch.isfinite(total):
            raise ValueError(
                f"{task.name}: the loss is {total.item()} at epoch {state.epoch + 1}, step {step}; lower the learning rate"
            )
        total.backward()
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), task.max_gradient_norm)
        task.optimizer.step()
        task.scheduler.step()
        state.step = step + 1
        for name, value in losses.items():
            state.sums[name] = state.sums.get(name, 0.0) + float(value.detach())
        yield


def _close_epoch(task: Task, state: _State) -> None:
    task.network.eval()
    validation = task.validate()
    training = {f"train/{name}": value / state.step for name, value in state.sums.items()}
    metrics = training | {f"val/{name}": value for name, value in validation.items()}
    if not state.history or task.score(validation) > task.score(_validation(state.history[state.best_epoch])):
        state.best = {name: value.detach().cpu().clone() for name, value in task.network.state_dict().items()}
        state.best_epoch = state.epoch
    state.history.append(metrics | {"lr": float(task.scheduler.get_last_lr()[0])})
    state.epoch, state.step, state.sums = state.epoch + 1, 0, {}


def run_fingerprint(script: str, settings: dict[str, Any], seed: int, inputs: list[str]) -> str:
    """What a training run depends on: code, settings, seed, and the names or digests of its inputs."""
    return json_digest({"code": code_digest(Path(script)), "settings": settings, "seed": seed, "inputs": inputs})


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._started


def _best(task: Task, state: _State) -> dict[str, Any]:
    metrics: dict[str, Any] = {"best_epoch": state.best_epoch + 1}
    for name, value in state.history[state.best_epoch].items():
        group, _, key = name.rpartition("/")
        (metrics.setdefault(group, {}) if group else metrics)[key] = value
    return metrics


def _validation(metrics: Metrics) -> Metrics:
    return {name.removeprefix("val/"): value for name, value in metrics.items() if name.startswith("val/")}


def _contents(task: Task, state: _State) -> dict[str, Any]:
    return {
        "network": task.network.state_dict(),
        "optimizer": task.optimizer.state_dict(),
        "scheduler": task.scheduler.state_dict(),
        "state": vars(state),
    }


def _resume(task: Task, path: Path, device: torch.device) -> _State | None:
    saved = load_checkpoint(path, device)
    if saved is None:
        return None
    task.network.load_state_dict(saved["network"])
    task.optimizer.load_state_dict(saved["optimizer"])
    task.scheduler.load_state_dict(saved["scheduler"])
    state = _State(**saved["state"])
    if state.epoch < task.epochs:
        print(f"{task.name}: resuming at epoch {state.epoch + 1}, step {state.step}", file=sys.stderr)
    return state


def _on_signals() -> Callable[[], int]:
    stop: list[int] = []  # the signal that asked

    def handle(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return lambda: stop[0] if stop else 0


def _log(live: Live, metrics: Metrics) -> None:
    for name, value in metrics.items():
        live.log_metric(name, value)
    live.next_step()


def _text(metrics: Metrics) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
