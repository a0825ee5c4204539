import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from speech2face.training import loop
from speech2face.training.checkpoint import load_checkpoint, save_checkpoint
from speech2face.training.loop import Task, run_fingerprint, train

STEPS, EPOCHS = 5, 4


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Checkpoints of this test's own, one after every step; the old handler of SIGTERM comes back afterwards."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def make_task(fail_at: int | None = None, failure=None, scores: list[float] | None = None) -> Task:
    """Noisy regression with dropout-like noise from the step's generator, batch normalisation and a decaying learning rate."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)
    inputs = torch.randn(STEPS, 16, 3, generator=torch.Generator().manual_seed(1))
    done = iter(range(10_000))

    def losses(batch: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        if next(done) == fail_at:
            failure()
        noise = torch.randn(batch.shape, generator=generator)
        return {"total": (network(batch + 0.1 * noise) - batch.sum(1, keepdim=True)).square().mean()}

    def batches(epoch: int):
        return (inputs[i] for i in torch.randperm(STEPS, generator=torch.Generator().manual_seed(epoch)))

    given = iter(scores or [])

    def validate() -> dict[str, float]:
        with torch.no_grad():
            error = float((network(inputs[0]) - inputs[0].sum(1, keepdim=True)).square().mean())
        return {"error": error, "score": next(given, -error)}

    return Task(
        "toy",
        network,
        optimizer,
        scheduler,
        EPOCHS,
        STEPS,
        batches,
        losses,
        validate,
        lambda metrics: (metrics["score"],),
    )


def weights(task: Task) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def crash() -> None:
    raise MemoryError("as a kill would")


@pytest.mark.parametrize("fail_at", [0, 3, STEPS - 1, STEPS, 2 * STEPS + 2, EPOCHS * STEPS - 1])
@pytest.mark.parametrize("failure", [ask_to_stop, crash])
def test_resumed_equals_unbroken(work: Path, fail_at: int, failure):
    unbroken = make_task()
    expected = train(unbroken, 7, "unbroken", work / "live-a")
    with pytest.raises((SystemExit, MemoryError)) as stopped:
        train(make_task(fail_at, failure), 7, "broken", work / "live-b")
    if failure is ask_to_stop:
        assert stopped.value.code == 128 + signal.SIGTERM
    resumed = make_task()
    assert train(resumed, 7, "broken", work / "live-b") == expected
    assert_equal(weights(resumed), weights(unbroken))
    logged = [(work / live / "plots" / "metrics" / "train" / "total.tsv").read_text() for live in ("live-a", "live-b")]
    assert logged[0] == logged[1]
    assert len(logged[0].splitlines()) == 1 + EPOCHS


def test_sigterm_finishes_the_step_and_saves_it(work: Path):
    with pytest.raises(SystemExit):
        train(make_task(STEPS + 2, ask_to_stop), 7, "f", work / "live")
    saved = load_checkpoint(work / ".work" / "checkpoints" / "toy" / "f.pt", torch.device("cpu"))
    assert (saved["state"]["epoch"], saved["state"]["step"]) == (1, 3)


def test_a_checkpoint_of_another_run_is_not_resumed(work: Path):
    with pytest.raises(MemoryError):
        train(make_task(2 * STEPS, crash), 7, "one", work / "live")
    fresh, other = make_task(), make_task()
    train(fresh, 7, "two", work / "live")
    train(other, 7, "three", work / "live")
    assert_equal(weights(fresh), weights(other))


def test_the_earliest_of_the_best_epochs_is_kept(work: Path):
    task = make_task(scores=[0.2, 0.8, 0.5, 0.8])
    assert train(task, 7, "f", work / "live")["best_epoch"] == 2
    last = make_task(scores=[0.2, 0.8, 0.5, 0.9])
    train(last, 7, "g", work / "live")
    assert not torch.equal(weights(task)["0.weight"], weights(last)["0.weight"])


def test_a_loss_that_is_not_finite_stops_with_the_remedy(work: Path):
    task = make_task()
    with torch.no_grad():
        task.network[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="the loss is nan at epoch 1, step 0; lower the learning rate"):
        train(task, 7, "f", work / "live")


def test_seeds_give_different_runs(work: Path):
    first, second = make_task(), make_task()
    train(first, 1, "a", work / "live")
    train(second, 2, "b", work / "live")
    assert not torch.equal(weights(first)["0.weight"], weights(second)["0.weight"])


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"is damaged.*delete it"):
        load_checkpoint(path, torch.device("cpu"))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"is damaged.*delete it"):
        load_checkpoint(path, torch.device("cpu"))
    assert load_checkpoint(tmp_path / "none.pt", torch.device("cpu")) is None


def test_every_seed_that_the_parameters_allow_can_be_used():
    drawn = {
        float(torch.rand(1, generator=loop.step_generator(seed, epoch, 7)))
        for seed in (0, 20_261_122, 2**32 - 1)
        for epoch in (0, 999)
    }
    assert len(drawn) == 6


def test_the_fingerprint_of_a_run_covers_code_settings_seed_and_inputs(tmp_path: Path):
    script = tmp_path / "s.py"
    script.write_text("X = 1\n")
    base = run_fingerprint(str(script), {"lr": 1.0}, 0, ["a"])
    assert base == run_fingerprint(str(script), {"lr": 1.0}, 0, ["a"])
    others = [
        run_fingerprint(str(script), {"lr": 2.0}, 0, ["a"]),
        run_fingerprint(str(script), {"lr": 1.0}, 1, ["a"]),
        run_fingerprint(str(script), {"lr": 1.0}, 0, ["b"]),
    ]
    script.write_text("X = 2\n")
    others.append(run_fingerprint(str(script), {"lr": 1.0}, 0, ["a"]))
    assert base not in others
    assert len(set(others)) == 4


def test_long_gradients_are_shortened(work: Path):
    task = make_task()
    clipped = replace(task, max_gradient_norm=1e-3, epochs=1)
    norms = []

    def record(optimizer, *_):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))

    task.optimizer.register_step_pre_hook(record)
    train(clipped, 7, "f", work / "live")
    assert len(norms) == STEPS
    assert max(norms) <= 1e-3 * (1 + 1e-5)
