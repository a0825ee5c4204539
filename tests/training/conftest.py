"""Trainings of a test's own: what they set does not leak into other tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import forkserver


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which a test runs, with a `.work` of its own; the old handlers of signals come back afterwards."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def processes_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech2face.training.processes.get_context", forkserver.get_context)
