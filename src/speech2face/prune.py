"""Removing from `.work` what nothing needs any more (`speech2face prune`)."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from speech2face.face_networks.store import converted
from speech2face.models.weight_files import SUFFIX, read_about
from speech2face.pipeline.atomic import PARTIALS
from speech2face.pipeline.dvc_cache import LOCK, files_of, read_lock
from speech2face.pipeline.params import load_params, resolve_path
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.shards import footer_text
from speech2face.pipeline.work import work_directory
from speech2face.training.runs import TrainingPlan
from speech2face.why import STAGES, check_source, stage_script

KEEP_CHECKPOINTS_S = 7 * 24 * 3600
REFS = ("HEAD", "refs/heads", "refs/tags", "refs/exps")
RUNNING = ("rwlock", "exps/*/.dvc/tmp/rwlock", "exps/standalone/*/.dvc/tmp/rwlock")
"""Where DVC notes, below .dvc/tmp, which processes run stages: of the repository and of its copies for experiments."""


def prune(dry_run: bool = False) -> str:
    """Remove finished shards, finished trainings and converted weights that no dvc.lock (of the working tree, a branch, a tag or an
    experiment) has in its outputs and that the next `dvc repro` would not use; checkpoints go after a week. Returns what was done, as
    text; with `dry_run` nothing is removed. Works in the current folder, which must be the repository.

    Raises ValueError while a stage runs, whose work is in no dvc.lock yet, and for parameters that are not valid.
    """
    _check_idle()
    needed = set(_next_run())
    for lock in _locks():
        for stage in lock.values():
            for out in stage.get("outs", []):
                needed |= set(_made(out))
    work = work_directory()
    files = [path for path in sorted(work.rglob("*")) if path.is_file() and _is_prunable(path, work)]
    unneeded = [path for path in files if path.stem not in needed]
    num_bytes = sum(path.stat().st_size for path in unneeded)
    for path in unneeded if not dry_run else ():
        path.unlink()
    verb = "would remove" if dry_run else "removed"
    return f"{verb} {len(unneeded)} of {len(files)} finished files of {work}, {num_bytes / 1e6:.1f} MB"


def _is_prunable(path: Path, work: Path) -> bool:
    kind, age_s = path.relative_to(work).parts[0], time.time() - path.stat().st_mtime
    if path.match(PARTIALS):
        return age_s > 24 * 3600
    return kind in ("shards", "trained", "weights") or (kind == "checkpoints" and age_s > KEEP_CHECKPOINTS_S)


def _check_idle() -> None:
    for path in [path for pattern in RUNNING for path in Path(".dvc/tmp").glob(pattern)]:
        noted = json.loads(path.read_text("utf-8") or "{}")
        holders = [*noted.get("write", {}).values(), *chain.from_iterable(noted.get("read", {}).values())]
        if any(map(_is_alive, {holder["pid"] for holder in holders})):
            raise ValueError(
                f"a stage is running ({path} says so), and its work is in no dvc.lock yet; prune when it has ended"
            )


def _is_alive(pid: int) -> bool:
    """Whether there is a process of this number; a killed one leaves its notes."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _locks() -> Iterator[dict[str, Any]]:
    """The stages of every dvc.lock that is in use; queued experiments are the entries of a stash."""
    if LOCK.is_file():
        yield read_lock(LOCK.read_text("utf-8"))
    commits = set(_git("for-each-ref", "--format=%(objectname)", *REFS[1:])) | set(_git("rev-parse", REFS[0]))
    for stash in _git("for-each-ref", "--format=%(refname)", "refs/exps/stash", "refs/exps/celery"):
        commits |= set(_git("log", "--walk-reflogs", "--format=%H", stash))
    for text in {"\n".join(_git("show", f"{commit}:./{LOCK}")) for commit in commits}:
        yield read_lock(text)


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _made(out: dict[str, Any]) -> Iterator[str]:
    """Names in `.work` of what an output was made from, as far as DVC's cache has it."""
    for name, path in files_of(out.get("md5", "")):
        # Damaged files, and those of earlier versions, do not say what they were made from: nothing in `.work` serves them.
        with suppress(OSError, KeyError, ValueError):
            if name.startswith("shard-"):
                yield footer_text(path, "fingerprint")
                yield from json.loads(footer_text(path, "ingredients"))["weights"].values()
            elif name == "shards.json":
                yield from json.loads(path.read_text("utf-8"))
            elif name.endswith(SUFFIX) and path.is_file():
                about = read_about(path)
                yield from (about["fingerprint"], *about["ingredients"]["inputs"].values())


def _next_run() -> Iterator[str]:
    """Names of what the stages would use with the parameters and the code as they are now."""
    params = load_params()
    check_source()
    for script in sorted(STAGES.glob("*.py")):
        stage = stage_script(script.stem)
        with suppress(ValueError, OSError):  # what it reads is not there yet
            plan = stage.plan(params) if hasattr(stage, "plan") else None
            if isinstance(plan, TrainingPlan):
                yield from (plan.fingerprint, *plan.inputs.values())
            elif isinstance(plan, Plan):
                yield from plan.weights.values()
                yield from map(plan.fingerprint, plan.shards())
    if params.evaluation.second_opinion is not None:
        pack = resolve_path(params.evaluation.second_opinion)
        with suppress(ValueError, OSError, RuntimeError):  # evaluate will say what is wrong with it
            yield from (converted(network, pack).stem for network in ("arcface", "age_sex"))
