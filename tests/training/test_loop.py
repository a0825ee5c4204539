"""One step, one epoch: what is learned, counted and kept."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from speech2face.training import loop
from speech2face.training.loop import State, Task, close_epoch, step_generator, steps
from tests.training.toy import EPOCHS, STEPS, assert_equal, toy_task, weights


def run_epoch(task: Task, state: State, seed: int = 7) -> None:
    for _ in steps(task, state, seed):
        pass
    close_epoch(task, state)


def test_every_seed_that_the_parameters_allow_can_be_used():
    drawn = {
        float(torch.rand(1, generator=step_generator(seed, epoch, step)))
        for seed in (0, 20_261_122, 2**32 - 1)
        for epoch in (0, 999)
        for step in (0, 7)
    }
    assert len(drawn) == 12


def test_an_epoch_takes_its_steps_one_at_a_time_and_says_how_far_it_is():
    task, state = toy_task(), State()
    progress = [(state.epoch, state.step) for _ in steps(task, state, 7)]
    assert progress == [(0, step) for step in range(1, STEPS + 1)]
    assert task.scheduler.last_epoch == STEPS


def test_what_is_done_of_an_epoch_is_not_done_again():
    whole, in_parts, state = toy_task(), toy_task(), State()
    whole_state = State()
    for _ in steps(whole, whole_state, 7):
        pass
    for _ in range(2):  # each time the rest is begun anew, as after a stop
        next(iter(steps(in_parts, state, 7)))
    assert state.step == 2
    assert len(list(steps(in_parts, state, 7))) == STEPS - 2
    assert_equal(weights(in_parts), weights(whole))
    assert state == whole_state


def test_the_losses_of_an_epoch_are_the_means_of_its_steps():
    task, state, seen = toy_task(), State(), []
    losses = task.losses

    def noted(batch: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        found = losses(batch, generator)
        seen.append(float(found["total"].detach()))
        return found

    run_epoch(replace(task, losses=noted), state)
    (metrics,) = state.history
    assert metrics["train/total"] == pytest.approx(math.fsum(seen) / STEPS, rel=1e-6)
    assert metrics["val/score"] == -metrics["val/total"]
    assert metrics["lr"] == pytest.approx(np.mean([0.05 * 0.9 ** (step // 3) for step in range(STEPS)]))
    assert (state.epoch, state.step, state.sums) == (1, 0, {})


def test_networks_train_in_train_mode_and_are_judged_in_eval_mode():
    task, modes = toy_task(), []
    validate = task.validate
    watched = replace(task, validate=lambda: (modes.append(task.network.training), validate())[1])
    state = State()
    for _ in steps(watched, state, 7):
        assert task.network.training
    close_epoch(watched, state)
    assert modes == [False]


def test_the_loss_falls():
    task, state = toy_task(), State()
    for _ in range(EPOCHS):
        run_epoch(task, state)
    assert state.history[-1]["val/total"] < 0.5 * state.history[0]["val/total"]


@pytest.mark.parametrize(("scores", "best"), [([0.2, 0.8, 0.5, 0.8], 1), ([0.2, 0.8, 0.5, 0.9], 3), ([3, 2, 1, 0], 0)])
def test_the_earliest_of_the_best_epochs_is_kept(scores: list[float], best: int):
    task, state, after = toy_task(scores=scores), State(), []
    for _ in scores:
        run_epoch(task, state)
        after.append(weights(task))
    assert state.best_epoch == best
    assert_equal(state.best, after[best])
    assert not torch.equal(after[best]["layers.0.weight"], after[best - 1]["layers.0.weight"])


def test_a_loss_that_is_not_finite_stops_with_the_remedy():
    task = toy_task()
    with torch.no_grad():
        task.network.layers[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="toy: the loss is nan at epoch 1, step 0; lower the learning rate"):
        run_epoch(task, State())


def test_losses_are_looked_at_a_few_steps_at_a_time_and_the_step_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "LOOK_EVERY", 3)
    task, state = toy_task(), State()
    assert [len(state.unseen) for _ in steps(task, state, 7)] == [1, 2, 0, 1, 2]
    assert state.unseen == [] and set(state.sums) == {"total", "lr"}

    def break_weights() -> None:
        with torch.no_grad():
            broken.network.layers[0].weight.fill_(float("nan"))

    broken, state = toy_task(fail_at=1, failure=break_weights), State()
    with pytest.raises(ValueError, match="toy: the loss is nan at epoch 1, step 1; lower the learning rate"):
        list(steps(broken, state, 7))
    assert state.step == 3


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_that_is_not_finite_stops_with_the_remedy(value: float):
    task, state = toy_task(scores=[1.0, value]), State()
    run_epoch(task, state)
    with pytest.raises(ValueError, match=f"toy: score of the validation is {value} after epoch 2; lower the learning"):
        run_epoch(task, state)
    assert len(state.history) == 1


def test_long_gradients_are_shortened():
    task, norms = toy_task(), []

    def record(optimizer: torch.optim.Optimizer, *_: object) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))

    task.optimizer.register_step_pre_hook(record)
    run_epoch(task, State())
    assert min(norms) > 1e-3
    norms.clear()
    run_epoch(replace(task, max_gradient_norm=1e-3), State())
    assert len(norms) == STEPS
    assert norms == pytest.approx([1e-3] * STEPS, rel=1e-3)
