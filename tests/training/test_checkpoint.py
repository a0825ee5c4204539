"""A checkpoint comes back as it was, or is refused; nothing in it is executed."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from speech2face.training.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def test_what_is_saved_comes_back(tmp_path: Path):
    state = {
        "network": {"w": torch.randn(3, generator=torch.Generator().manual_seed(0)), "n": torch.tensor(5)},
        "state": {"epoch": 2, "sums": {"total": 0.1}, "history": [{"lr": 1e-3}], "best": {}},
    }
    path = tmp_path / "deep" / "c.pt"
    save_checkpoint(path, state)
    found = load_checkpoint(path, CPU)
    assert torch.equal(found["network"].pop("w"), state["network"].pop("w"))
    assert found == state
    assert [p.name for p in path.parent.iterdir()] == ["c.pt"]


def test_there_is_none_yet(tmp_path: Path):
    assert load_checkpoint(tmp_path / "none.pt", CPU) is None


@pytest.mark.parametrize("keep", [0, 10, -200])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, keep: int):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"c.pt is damaged .*; delete it to train from the start"):
        load_checkpoint(path, CPU)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"network": Evil()}, tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("c.pt", "d.pt"):
        with pytest.raises(ValueError, match="is damaged"):
            load_checkpoint(tmp_path / name, CPU)
    assert not (tmp_path / "executed").exists()


def test_the_old_checkpoint_stays_until_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"epoch": 1})

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path, CPU) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
