import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from speech2face.pipeline import machine


def test_workers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_WORKERS", "7")
    assert machine.num_workers() == 7
    monkeypatch.delenv("S2F_WORKERS")
    assert machine.num_workers() >= 1


@pytest.mark.parametrize(
    ("setting", "number"),
    [
        ("S2F_WORKERS", machine.num_workers),
        ("S2F_PROCESSES", partial(machine.num_processes, torch.device("cpu"))),
        ("S2F_MICRO_BATCH", machine.micro_batch),
    ],
)
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, number: Callable[[], int], text: str
):
    monkeypatch.setenv(setting, text)
    with pytest.raises(ValueError, match=f"{setting} must be a whole number of at least 1"):
        number()


@pytest.mark.parametrize("text", ["0", "-0.5", "1.01", "nan", "half", ""])
def test_a_wrong_share_of_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("S2F_GPUS_PER_WORKER", text)
    with pytest.raises(ValueError, match=r"S2F_GPUS_PER_WORKER must be a number from 0\.01 to 1"):
        machine.gpus_per_worker()


def test_the_device_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    assert machine.device() == torch.device("cpu")


@pytest.mark.parametrize("text", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("S2F_DEVICE", text)
    with pytest.raises(ValueError, match=f"S2F_DEVICE must name a device of this machine .got '{text}'"):
        machine.device()


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S2F_DEVICE", raising=False)
    monkeypatch.delenv("S2F_WORKERS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: set(range(64)), raising=False)


@pytest.mark.usefixtures("three_gpus")
def test_workers_take_turns_among_the_gpus(monkeypatch: pytest.MonkeyPatch):
    found = []
    for number in range(7):
        monkeypatch.setattr(machine, "worker", number)
        found.append(machine.device().index)
    assert found == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.usefixtures("three_gpus")
def test_few_workers_share_a_gpu_and_all_processors_serve_other_work(monkeypatch: pytest.MonkeyPatch):
    assert machine.num_workers() == 64
    assert machine.num_workers(on_device=True) == 3 * 4
    monkeypatch.setenv("S2F_GPUS_PER_WORKER", "0.3")
    assert machine.num_workers(on_device=True) == 3 * 3
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    assert machine.num_workers(on_device=True) == 64
    monkeypatch.setenv("S2F_WORKERS", "5")
    assert machine.num_workers(on_device=True) == 5


@pytest.mark.usefixtures("three_gpus")
def test_a_network_is_trained_by_a_process_for_each_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("S2F_PROCESSES", raising=False)
    assert machine.num_processes(machine.device()) == 3
    assert [machine.num_processes(machine.device(), batch_size) for batch_size in (9, 8, 7)] == [3, 2, 1]
    for asked in (1, 2, 3):
        monkeypatch.setenv("S2F_PROCESSES", str(asked))
        assert machine.num_processes(machine.device()) == asked
    monkeypatch.setenv("S2F_PROCESSES", "4")
    with pytest.raises(
        ValueError, match=r"S2F_PROCESSES must be at most 3, the number of GPUs to train on \(got 4\); unset it"
    ):
        machine.num_processes(machine.device())


def test_on_a_processor_one_process_trains_unless_more_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    monkeypatch.delenv("S2F_PROCESSES", raising=False)
    assert machine.num_processes(machine.device()) == 1
    monkeypatch.setenv("S2F_PROCESSES", "4")
    assert machine.num_processes(machine.device()) == 4


def test_a_gpu_that_is_named_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_DEVICE", "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("S2F_PROCESSES", raising=False)
    assert machine.num_processes(torch.device("cuda:1")) == 1
    monkeypatch.setenv("S2F_PROCESSES", "2")
    with pytest.raises(ValueError, match="S2F_PROCESSES must be at most 1"):
        machine.num_processes(torch.device("cuda:1"))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_threads_do_a_piece_of_work_each_with_one_thread_of_pytorch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_WORKERS", "3")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with machine.threads() as pool:
            meet = threading.Barrier(3)
            found = pool.map(
                lambda number: (number, meet.wait(60) >= 0, torch.get_num_threads()), range(3), chunksize=1
            )
        assert found == [(0, True, 1), (1, True, 1), (2, True, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_memory_that_was_freed_is_used_again():
    """Steps of a network whose blocks of 38 MB glibc by itself gives back touch far fewer new pages (of 4 KiB)."""
    code = (
        "import resource, torch; from speech2face.pipeline import machine\n"
        "x = torch.rand(6, 32, 224, 224, requires_grad=True)\n"
        "def step(): (x.relu() * 2).square().sum().backward(); x.grad = None\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def of_the_last_of(count): [step() for _ in range(count - 1)]; before = faults(); step(); return faults() - before\n"
        "print(of_the_last_of(2)); machine.device(); print(of_the_last_of(8))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(machine.__file__).parents[2]), "S2F_DEVICE": "cpu"}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment)
    given_back, kept = map(int, output.split())
    assert given_back > 20_000 and kept < given_back / 5
