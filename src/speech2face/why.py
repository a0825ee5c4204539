"""Why a stage would run again: what differs between its last run and now, in words (`speech2face why STAGE`)."""

import hashlib
import importlib.util
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from speech2face.models.weight_files import SUFFIX, read_about
from speech2face.pipeline.code import CODE, PACKAGE, Sources
from speech2face.pipeline.dvc_cache import LOCK, last_output, read_lock
from speech2face.pipeline.engine import shard_store
from speech2face.pipeline.params import load_params
from speech2face.pipeline.plan import Ingredients, Plan, difference, fingerprint
from speech2face.pipeline.shards import footer_text
from speech2face.training.runs import TrainingPlan

STAGES = Path("stages")


def why(stage: str) -> str:
    """What differs, a line each. Works in the current folder, which must be the repository.

    Raises ValueError for a stage that does not exist, naming those that do.
    """
    known = [script.stem for script in sorted(STAGES.glob("*.py"))]
    if stage not in known:
        raise ValueError(f"there is no stage {stage!r} in {STAGES.resolve()}; the stages are {', '.join(known)}")
    check_source()
    lock = read_lock(LOCK.read_text("utf-8")) if LOCK.is_file() else {}
    if stage not in lock:
        return f"{stage} has not run yet: dvc repro"
    found = [*_of_parameters(lock[stage]), *_of_code(stage, lock[stage].get("deps", [])), *_of_inputs(stage)]
    shards = list(_of_plan(stage))
    if not found and not shards:
        return f"{stage}: nothing differs from its last run"
    return "\n".join([f"{stage}: what differs from its last run", *(f"  {line}" for line in [*found, *shards])])


def check_source() -> None:
    """Raise ValueError where the package that runs is not the source of the repository in the current folder."""
    if PACKAGE.parent.resolve() != Path("src").resolve():
        raise ValueError(
            f"this speech2face is that of {PACKAGE.parent}, whose code this folder's results were not made by; "
            "run here: PYTHONPATH=src python -m speech2face.cli"
        )


def _of_parameters(locked: dict[str, Any]) -> Iterator[str]:
    values = load_params().model_dump(mode="json")
    for key, before in locked.get("params", {}).get("params.yaml", {}).items():
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, dict) else None
        yield from _changes(key, before, now)


def _changes(key: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _changes(f"{key}.{name}", before.get(name), now.get(name))
    elif before != now:
        yield f"parameter {key}: {before} -> {now}"


def _of_code(stage: str, deps: list[dict[str, Any]]) -> Iterator[str]:
    """Code and libraries, against the digests that the last run was made from: those that dvc.lock holds the hash of, which are in the
    working tree, or in the last commit if the stage `code` has run since."""
    path = CODE / f"{stage}.json"
    locked = next((dep.get("md5") for dep in deps if dep["path"] == path.as_posix()), None)
    if locked is None:  # the stage `code` itself
        return
    committed = subprocess.run(["git", "show", f"HEAD:./{path.as_posix()}"], capture_output=True).stdout
    known = [path.read_bytes() if path.is_file() else b"", committed]
    before = next((content for content in known if hashlib.md5(content).hexdigest() == locked), None)
    if before is None:
        yield f"code: {path} was another in the last run, and is in neither the working tree nor the last commit"
        return
    script = f"stages.{stage}"
    now = Sources(PACKAGE, {script: STAGES / f"{stage}.py"}).reached([(script, "main")])
    yield from difference(json.loads(before), now.as_dict())


def _of_inputs(stage: str) -> Iterator[str]:
    from dvc.repo import Repo

    for entry in Repo().status([stage]).get(stage, []):
        for kind, files in entry.items() if isinstance(entry, dict) else ():
            for path, state in files.items() if kind in ("changed deps", "changed outs") else ():
                if not path.startswith(CODE.as_posix()):
                    yield f"{'input' if kind == 'changed deps' else 'output'} {path}: {state}"


def _of_plan(stage: str) -> Iterator[str]:
    """What the stage would compute, from what its finished shards or its network say that they were made from."""
    script = stage_script(stage)
    if not hasattr(script, "plan"):
        return
    try:
        plan = script.plan(load_params())
        if isinstance(plan, TrainingPlan):
            before = _last_network(script.OUT)
            yield from (f"the network: {line}" for line in (difference(before, plan.ingredients) if before else ()))
        elif plan is not None:
            yield from _of_shards(plan, *_last_shards(plan.stage, script.OUT))
    except (ValueError, OSError) as error:
        yield f"what it would compute is not known yet: {error}"


def _of_shards(plan: Plan, before: Ingredients, last: dict[str, list[str]]) -> Iterator[str]:
    planned = {fingerprint(plan.stage, made): made["rows"] for made in map(plan.ingredients, plan.shards())}
    fresh = [name for name in planned if name not in last]
    if last:
        yield from (f"the shards: {line}" for line in difference(before, plan.common))
        rows, former = (Counter(chain.from_iterable(shards.values())) for shards in (planned, last))
        added, gone = (rows - former).total(), (former - rows).total()
        if added or gone:
            yield f"the rows: {added} new or changed, {gone} gone or changed, {(rows & former).total()} as they were"
    if fresh:
        store = shard_store(plan.stage)
        missing = [name for name in fresh if not (store / f"{name}.parquet").is_file()]
        yield f"{len(missing)} of {len(planned)} shards would be computed"


def _last_network(out: Path) -> Ingredients:
    """What the network of the last output was made from; empty where it is not known."""
    weights = out.with_name(out.name + SUFFIX)
    kept = weights if weights.is_file() else last_output(out.parent).get(weights.name)
    return read_about(kept).get("ingredients", {}) if kept is not None else {}


def _last_shards(stage: str, out: Path) -> tuple[Ingredients, dict[str, list[str]]]:
    """What one shard of the last output was made from, and the digests of the rows of each, by fingerprint."""
    kept = (path for name, path in last_output(out).items() if name.startswith("shard-"))
    paths = sorted(out.glob("shard-*.parquet")) or list(kept)
    record = out / "shards.json"  # where shards are exported as other files
    if not paths and record.is_file():
        stored = (shard_store(stage) / f"{name}.parquet" for name in json.loads(record.read_text("utf-8")))
        paths = [path for path in stored if path.is_file()]
    made: Ingredients = {}
    rows: dict[str, list[str]] = {}
    for path in paths:
        ingredients = json.loads(footer_text(path, "ingredients"))
        made = made or ingredients
        rows[footer_text(path, "fingerprint")] = ingredients["rows"]
    return made, rows


def stage_script(stage: str) -> ModuleType:
    """The script of a stage, as a module."""
    spec = importlib.util.spec_from_file_location(f"stages.{stage}", STAGES / f"{stage}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
