"""Carrying a training run through: signals, checkpoints, progress. None of it changes what is learned.

Checkpoints live in `$DVC_ROOT/.work`, because DVC deletes a stage's outputs before it runs.
"""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from speech2face.pipeline.progress import progress
from speech2face.training import ranks
from speech2face.training.checkpoint import load_checkpoint, save_checkpoint
from speech2face.training.loop import Metrics, State, Task, epochs, look

CHECKPOINT_EVERY_S = 60.0


def train(task: Task, seed: int, checkpoint: Path, log: Callable[[Metrics], None]) -> tuple[State, int]:
    """Train, and leave the best epoch's weights in `task.network`; returns how the run went and the number of steps that it took now.
    `log` takes the metrics of every epoch, also of those before a stop.

    A checkpoint of this run is resumed. SIGTERM and an interrupt save one, and exit with status 143 or 130; a kill costs at most the
    steps since the last. Of several ranks, which all resume, the first alone saves, logs and shows progress, and all stop after the same
    step. Raises ValueError if the loss is not finite.
    """
    state = _resume(task, checkpoint) or State()
    asked_to_stop = _on_signals()
    saved, num_steps = time.monotonic(), 0
    for metrics in state.history:
        log(metrics)

    def report() -> None:
        log(state.history[-1])
        text = ", ".join(f"{name} {value:.4g}" for name, value in state.history[-1].items())
        _say(f"{task.name} epoch {state.epoch}/{task.epochs}: {text}")

    for steps in epochs(task, state, seed, report):
        title = f"{task.name} epoch {state.epoch + 1}/{task.epochs}"
        shown = progress(steps, task.num_batches - state.step, title, "steps") if ranks.is_first() else steps
        for _ in shown:
            num_steps += 1
            stopping = ranks.agreed(asked_to_stop())
            if ranks.is_first() and (stopping or time.monotonic() - saved >= CHECKPOINT_EVERY_S):
                look(task, state)
                save_checkpoint(checkpoint, _contents(task, state))
                saved = time.monotonic()
            if stopping:
                _say(f"{task.name}: stopped at epoch {state.epoch + 1}, step {state.step}; run again to go on")
                ranks.agreed(stopping)  # nobody leaves before the checkpoint is written
                sys.exit(128 + stopping)
    return state, num_steps


def _contents(task: Task, state: State) -> dict[str, Any]:
    return {
        "network": task.network.state_dict(),
        "optimizer": task.optimizer.state_dict(),
        "scheduler": task.scheduler.state_dict(),
        "state": vars(state),
    }


def _resume(task: Task, path: Path) -> State | None:
    saved = load_checkpoint(path, next(task.network.parameters()).device)
    if saved is None:
        return None
    task.network.load_state_dict(saved["network"])
    task.optimizer.load_state_dict(saved["optimizer"])
    task.scheduler.load_state_dict(saved["scheduler"])
    state = State(**saved["state"])
    _say(f"{task.name}: resuming at epoch {state.epoch + 1}, step {state.step}")
    return state


def _on_signals() -> Callable[[], int]:
    stop: list[int] = []  # the signal that asked

    def handle(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return lambda: stop[0] if stop else 0


def _say(text: str) -> None:
    if ranks.is_first():
        print(text, file=sys.stderr, flush=True)
