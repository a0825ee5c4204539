import pytest
import torch

from speech2face import machine


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
