"""Training runs by what they are made from: a run that has been finished is not trained again.

Its network is kept in `.work`, and in what DVC keeps of the stage's last output; the weight file says what it was made from and how
each epoch went.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from dvclive import Live

from speech2face.models.weight_files import SUFFIX, read_about, save_network
from speech2face.pipeline.code import reached
from speech2face.pipeline.dvc_cache import last_output
from speech2face.pipeline.engine import link
from speech2face.pipeline.plan import Ingredients, fingerprint
from speech2face.pipeline.work import work_directory
from speech2face.training.loop import Metrics, Task, close_epoch, steps
from speech2face.training.session import train


@dataclass(frozen=True)
class TrainingPlan:
    """A run: `build(device)` makes its task from the files that `inputs` gives the digests of, by name."""

    stage: str
    build: Callable[[torch.device], Task]
    functions: tuple[Callable[..., Any], ...]
    """What `build` is made from: the functions of this project whose code shapes the task."""
    settings: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str]

    @cached_property
    def ingredients(self) -> Ingredients:
        """What the run's result is made from."""
        code = reached(*self.functions, steps, close_epoch)
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

    DVCLive's logs go to `live`. Raises as `train`.
    """
    started, num_steps = time.monotonic(), 0
    stored = work_directory() / "trained" / plan.stage / f"{plan.fingerprint}{SUFFIX}"
    checkpoint = work_directory() / "checkpoints" / plan.stage / f"{plan.fingerprint[:24]}.pt"
    about = _finished(plan.fingerprint, stored, out)
    with Live(str(live), dvcyaml=None, save_dvc_exp=False, report=None) as logs:

        def log(metrics: Metrics) -> None:
            for name, value in metrics.items():
                logs.log_metric(name, value)
            logs.next_step()

        if about is None:
            task = plan.build(device())
            state, num_steps = train(task, plan.seed, checkpoint, log)
            about = {**task.about, "fingerprint": plan.fingerprint, "ingredients": plan.ingredients}
            about |= {"history": state.history, "best_epoch": state.best_epoch, "counts": dict(task.counts)}
            save_network(task.network, stored, about, **task.dimensions)
        else:
            for metrics in about["history"]:
                log(metrics)
    checkpoint.unlink(missing_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (SUFFIX, ".json"):
        target = out.with_name(out.name + suffix)
        target.unlink(missing_ok=True)
        link(stored.with_suffix(suffix), target)
    seconds = time.monotonic() - started
    return Trained(about["history"], about["best_epoch"], about["counts"], num_steps, seconds)


def _finished(name: str, stored: Path, out: Path) -> dict[str, Any] | None:
    """What the weight file of a finished run says, once it is in the store; None if there is no such file."""
    kept = last_output(out.parent) if not stored.exists() else {}
    for source in (stored, out.with_name(out.name + SUFFIX), kept.get(out.name + SUFFIX)):
        about = _about(source)
        if source is None or about is None or about.get("fingerprint") != name:
            continue
        if source != stored:
            beside = (
                kept.get(out.name + ".json") if source == kept.get(out.name + SUFFIX) else source.with_suffix(".json")
            )
            if beside is None or not beside.is_file():
                continue
            stored.parent.mkdir(parents=True, exist_ok=True)
            link(beside.resolve(), stored.with_suffix(".json"))
            link(source.resolve(), stored)
        return about
    return None


def _about(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    try:
        return read_about(path)
    except ValueError:  # cut off, or of another version of this project
        return None
