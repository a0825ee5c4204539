"""Shards on the processors of this machine: a pool of processes."""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from speech2face.pipeline import machine
from speech2face.pipeline.plan import Plan

AHEAD = 4
"""Jobs that wait for each worker: enough that none waits for the next one, and few, because they are held in memory."""


def run(plan: Plan, compute: Callable[..., None], jobs: Iterable[tuple[Any, ...]], num_jobs: int) -> Iterator[None]:
    """Call `compute(*job)` for each job of a plan, in `machine.num_workers` processes; yields whenever one is done.

    Jobs are asked for when a worker will soon want them. Raises what `compute` raises, and RuntimeError if a worker dies.
    """
    workers = min(machine.num_workers(plan.on_device), num_jobs)
    if workers <= 1:
        for job in jobs:
            compute(*job)
            yield
        return
    torch = sys.modules.get("torch")  # not imported for this: rendering does without its half gigabyte
    threads = max(1, (torch.get_num_threads() if torch is not None else os.cpu_count() or 1) // workers)
    # Not fork: a forked child of a process that has run torch may hang in its thread pool.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (threads, context.Value("i", 0)))
    try:
        running: set[Future[None]] = set()
        waiting = iter(jobs)
        while True:
            running |= {pool.submit(compute, *job) for job in islice(waiting, AHEAD * workers - len(running))}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                yield
        pool.shutdown()
    except BrokenProcessPool:
        raise RuntimeError(
            f"a worker process of {plan.stage} died, perhaps for want of memory; finished shards are kept: run again, with fewer workers "
            f"(S2F_WORKERS is {workers} now) if it happens again"
        ) from None
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int, started: "Synchronized[int]") -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
    else:  # PyTorch reads it if it is imported later
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
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
