"""Runs what a stage computes and lists the definitions of this project that ran but that its fingerprint does not cover.

`python -m tests.pipeline.trace STAGE`, in a repository in which everything has run; prints the number of definitions that ran, then a
line for each that is not covered. It fails if the stage reads a parameter that dvc.yaml does not list for it.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pydantic import BaseModel
from ruamel.yaml import YAML

from speech2face.models.weight_files import save_network
from speech2face.pipeline.code import PACKAGE, Closure, Sources
from speech2face.pipeline.params import load_params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.shards import write_rows
from speech2face.training.loop import State, epochs
from speech2face.training.runs import TrainingPlan
from speech2face.why import stage_script

NO_RESULT = ("corpus.root",)
"""Parameters that say where something is, and may be read by a stage that does not depend on them."""


def ran(function: Callable[[], Any]) -> set[tuple[str, str]]:
    """Module and name of the top-level definitions of the package that run while `function` does."""
    found = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)) and not code.co_qualname.startswith("<"):
            found.add((frame.f_globals["__name__"], code.co_qualname.split(".")[0]))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def hide(section: BaseModel, declared: Callable[[str], bool], prefix: str = "") -> None:
    """Take away the parameters that are not declared: reading one of them raises AttributeError."""
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            hide(value, declared, f"{key}.")
        elif not declared(key):
            del section.__dict__[name]


def computation(stage: str) -> tuple[Callable[[], Any], Closure]:
    """What the stage computes, for one shard or an epoch, and what its fingerprint covers."""
    script, sources = stage_script(stage), Sources(PACKAGE)
    params = load_params()
    declared = YAML(typ="safe").load(Path("dvc.yaml"))["stages"][stage]["params"]
    hide(params, lambda key: any(f"{key}.".startswith(f"{name}.") for name in (*declared, *NO_RESULT)))
    plan = script.plan(params) if hasattr(script, "plan") else None
    if isinstance(plan, Plan):
        context = {**plan.context, "device": torch.device("cpu")}
        target = Path(tempfile.mkdtemp()) / "shard.parquet"

        rows = next(iter(plan.shards()))

        def shard() -> None:
            write_rows(target, plan.function(rows, plan.settings, context), plan.schema, {})

        return shard, sources.follow([sources.place(plan.function), sources.place(write_rows)])
    if isinstance(plan, TrainingPlan):
        target = Path(tempfile.mkdtemp()) / "network"

        def epoch() -> None:
            task = plan.build(**plan.arguments, seed=plan.seed, device=torch.device("cpu"))
            for steps in epochs(dataclasses.replace(task, epochs=1), State(), plan.seed, lambda: None):
                for _ in steps:
                    pass
            save_network(task.network, target, dict(task.about), **task.dimensions)

        return epoch, sources.follow([sources.place(f) for f in (plan.build, epochs, save_network)])
    sources = Sources(PACKAGE, {f"stages.{stage}": Path("stages") / f"{stage}.py"})
    return lambda: script.main(params), sources.follow([(f"stages.{stage}", "main")])


if __name__ == "__main__":
    function, closure = computation(sys.argv[1])
    seen = ran(function)
    print(len(seen))
    for module, name in sorted(seen):
        if name not in closure.names(module):
            print(f"{module}.{name}")
