"""A training that is stopped, killed or resumed learns what an unbroken one learns."""

import os
import signal
from pathlib import Path

import pytest
import torch

from speech2face.training import session
from speech2face.training.checkpoint import load_checkpoint, save_checkpoint
from speech2face.training.loop import Metrics, State, Task
from speech2face.training.session import train
from tests.training.toy import EPOCHS, STEPS, assert_equal, toy_task, weights

pytestmark = pytest.mark.usefixtures("work")


@pytest.fixture(autouse=True)
def checkpoints_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CHECKPOINT_EVERY_S", 0.0)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def crash() -> None:
    raise MemoryError("as a kill would")


def trained(task: Task, checkpoint: str, seed: int = 7) -> tuple[State, int, list[Metrics]]:
    logged: list[Metrics] = []
    return *train(task, seed, Path(checkpoint), logged.append), logged


def assert_same_state(first: State, second: State) -> None:
    assert_equal(first.best, second.best)
    assert vars(first) | {"best": None} == vars(second) | {"best": None}


@pytest.mark.parametrize("fail_at", [0, 3, STEPS - 1, STEPS, 2 * STEPS + 2, EPOCHS * STEPS - 1])
@pytest.mark.parametrize("failure", [ask_to_stop, crash])
def test_resumed_equals_unbroken(fail_at: int, failure):
    unbroken, resumed = toy_task(), toy_task()
    state, num_steps, logged = trained(unbroken, "unbroken.pt")
    assert num_steps == EPOCHS * STEPS
    with pytest.raises((SystemExit, MemoryError)) as stopped:
        trained(toy_task(fail_at=fail_at, failure=failure), "broken.pt")
    if failure is ask_to_stop:
        assert stopped.value.code == 128 + signal.SIGTERM
    again, num_again, logged_again = trained(resumed, "broken.pt")
    # The step in which a stop is asked for is finished and kept; a crash loses it.
    assert num_again == EPOCHS * STEPS - fail_at - (failure is ask_to_stop)
    assert_same_state(again, state)
    assert logged_again == logged == state.history
    assert_equal(weights(resumed), weights(unbroken))


def test_a_run_that_is_stopped_after_every_step_ends_equal():
    unbroken, task = toy_task(), toy_task()
    trained(unbroken, "unbroken.pt")
    for _ in range(EPOCHS * STEPS):
        with pytest.raises(SystemExit):
            trained(toy_task(fail_at=0, failure=ask_to_stop), "broken.pt")
    assert trained(task, "broken.pt")[1] == 0
    assert_equal(weights(task), weights(unbroken))


@pytest.mark.parametrize(("failure", "status"), [(ask_to_stop, 143), (interrupt, 130)])
def test_a_stop_finishes_the_step_saves_it_and_says_how_to_go_on(
    failure, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY_S", 3600.0)
    with pytest.raises(SystemExit) as stopped:
        trained(toy_task(fail_at=STEPS + 2, failure=failure), "c.pt")
    assert stopped.value.code == status
    saved = load_checkpoint(Path("c.pt"), torch.device("cpu"))
    assert (saved["state"]["epoch"], saved["state"]["step"]) == (1, 3)
    assert "toy: stopped at epoch 2, step 3; run again to go on" in capsys.readouterr().err
    trained(toy_task(), "c.pt")
    assert "toy: resuming at epoch 2, step 3" in capsys.readouterr().err


def test_between_checkpoints_a_kill_costs_the_steps_since_the_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY_S", 3600.0)
    with pytest.raises(MemoryError):
        trained(toy_task(fail_at=2 * STEPS, failure=crash), "c.pt")
    assert not Path("c.pt").exists()
    assert trained(toy_task(), "c.pt")[1] == EPOCHS * STEPS


def test_weights_after_a_loss_that_is_not_finite_are_not_saved():
    def break_weights() -> None:
        with torch.no_grad():
            task.network.layers[0].weight.fill_(float("nan"))

    task = toy_task(fail_at=3, failure=break_weights)
    with pytest.raises(ValueError, match="toy: the loss is nan at epoch 1, step 3; lower the learning rate"):
        trained(task, "c.pt")
    assert load_checkpoint(Path("c.pt"), torch.device("cpu"))["state"]["step"] == 3


def test_a_checkpoint_of_another_run_is_not_resumed():
    with pytest.raises(MemoryError):
        trained(toy_task(fail_at=2 * STEPS, failure=crash), "one.pt")
    assert trained(toy_task(), "two.pt")[1] == EPOCHS * STEPS


def test_the_weights_of_the_best_epoch_are_left_in_the_network():
    task = toy_task(scores=[0.2, 0.8, 0.5, 0.1])
    state, _, _ = trained(task, "c.pt")
    assert state.best_epoch == 1
    assert_equal(weights(task), state.best)
    assert not task.network.training
    shorter = toy_task(epochs=2)
    trained(shorter, "d.pt")
    assert_equal(weights(task), weights(shorter))


SCORES = [0.2, 0.8, 0.5, 0.1, 0.9, 0.3, 0.3, 0.3, 0.3, 1.0]


@pytest.mark.parametrize(
    ("patience", "best", "num_epochs"), [(1, 1, 3), (2, 1, 4), (3, 4, 8), (5, 9, 10), (None, 9, 10)]
)
def test_a_training_ends_when_the_best_epoch_lies_too_far_back(patience: int | None, best: int, num_epochs: int):
    task = toy_task(epochs=len(SCORES), scores=SCORES, patience=patience)
    state, num_steps, logged = trained(task, "c.pt")
    assert (state.best_epoch, len(state.history), len(logged)) == (best, num_epochs, num_epochs)
    assert num_steps == num_epochs * STEPS
    assert_equal(weights(task), state.best)
    shorter = toy_task(epochs=best + 1, scores=SCORES)
    trained(shorter, "d.pt")
    assert_equal(weights(task), weights(shorter))


@pytest.mark.parametrize("fail_at", range(STEPS, 4 * STEPS, 2))
def test_patience_survives_a_stop(fail_at: int):
    """Stopped in the epochs 2 to 4, of which the last is the last that the best, the second, is waited for."""
    unbroken = toy_task(epochs=9, scores=SCORES, patience=2)
    state, _, logged = trained(unbroken, "unbroken.pt")
    with pytest.raises(SystemExit):
        trained(toy_task(epochs=9, scores=SCORES, patience=2, fail_at=fail_at, failure=ask_to_stop), "broken.pt")
    resumed = toy_task(epochs=9, scores=SCORES[fail_at // STEPS :], patience=2)
    again, num_again, logged_again = trained(resumed, "broken.pt")
    assert num_again == 4 * STEPS - fail_at - 1
    assert_same_state(again, state)
    assert logged_again == logged
    assert_equal(weights(resumed), weights(unbroken))


def test_seeds_give_different_runs():
    first, second = toy_task(), toy_task()
    trained(first, "a.pt", seed=1)
    trained(second, "b.pt", seed=2)
    assert not torch.equal(weights(first)["layers.0.weight"], weights(second)["layers.0.weight"])


def test_a_damaged_checkpoint_is_refused_and_left_as_it_is():
    save_checkpoint(Path("c.pt"), {"network": torch.ones(1000)})
    damaged = Path("c.pt").read_bytes()[:-200]
    Path("c.pt").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"c.pt is damaged.*delete it to train from the start"):
        trained(toy_task(), "c.pt")
    assert Path("c.pt").read_bytes() == damaged
