"""Map a function over shards, computing only what is not finished yet: in processes of this machine, or on a cluster.

Finished shards live in `$DVC_ROOT/.work/shards/<stage>/<fingerprint>.parquet`, out of DVC's reach, because DVC deletes a stage's
outputs before it runs and keeps nothing of a run that failed. The stage's output directory is filled with hard links to them, so a
finished shard is computed once and stored once. A shard that is not there is looked for in what DVC keeps of the last output, which
is all that a machine has that only pulled.
"""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from speech2face.pipeline import cluster, machine, processes
from speech2face.pipeline.atomic import PARTIALS, link
from speech2face.pipeline.dvc_cache import last_output
from speech2face.pipeline.plan import Plan, Row, ShardFunction, shard_name
from speech2face.pipeline.progress import progress
from speech2face.pipeline.shards import Footer, footer, write_shard
from speech2face.pipeline.summary import Summary, check_rejects, write_rejects
from speech2face.pipeline.work import work_directory

PASSING_REASONS = ("vanished", "missing_file", "timeout", "failed")
"""Reasons that may be gone next time. Of `failed` nobody knows, and computing it again is how its traceback is had."""
LEFTOVER_AFTER_S = 24 * 3600


def map_shards(plan: Plan, out: Path | None, max_reject_fraction: float) -> Summary:
    """Compute the shards of a plan that are not finished, link all of them into `out` (unless it is None), and write the rejects.

    Raises RuntimeError if a worker dies, ValueError if more than `max_reject_fraction` of the items were rejected.
    """
    summary = Summary(plan.stage)
    store = shard_store(plan.stage)
    _remove_leftovers(store)
    wanted = _unfinished(plan, out, summary)
    summary.computed = len(wanted)
    run = cluster.run if cluster.address() is not None else processes.run
    for _ in progress(run(plan, _compute, _jobs(plan, wanted), len(wanted)), len(wanted), plan.stage, "shards"):
        pass

    for path in wanted.values():
        _add(summary, footer(path))
    summary.rejects.sort(key=lambda reject: (reject.item, reject.reason))
    if out is not None:
        _fill(out, summary.finished)
    write_rejects(summary)
    check_rejects(summary, max_reject_fraction)
    return summary


def _unfinished(plan: Plan, out: Path | None, summary: Summary) -> dict[int, Path]:
    """Which shards of a plan are to be computed, by their number, and where each belongs. Notes in `summary` how many rows and shards
    there are, where all of them belong, and what the finished ones hold."""
    store, kept = shard_store(plan.stage), _Kept(out)
    wanted: dict[int, Path] = {}
    known: dict[Path, None] = {}
    for number, rows in enumerate(progress(plan.shards(), None, f"{plan.stage}: planning", "shards")):
        summary.shards += 1
        summary.rows_in += sum(map(plan.count, rows))
        name = plan.fingerprint(rows)
        path = store / f"{name}.parquet"
        if path in known:
            continue
        known[path] = None
        if found := _finished(path, name) or kept.take(name, path):
            _add(summary, found)
        elif plan.recover is not None and (recovered := plan.recover(name)) is not None:
            write_shard(path, recovered, plan.schema, _made_from(plan, rows, name))
            _add(summary, footer(path))
        else:
            wanted[number] = path
    summary.finished = list(known)
    return wanted


def _jobs(plan: Plan, wanted: Mapping[int, Path]) -> Iterator[tuple[Any, ...]]:
    """The arguments of `_compute` for the wanted shards, one after the other: their rows are read when they are asked for."""
    for number, rows in enumerate(plan.shards() if wanted else ()):
        if number in wanted:
            place = wanted[number]
            made_from = _made_from(plan, rows, place.stem)
            yield plan.function, rows, plan.settings, dict(plan.context), plan.on_device, plan.schema, place, made_from


def _made_from(plan: Plan, rows: Sequence[Row], name: str) -> dict[str, str]:
    """The metadata of a shard: `name`, which is its fingerprint, and its ingredients."""
    return {"fingerprint": name, "ingredients": json.dumps(plan.ingredients(rows))}


def shard_store(stage: str) -> Path:
    """Where a stage's finished shards are kept, each as `<fingerprint>.parquet`."""
    return work_directory() / "shards" / stage


class _Kept:
    """Finished shards that are not in the store: those in `out`, and those that DVC keeps of the last `out`."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._cached: dict[str, Path] | None = None

    def take(self, name: str, path: Path) -> Footer | None:
        """Put the shard `name` into the store as `path`; its footer if it was found."""
        if self._out is None:
            return None
        if self._cached is None:
            self._cached = last_output(self._out)
        for place in (self._out / shard_name(name), self._cached.get(shard_name(name))):
            if place is not None and (found := _finished(place, name)):
                link(place.resolve(), path)
                return found
        return None


def _finished(path: Path, name: str) -> Footer | None:
    """The footer of a shard that need not be computed: it is there, it is the one, and none of its rejects may be different next time."""
    try:
        found = footer(path)
        passing = any(reject.reason in PASSING_REASONS for reject in found.rejects)
        return found if found.fingerprint == name and not passing else None
    except (OSError, KeyError, ValueError, TypeError):  # not there, not a shard, or damaged since
        return None


def _add(summary: Summary, of_shard: Footer) -> None:
    summary.rows_out += of_shard.num_rows
    summary.rejects += of_shard.rejects


def _remove_leftovers(store: Path) -> None:
    """Remove what killed workers left half-written. A day old, because another run may be writing here now."""
    for partial in store.glob(PARTIALS):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > LEFTOVER_AFTER_S:
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def _fill(out: Path, finished: Sequence[Path]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("shard-*.parquet"):
        stale.unlink()
    for path in finished:
        link(path, out / shard_name(path.stem))
    mark_if_empty(out)


def mark_if_empty(out: Path) -> None:
    """Leave a hidden file in an output folder that holds nothing else: of an empty one DVC warns whenever a stage reads it."""
    marker = out / ".empty"
    marker.unlink(missing_ok=True)
    if not any(out.iterdir()):
        marker.touch()


def _compute(
    function: ShardFunction,
    rows: Sequence[Row],
    settings: Any,
    context: dict[str, Any],
    on_device: bool,
    schema: pa.Schema,
    path: Path,
    metadata: dict[str, str],
) -> None:
    if on_device:
        context = context | {"device": machine.device()}
    items: Iterable[Any] = function(rows, settings, context)
    write_shard(path, items, schema, metadata)
