"""Training runs by what they are made from: a run that has been finished is not trained again.

Its network is kept in `.work`, and in what DVC keeps of the stage's last output; the weight file says what it was made from and how
each epoch went.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from speech2face.models.weight_files import SUFFIX, read_about, save_network, write_description
from speech2face.pipeline.atomic import link
from speech2face.pipeline.code import reached
from speech2face.pipeline.dvc_cache import last_output
from speech2face.pipeline.machine import num_processes
from speech2face.pipeline.plan import Ingredients, fingerprint
from speech2face.pipeline.work import work_directory
from speech2face.training import ranks
from speech2face.training.loop import Metrics, Task, epochs
from speech2face.training.processes import in_ranks
from speech2face.training.session import train


@dataclass(frozen=True)
class TrainingPlan:
    """A run: `build(**arguments, seed=seed, device=device)` makes its task.

    build: a function at the top level of a module; arguments: the parameters that it reads, and where its inputs are; settings: those
    parameters as JSON; inputs: digests of the files that it reads, by name.
    """

    stage: str
    build: Callable[..., Task]
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str]

    @cached_property
    def ingredients(self) -> Ingredients:
        """What the run's result is made from."""
        code = reached(self.build, epochs, save_network)
        return {"settings": {**self.settings, "seed": self.seed}, "inputs": dict(self.inputs), **code.as_dict()}

    @cached_property
    def fingerprint(self) -> str:
        """The name of the run: it says what the network is made from."""
        return fingerprint(self.stage, self.ingredients)


@dataclass(frozen=True)
class Trained:
    """How a run went: metrics of each epoch, the number of the best (from 0), numbers of examples, and what it took this time."""

    history: list[Metrics]
    best_epoch: int
    counts: dict[str, int]
    steps: int
    seconds: float

    @property
    def best(self) -> Metrics:
        """Metrics of the best epoch, the epoch whose weights are kept."""
        return self.history[self.best_epoch]


def run(plan: TrainingPlan, device: Callable[[], torch.device], out: Path, live: Path) -> Trained:
    """Train a plan's network, or take it from where it was kept, and write it as `out`.safetensors and `out`.json.

    DVCLive's logs go to `live`. `num_processes` processes train it together. Raises as `num_processes`, `in_ranks` and `train`.
    """
    started, num_steps = time.monotonic(), 0
    stored = work_directory() / "trained" / plan.stage / f"{plan.fingerprint}{SUFFIX}"
    checkpoint = work_directory() / "checkpoints" / plan.stage / f"{plan.fingerprint[:24]}.pt"
    about = _finished(plan.fingerprint, stored, out)
    if about is None:
        count = num_processes(device(), plan.settings.get("batch_size"))
        about, num_steps = in_ranks(count, partial(_train, plan, device, stored, checkpoint, live))
    else:
        with _log(live) as log:
            for metrics in about["history"]:
                log(metrics)
    checkpoint.unlink(missing_ok=True)
    weights = _weights(out)
    link(stored, weights)
    write_description(weights)
    seconds = time.monotonic() - started
    return Trained(about["history"], about["best_epoch"], about["counts"], num_steps, seconds)


def _train(
    plan: TrainingPlan, device: Callable[[], torch.device], stored: Path, checkpoint: Path, live: Path
) -> tuple[dict[str, Any], int]:
    """Train a plan's network and store it: what its weight file says of it, and the number of steps. Of several ranks, the first alone
    logs and stores."""
    with _log(live) if ranks.is_first() else nullcontext(lambda metrics: None) as log:
        task = plan.build(**plan.arguments, seed=plan.seed, device=device())
        state, num_steps = train(task, plan.seed, checkpoint, log)
        about = {**task.about, "fingerprint": plan.fingerprint, "ingredients": plan.ingredients}
        about |= {"history": state.history, "best_epoch": state.best_epoch, "counts": dict(task.counts)}
        if ranks.is_first():
            save_network(task.network, stored, about, **task.dimensions)
    return about, num_steps


@contextmanager
def _log(live: Path) -> Iterator[Callable[[Metrics], None]]:
    """What logs the metrics of an epoch in `live`."""
    from dvclive import Live  # here, because of several ranks one alone logs

    with Live(str(live), dvcyaml=None, save_dvc_exp=False, report=None) as logs:

        def log(metrics: Metrics) -> None:
            for name, value in metrics.items():
                logs.log_metric(name, value)
            logs.next_step()

        yield log


def _finished(name: str, stored: Path, out: Path) -> dict[str, Any] | None:
    """What the weight file of a finished run says of it, once the file is in the store; None if there is no such file."""
    for place in _places(stored, out):
        about = _about(place)
        if about.get("fingerprint") != name:
            continue
        if place != stored:
            link(place.resolve(), stored)
        return about
    return None


def _places(stored: Path, out: Path) -> Iterator[Path]:
    """Where a finished run may be: in the store, as the stage's output, and in what DVC keeps of the last output."""
    yield stored
    yield _weights(out)
    kept = last_output(out.parent)
    if out.name + SUFFIX in kept:
        yield kept[out.name + SUFFIX]


def _about(weights: Path) -> dict[str, Any]:
    if not weights.is_file():
        return {}
    try:
        return read_about(weights)
    except ValueError:  # cut off, or of another version of this project
        return {}


def _weights(out: Path) -> Path:
    return out.with_name(out.name + SUFFIX)
