"""Map a function over shards with a pool of processes, computing only what is not finished yet.

Finished shards live in `$DVC_ROOT/.work/shards/<stage>/<fingerprint>.parquet`, out of DVC's reach, because DVC deletes a stage's
outputs before it runs and keeps nothing of a run that failed. The stage's output directory is filled with hard links to them, so a
finished shard is computed once and stored once.
"""

import inspect
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import pyarrow as pa

from speech2face.pipeline import machine
from speech2face.pipeline.progress import progress
from speech2face.pipeline.provenance import code_digest, json_digest
from speech2face.pipeline.rejects import REJECTS, Reject
from speech2face.pipeline.shards import footer, versions, write_shard, write_table

Row = dict[str, Any]
ShardFunction = Callable[[Sequence[Row], dict[str, Any], dict[str, Any]], Iterable[Row | Reject]]
"""(rows of a shard, settings, context) to the rows of its table and its rejects. Settings change the result, the context (where
the files are) does not. Must be a module's own function, so that worker processes can import it."""

NAME_DIGITS = 24
PASSING_REASONS = ("vanished", "missing_file", "timeout")
LEFTOVER_AFTER_S = 24 * 3600


@dataclass
class Summary:
    """What a stage did. `computed` counts the shards that were not found finished; `finished` are the files of all, in the store."""

    stage: str
    rows_in: int = 0
    rows_out: int = 0
    shards: int = 0
    computed: int = 0
    rejects: list[Reject] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """The stage's closing line."""
        text = f"{self.stage}: {self.rows_in} rows in, {self.rows_out} rows out, {len(self.rejects)} rejects"
        return f"{text}, {self.computed} of {self.shards} shards computed, {time.monotonic() - self.started:.1f} s"

    def metrics(self) -> dict[str, Any]:
        """Counts that depend on the result only, for the stage's metrics.json."""
        reasons = Counter(reject.reason for reject in self.rejects)
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rejects": {"total": len(self.rejects), **sorted_counts(reasons)},
        }


def sorted_counts(counts: Counter[str]) -> dict[str, int]:
    """Counts by name, in the names' order."""
    return dict(sorted(counts.items()))


def work_directory() -> Path:
    """Where unfinished and reusable work lives: `.work` of the repository, also in DVC's temporary copies of it."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".work"


def map_shards(
    stage: str,
    function: ShardFunction,
    shards: Sequence[Sequence[Row]],
    *,
    schema: pa.Schema,
    out: Path | None,
    settings: dict[str, Any],
    context: dict[str, Any],
    max_reject_fraction: float,
    weights: dict[str, str] | None = None,
    rows_in: int | None = None,
    on_device: bool = False,
) -> Summary:
    """Compute the shards that are not finished, link all of them into `out` (unless it is None), and write `out`/rejects.parquet.

    A shard's fingerprint covers its rows, `settings`, `weights` (names and digests of weight files), the schema, the code that
    `function` reaches and the versions of the libraries. `rows_in` counts the items where a shard's row stands for several;
    `on_device` says that its networks run on `machine.device`.
    Raises RuntimeError if a worker dies, ValueError if more than `max_reject_fraction` of the items were rejected.
    """
    summary = Summary(stage, rows_in=sum(map(len, shards)) if rows_in is None else rows_in, shards=len(shards))
    code = code_digest(Path(inspect.getfile(function)))
    common = {"stage": stage, "settings": settings, "weights": weights or {}, "code": code, "schema": str(schema)}
    common["versions"] = versions()
    store = work_directory() / "shards" / stage
    _remove_leftovers(store)
    paths = {json_digest(common | {"rows": list(rows)}): rows for rows in shards}
    pending = {f: rows for f, rows in paths.items() if not _is_finished(store / f"{f}.parquet")}
    summary.computed = len(pending)

    jobs = [(function, rows, settings, context, schema, store / f"{f}.parquet", f) for f, rows in pending.items()]
    workers = min(machine.num_workers(on_device), len(jobs))
    for _ in progress(_run(stage, jobs, workers), len(jobs), stage, "shards"):
        pass

    summary.finished = [store / f"{fingerprint}.parquet" for fingerprint in paths]
    for path in summary.finished:
        rows_out, rejects = footer(path)
        summary.rows_out += rows_out
        summary.rejects += rejects
    summary.rejects.sort(key=lambda reject: (reject.item, reject.reason))
    if out is not None:
        _fill(out, summary)
    check_rejects(summary, max_reject_fraction)
    return summary


def _is_finished(path: Path) -> bool:
    """Whether a shard need not be computed: it is there, and none of its rejects may be different next time."""
    try:
        return not any(reject.reason in PASSING_REASONS for reject in footer(path)[1])
    except (FileNotFoundError, pa.ArrowInvalid):  # not there, or damaged since
        return False


def _remove_leftovers(store: Path) -> None:
    """Remove what killed workers left half-written. A day old, because another run may be writing here now."""
    for partial in store.glob("*.partial"):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > LEFTOVER_AFTER_S:
                partial.unlink()


def _fill(out: Path, summary: Summary) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("shard-*.parquet"):
        stale.unlink()
    for path in summary.finished:
        _link(path, out / f"shard-{path.stem[:NAME_DIGITS]}.parquet")
    write_rejects(out / "rejects.parquet", summary)


def write_rejects(path: Path, summary: Summary) -> None:
    """Write a stage's rejects as a table."""
    rows = [{"item": r.item, "stage": summary.stage, "reason": r.reason, "message": r.message} for r in summary.rejects]
    write_table(path, pa.Table.from_pylist(rows, REJECTS))


def check_rejects(summary: Summary, max_reject_fraction: float) -> None:
    """Raise ValueError, with the commonest reasons, if too many of a stage's items were rejected."""
    # An item may give several rows, each of which may be rejected.
    num_items = max(summary.rows_in, summary.rows_out + len(summary.rejects))
    if len(summary.rejects) <= max_reject_fraction * num_items:
        return
    lines = []
    for reason, count in Counter(r.reason for r in summary.rejects).most_common(5):
        example = next(r for r in summary.rejects if r.reason == reason)
        lines.append(f"  {count} x {reason}, for example {example.item}: {example.message}")
    raise ValueError(
        f"{summary.stage} rejected {len(summary.rejects)} of {num_items} items, more than max_reject_fraction = "
        f"{max_reject_fraction:g}; mend the recordings or raise it in params.yaml. Commonest reasons:\n"
        + "\n".join(lines)
    )


def _run(stage: str, jobs: list[tuple[Any, ...]], workers: int) -> Iterator[None]:
    if workers <= 1:
        for job in jobs:
            _compute(*job)
            yield
        return
    import torch  # here, because a stage that only lists files does without its half gigabyte

    threads = max(1, torch.get_num_threads() // workers)
    # Not fork: a forked child of a process that has run torch may hang in its thread pool.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (threads, context.Value("i", 0)))
    try:
        futures: list[Future[None]] = [pool.submit(_compute, *job) for job in jobs]
        for future in as_completed(futures):
            future.result()
            yield
        pool.shutdown()
    except BrokenProcessPool:
        raise RuntimeError(
            f"a worker process of {stage} died, perhaps for want of memory; finished shards are kept: run again, with fewer workers "
            f"(S2F_WORKERS is {workers} now) if it happens again"
        ) from None
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int, started: "Synchronized[int]") -> None:
    import torch

    torch.set_num_threads(threads)
    with started.get_lock():
        machine.worker = started.value
        started.value += 1
    parent = parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        # A parent that is killed outright cannot tell its workers; without this they would wait for it for ever.
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _compute(
    function: ShardFunction,
    rows: Sequence[Row],
    settings: Any,
    context: Any,
    schema: pa.Schema,
    path: Path,
    fingerprint: str,
) -> None:
    write_shard(path, function(rows, settings, context), schema, fingerprint)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:  # another file system, or one without hard links
        print(f"cannot link {target} ({error.strerror}); copying instead", file=sys.stderr)
        shutil.copyfile(source, target)
