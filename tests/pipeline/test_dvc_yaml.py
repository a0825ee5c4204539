"""dvc.yaml against the code: what a stage depends on, and what a user can set some stage reads."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def outs(stage: dict) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in [*stage["outs"], *stage.get("metrics", [])]]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "code"])
def test_a_stage_depends_on_its_code_and_on_what_other_stages_made(name: str) -> None:
    made = {out for stage in STAGES.values() for out in outs(stage)}
    deps = STAGES[name]["deps"]
    assert f"results/code/{name}.json" in deps
    assert set(deps) <= made | {"results/comparisons"}


def test_every_script_is_a_stage() -> None:
    assert {script.stem for script in (ROOT / "stages").glob("*.py")} == set(STAGES)
    assert all(stage["cmd"] == f"PYTHONPATH=src python stages/{name}.py" for name, stage in STAGES.items())


def test_nothing_is_kept_by_persist_and_metrics_are_in_git() -> None:
    for stage in STAGES.values():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            assert "persist" not in (out if isinstance(out, dict) else {}).values()
        assert all(next(iter(metric.values())) == {"cache": False} for metric in stage.get("metrics", []))


def leaves(section: dict, prefix: str = "") -> list[str]:
    found = []
    for key, value in section.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found


def test_every_parameter_is_tracked_by_a_stage() -> None:
    tracked = {param for stage in STAGES.values() for param in stage.get("params", [])}
    for key in leaves(YAML(typ="safe").load(ROOT / "params.yaml")):
        parts = key.split(".")
        assert any(".".join(parts[: n + 1]) in tracked for n in range(len(parts))), f"no stage reads {key}"


def test_the_learning_rate_reruns_the_last_two_stages_only() -> None:
    assert [name for name, stage in STAGES.items() if "lr" in stage.get("params", [])] == ["train_encoder"]
    after = {"train_encoder"}
    for name, stage in STAGES.items():
        if any(dep in STAGES[earlier]["outs"] for earlier in after for dep in stage["deps"]):
            after.add(name)
    assert after == {"train_encoder", "evaluate"}
