"""What becomes of all ranks when something becomes of one, and what is learned in spite of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import active_children, parent_process
from pathlib import Path

import pytest
import torch

from speech2face.models.weight_files import load_network, read_about, save_network
from speech2face.training import ranks, session
from speech2face.training.loop import Task
from speech2face.training.processes import STOPS, _fail, _leave, in_ranks
from speech2face.training.runs import TrainingPlan, run
from tests.training.toy import EPOCHS, STEPS, Toy, assert_equal, toy_task

ROOT = Path(__file__).parents[2]


def build(
    *, seed: int, device: torch.device, fail_at: int | None = None, failure: Callable[[], None] | None = None
) -> Task:
    """A training with a checkpoint after every step; `failure` happens to the second rank."""
    assert device == torch.device("cpu") and ranks.count() == 2
    session.CHECKPOINT_EVERY_S = 0.0
    return toy_task(fail_at=None if ranks.is_first() else fail_at, failure=failure)


def plan(fail_at: int | None = None, failure: Callable[[], None] | None = None) -> TrainingPlan:
    return TrainingPlan("train_toy", build, {"fail_at": fail_at, "failure": failure}, {}, 7, {})


def cpu() -> torch.device:
    return torch.device("cpu")


def train_unbroken_and_fail(folder: Path) -> None:
    """A training that the first rank puts into `folder`; in the end the second rank fails."""
    task = build(seed=7, device=cpu())
    state, _ = session.train(task, 7, folder / "c.pt", lambda metrics: None)
    if ranks.is_first():
        save_network(task.network, folder / "toy.safetensors", {"history": state.history}, **task.dimensions)
    else:
        run_out_of_memory()


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_memory() -> None:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nGPU 1 has a total capacity of 80 GiB")


def interrupt_the_parent() -> None:
    parent = parent_process()
    assert parent is not None and parent.pid is not None
    os.kill(parent.pid, signal.SIGINT)
    time.sleep(0.2)


def say_who_is_here(folder: Path) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(600)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process, and the handlers of signals as before."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    assert active_children() == []
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_one_rank_is_this_process():
    assert in_ranks(1, os.getpid) == os.getpid()


@pytest.mark.slow
def test_killed_and_stopped_equals_unbroken(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A rank is killed; in the next run an interrupt reaches the process that started them; the third ends."""
    monkeypatch.setenv("S2F_PROCESSES", "2")
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    out, live = work / "models" / "toy", work / "live"
    killed = r"one of the 2 training processes was killed by signal 9, .*; run again to go on from the last checkpoint"
    with pytest.raises(RuntimeError, match=killed):
        run(plan(STEPS + 2, kill_myself), cpu, out, live)
    with pytest.raises(SystemExit) as stopped:
        run(plan(1, interrupt_the_parent), cpu, out, live)
    assert stopped.value.code == 130
    shown = capfd.readouterr().err
    resumed, stops = (re.findall(rf"toy: {how} at epoch 2, step (\d)", shown) for how in ("resuming", "stopped"))
    assert len(resumed) == len(stops) == 1 and resumed < stops
    assert "Traceback" not in shown

    trained = run(plan(), cpu, out, live)
    assert trained.steps == (EPOCHS - 1) * STEPS - int(stops[0])
    assert len((live / "plots" / "metrics" / "train" / "total.tsv").read_text().splitlines()) == 1 + EPOCHS

    with pytest.raises(RuntimeError) as failed:
        in_ranks(2, partial(train_unbroken_and_fail, work))
    assert str(failed.value) == "training process 2 of 2: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert "Traceback" not in capfd.readouterr().err
    assert read_about(work / "toy.safetensors")["history"] == trained.history
    assert_equal(load_network(Toy, out).state_dict(), load_network(Toy, work / "toy").state_dict())


@pytest.mark.parametrize(
    ("codes", "errors", "asked", "said"),
    [
        ([-9, 1], ["Connection closed by peer"], [], "was killed by signal 9"),
        ([-11], [], [], "was killed by signal 11"),
        ([1, -6], ["out of memory"], [], "out of memory"),
        ([1, 1], ["first", "Connection closed by peer"], [], "first"),
        ([-6], [], [], "was killed by signal 6"),
        ([0, 7], [], [], "ended with status 7"),
        ([1, 1], ["No space left on device", "Connection closed by peer"], [15], "No space left on device"),
    ],
)
def test_what_came_first_is_said(codes: list[int], errors: list[str], asked: list[int], said: str):
    with pytest.raises(RuntimeError, match=said):
        _fail(2, codes, errors, asked)


@pytest.mark.parametrize(
    ("codes", "asked", "status"),
    [([143, 143], [15], 143), ([143], [2, 15], 130), ([143, 1], [], 143), ([130], [], 130), ([-15, 1], [2], 130)],
)
def test_a_stop_is_no_error(codes: list[int], asked: list[int], status: int):
    with pytest.raises(SystemExit) as stopped:
        _fail(2, codes, ["Connection closed by peer"], asked)
    assert stopped.value.code == status


def test_the_second_signal_does_not_disturb_the_leaving():
    """An interrupt reaches a rank from the terminal and from the parent."""
    before = {number: signal.signal(number, _leave) for number in STOPS}
    try:
        with pytest.raises(SystemExit) as stopped:
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped.value.code == 130
        for number in STOPS:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes where Linux lists them")
def test_ranks_leave_with_a_parent_that_is_killed(tmp_path: Path):
    script = "import sys, pathlib, functools; from speech2face.training.processes import in_ranks; "
    script += "from tests.training.test_processes import say_who_is_here; "
    script += "in_ranks(2, functools.partial(say_who_is_here, pathlib.Path(sys.argv[1])))"
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment) as parent:
        wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        assert list(tmp_path.glob("tmp/speech2face-*"))
        parent.kill()
    wait_for(lambda: not any(is_running(int(path.stem)) for path in tmp_path.glob("*.pid")), 10)
    assert not list(tmp_path.glob("tmp/speech2face-*"))


def wait_for(condition: Callable[[], bool], limit_s: float = 120) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
