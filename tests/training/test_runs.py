"""A finished training is not trained again, wherever its network is kept; what would change it trains anew."""

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from speech2face.models.weight_files import load_network, read_about
from speech2face.training import session
from speech2face.training.results import write_results
from speech2face.training.runs import Trained, TrainingPlan, run
from tests.pipeline.dvc_repository import keep_outputs, start_repository
from tests.training.toy import EPOCHS, STEPS, Toy, assert_equal, build_other, build_toy, toy_task, weights

OUT, RESULTS = Path("models/toy/toy"), Path("results/toy")
WORK = Path(".work")
ALL = EPOCHS * STEPS
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("work")]


def cpu() -> torch.device:
    return torch.device("cpu")


def toy_plan(arguments: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> TrainingPlan:
    """A run of `toy_task(**arguments)`."""
    made = {
        "stage": "train_toy",
        "build": build_toy,
        "settings": {"width": 8, "lr": 0.05},
        "seed": 7,
        "inputs": {"faces": "00ff", "features": "ff00"},
    }
    return TrainingPlan(arguments=arguments, **(made | changes))


def run_stage(plan: TrainingPlan, device: Callable[[], torch.device] = cpu) -> Trained:
    """The stage as DVC runs it, without its former results."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    trained = run(plan, device, OUT, RESULTS / "live")
    write_results("train_toy", trained, RESULTS)
    return trained


def delete_outputs() -> None:
    """As DVC does before it runs a stage."""
    shutil.rmtree("models")
    shutil.rmtree("results")


def contents() -> dict[str, bytes]:
    files = [path for folder in ("models", "results") for path in Path(folder).rglob("*") if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in sorted(files) if path.name != ".gitignore"}


def never() -> torch.device:
    raise AssertionError("a finished run needs no device")


def kept_in_the_store() -> None:
    delete_outputs()


def kept_as_the_output() -> None:
    shutil.rmtree(WORK)


def kept_by_dvc() -> None:
    start_repository()
    keep_outputs(train_toy=["models/toy", "results/toy"])
    shutil.rmtree(WORK)
    delete_outputs()


def kept_as_links_into_dvcs_cache() -> None:
    start_repository("symlink")
    keep_outputs(train_toy=["models/toy", "results/toy"])
    shutil.rmtree(WORK)
    assert Path("models/toy/toy.safetensors").is_symlink()


@pytest.mark.parametrize(
    "forget",
    [kept_in_the_store, kept_as_the_output, kept_by_dvc, kept_as_links_into_dvcs_cache],
    ids=lambda f: f.__name__,
)
def test_a_finished_run_is_not_trained_again(forget: Callable[[], None], capsys: pytest.CaptureFixture[str]):
    first = run_stage(toy_plan())
    before = contents()
    assert first.steps == ALL
    assert {"models/toy/toy.safetensors", "models/toy/toy.json", "results/toy/training.json"} < before.keys()
    assert any(name.endswith("plots/metrics/val/total.tsv") for name in before)
    forget()
    capsys.readouterr()
    again = run_stage(toy_plan(), never)
    assert contents() == before
    assert (again.steps, again.history, again.best_epoch, again.counts) == (
        0,
        first.history,
        first.best_epoch,
        first.counts,
    )
    assert not any(path.is_symlink() for path in [*WORK.rglob("*"), *Path("models").rglob("*")])
    assert "cannot link" not in capsys.readouterr().err
    delete_outputs()
    assert run_stage(toy_plan(), never).steps == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"settings": {"width": 8, "lr": 0.06}},
        {"settings": {"width": 8}},
        {"inputs": {"faces": "00ff", "features": "0000"}},
        {"inputs": {"faces": "00ff"}},
        {"build": build_other},
    ],
    ids=["seed", "setting", "setting gone", "input", "input gone", "code"],
)
def test_what_changes_the_result_trains_anew_and_set_back_takes_no_step(changes: dict):
    run_stage(toy_plan())
    before = contents()
    assert run_stage(toy_plan(**changes)).steps == ALL
    assert run_stage(toy_plan(), never).steps == 0
    assert contents() == before
    assert run_stage(toy_plan(**changes), never).steps == 0


def test_the_fingerprint_covers_stage_code_settings_seed_and_inputs():
    plans = [
        toy_plan(),
        toy_plan(stage="train_other"),
        toy_plan(build=build_other),
        toy_plan(settings={"width": 9, "lr": 0.05}),
        toy_plan(settings={"width": 8, "lr": 0.05, "seed": 8}, seed=7),
        toy_plan(seed=8),
        toy_plan(inputs={"faces": "ff00", "features": "00ff"}),
    ]
    names = [plan.fingerprint for plan in plans]
    # A setting named seed is the seed: it cannot be hidden by one.
    assert names[4] == names[0]
    assert len(set(names)) == len(plans) - 1
    assert toy_plan({"fail_at": 3}).fingerprint == names[0]


def test_the_loop_and_what_it_reaches_are_part_of_what_a_run_is_made_from():
    made = toy_plan().ingredients
    assert {"speech2face.training.loop", "speech2face.models.weight_files", "tests.training.toy"} <= made[
        "modules"
    ].keys()
    assert "torch" in made["libraries"]
    # Checkpoints, signals and logs do not change what is learned.
    assert not {f"speech2face.training.{name}" for name in ("session", "checkpoint", "runs")} & made["modules"].keys()


def test_the_weight_file_says_what_it_was_made_from_and_how_it_went():
    plan = toy_plan()
    trained = run_stage(plan)
    about = read_about(OUT.with_name("toy.safetensors"))
    assert about["ingredients"] == plan.ingredients
    assert about["fingerprint"] == plan.fingerprint
    assert about["history"] == trained.history and len(trained.history) == EPOCHS
    assert about["segment_s"] == 6.0
    best = min(range(EPOCHS), key=lambda epoch: trained.history[epoch]["val/total"])
    assert trained.best_epoch == best
    assert trained.best == trained.history[best]


def test_the_network_is_that_of_the_best_epoch():
    run_stage(toy_plan({"scores": [0.0, 2.0, 1.0, 1.0]}))
    shorter = toy_task(epochs=2)
    session.train(shorter, 7, Path("c.pt"), lambda metrics: None)
    assert_equal(load_network(Toy, OUT).state_dict(), weights(shorter))


def test_curves_have_a_line_for_each_epoch():
    trained = run_stage(toy_plan())
    lines = (RESULTS / "live/plots/metrics/val/total.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["step", "total"]
    assert [float(line.split("\t")[1]) for line in lines[1:]] == [m["val/total"] for m in trained.history]


def stored() -> Path:
    (path,) = (WORK / "trained" / "train_toy").glob("*.safetensors")
    return path


def test_the_network_is_stored_once():
    run_stage(toy_plan())
    assert stored().samefile(OUT.with_name("toy.safetensors"))
    assert not list(WORK.rglob("*.pt"))


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()  # a file of its own, as a copy that was cut off is
    path.write_bytes(content[:-1])


def empty(path: Path) -> None:
    path.unlink()
    path.touch()


def of_another_run(path: Path) -> None:
    shutil.copytree("models", "aside")
    other = run(toy_plan(seed=8), cpu, Path("other/toy"), Path("other/live"))
    assert other.steps == ALL
    path.unlink()
    shutil.copyfile("other/toy.safetensors", path)


@pytest.mark.parametrize("damage", [cut_off, empty, of_another_run])
@pytest.mark.parametrize("outputs_left", [False, True])
def test_a_stored_file_that_is_not_the_runs_is_not_taken(
    damage: Callable[[Path], None], outputs_left: bool, capsys: pytest.CaptureFixture[str]
):
    run_stage(toy_plan())
    before, path = contents(), stored()
    damage(path)
    if not outputs_left:
        delete_outputs()
    capsys.readouterr()
    assert run_stage(toy_plan()).steps == (0 if outputs_left else ALL)
    assert contents() == before
    assert "cannot link" not in capsys.readouterr().err
    assert path.read_bytes() == before["models/toy/toy.safetensors"]


def test_a_network_in_dvcs_cache_is_taken_where_the_stored_one_is_damaged():
    run_stage(toy_plan())
    before, path = contents(), stored()
    start_repository()
    keep_outputs(train_toy=["models/toy"])
    cut_off(path)
    delete_outputs()
    assert run_stage(toy_plan(), never).steps == 0
    assert contents() == before


def test_a_kill_between_the_two_files_costs_nothing():
    run_stage(toy_plan())
    before = contents()
    stored().with_suffix(".json").unlink()
    delete_outputs()
    assert run_stage(toy_plan(), never).steps == 0
    assert contents() == before


@pytest.mark.parametrize("fail_at", [0, STEPS + 2, ALL - 1])
def test_a_run_that_is_stopped_and_started_again_ends_equal(fail_at: int):
    run_stage(toy_plan())
    expected = contents()
    shutil.rmtree(WORK)
    delete_outputs()

    def ask_to_stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        run_stage(toy_plan({"fail_at": fail_at, "failure": ask_to_stop}))
    assert stopped.value.code == 143
    assert not OUT.with_name("toy.safetensors").exists()
    other = run(toy_plan(seed=8), cpu, Path("other/toy"), Path("other/live"))
    assert other.steps == ALL  # the checkpoint is not another run's
    assert run_stage(toy_plan()).steps == ALL - fail_at - 1
    assert contents() == expected
    assert not list(WORK.rglob("*.pt"))


def test_a_network_that_cannot_be_saved_is_not_finished():
    with pytest.raises(ValueError, match=r"layers.0.weight is \[8, 3\], expected \[9, 3\]"):
        run_stage(toy_plan({"said_width": 9}))
    assert not list(WORK.glob("trained/**/*.*"))
    assert run_stage(toy_plan()).steps == ALL
