"""dvc.yaml against the code: what a stage imports it depends on, and what a user can set some stage reads."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from speech2face.pipeline.provenance import source_files

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_scripts_imports(name: str) -> None:
    script = ROOT / "stages" / f"{name}.py"
    needed = {path.relative_to(ROOT).as_posix() for path in source_files(script)}
    listed = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert listed == needed, "run `make deps` and commit dvc.yaml"


def leaves(section: dict, prefix: str = "") -> list[str]:
    found = []
    for key, value in section.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found


def test_every_parameter_is_tracked_by_a_stage() -> None:
    tracked = {param for stage in STAGES.values() for param in stage["params"]}
    for key in leaves(YAML(typ="safe").load(ROOT / "params.yaml")):
        parts = key.split(".")
        assert any(".".join(parts[: n + 1]) in tracked for n in range(len(parts))), f"no stage reads {key}"


def test_the_learning_rate_reruns_the_last_two_stages_only() -> None:
    assert [name for name, stage in STAGES.items() if "lr" in stage["params"]] == ["train_encoder"]
    after = {"train_encoder"}
    for name, stage in STAGES.items():
        if any(dep in STAGES[earlier]["outs"] for earlier in after for dep in stage["deps"]):
            after.add(name)
    assert after == {"train_encoder", "evaluate"}
