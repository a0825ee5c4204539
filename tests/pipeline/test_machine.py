import pytest
import torch

from speech2face.pipeline import machine


def test_workers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_WORKERS", "7")
    assert machine.num_workers() == 7
    monkeypatch.delenv("S2F_WORKERS")
    assert machine.num_workers() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("S2F_WORKERS", text)
    with pytest.raises(ValueError, match="S2F_WORKERS must be a whole number of at least 1"):
        machine.num_workers()


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
    assert machine.num_workers(on_device=True) == 3 * machine.WORKERS_PER_GPU
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    assert machine.num_workers(on_device=True) == 64
    monkeypatch.setenv("S2F_WORKERS", "5")
    assert machine.num_workers(on_device=True) == 5
