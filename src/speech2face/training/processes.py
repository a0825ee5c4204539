"""Starting the processes that train one network together (see `ranks`), and what becomes of all when something becomes of one."""

import math
import os
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import FrameType
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist

from speech2face.pipeline import machine
from speech2face.pipeline.printing import escape_what_cannot_be_printed
from speech2face.pipeline.rejects import first_line
from speech2face.training import ranks

T = TypeVar("T")
STOPS = (signal.SIGTERM, signal.SIGINT)
LEAVE_WITHIN_S = 2.0
"""Once a process has failed: the time for the others to say why they did, or to finish what they write."""
PATIENCE = timedelta(days=7)
"""For each other, as long as all live: the others wait while the first validates."""


def in_ranks(count: int, function: Callable[[], T]) -> T:
    """What `function()` returns in the first of `count` processes that call it, as ranks of one group; in this process if there is one.

    A stop (SIGTERM, or an interrupt) is passed on, and ends in exit status 143 or 130 as soon as they have ended. No process outlives
    this call, or this process. `function` can be pickled, and what it returns, which holds no tensors.

    Raises:
        RuntimeError: if a process is killed or fails, with its message.
    """
    if count == 1:
        return function()
    asked: list[int] = []
    processes: dict[Connection, BaseProcess] = {}

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes.values():
            process.terminate()

    resource_tracker.ensure_running()  # which would unblock the signals
    handlers = {number: signal.signal(number, pass_on) for number in STOPS}
    # A process that starts takes a signal once it knows what to do, see `_be_rank`.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        with TemporaryDirectory(prefix="speech2face-") as folder:
            threads = max(1, torch.get_num_threads() // count)
            _start(processes, count, (threads, Path(folder) / "store", function))
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if asked:  # before there were processes
                pass_on(asked[0], None)
            return _wait(processes, asked)
    finally:
        for process in processes.values():
            process.kill()
            process.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(processes: dict[Connection, BaseProcess], count: int, arguments: tuple[Any, ...]) -> None:
    context = get_context(
        "spawn"
    )  # not fork: a forked child of a process that has run torch may hang in its thread pool
    for rank in range(count):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_be_rank, args=(rank, count, writer, *arguments))
        process.start()
        processes[reader] = process
        writer.close()  # the process has its own, and when that is closed there is nothing more to be read


def _wait(processes: dict[Connection, BaseProcess], asked: list[int]) -> Any:
    """The result, once all processes have ended. Raises as `in_ranks` if one fails."""
    results: list[Any] = []
    errors: list[str] = []
    running, until = dict(processes), math.inf
    while running and monotonic() < until:
        ready = connection.wait(list(running), None if until == math.inf else max(0.0, until - monotonic()))
        for reader in [reader for reader in running if reader in ready]:
            try:
                is_result, value = reader.recv()
                (results if is_result else errors).append(value)
            except (EOFError, OSError):  # the process has ended
                process = running.pop(reader)
                process.join()
                if process.exitcode:
                    until = min(
                        until, monotonic() + LEAVE_WITHIN_S
                    )  # those that are left then wait for one that has gone
    codes = [process.exitcode or 0 for reader, process in processes.items() if reader not in running]
    if any(codes):
        _fail(len(processes), codes, errors, asked)
    return results[0]


def _fail(count: int, codes: list[int], errors: list[str], asked: list[int]) -> NoReturn:
    """Say why the processes have ended that ended with these codes: by a stop, else because one was killed, else by the first error. The
    errors of the others follow from it."""
    stops = [number for number in STOPS if 128 + number in codes or (asked and -number in codes)]
    if stops:
        sys.exit(128 + (asked or stops)[0])
    killed = [
        code for code in codes if code < 0 and code != -signal.SIGABRT
    ]  # that is how NCCL leaves when others have left
    if killed or not errors:
        code = (killed or [code for code in codes if code])[0]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        raise RuntimeError(
            f"one of the {count} training processes {how}, perhaps for want of memory; run again to go on from the last checkpoint, "
            f"with fewer processes (S2F_PROCESSES is {count} now) if it happens again"
        )
    raise RuntimeError(errors[0])


def _be_rank(
    rank: int, count: int, writer: Connection, threads: int, store: Path, function: Callable[[], Any]
) -> NoReturn:
    for number in STOPS:
        signal.signal(number, _leave)
    threading.Thread(target=_leave_with_parent, args=(store.parent,), daemon=True).start()
    status = 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        escape_what_cannot_be_printed()
        machine.worker = rank
        torch.set_num_threads(threads)
        result = _in_group(rank, count, store, function)
        if rank == 0:
            writer.send((True, result))
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException as error:
        status = 1
        if os.environ.get("S2F_DEBUG") or not isinstance(error, ValueError | OSError | RuntimeError):
            traceback.print_exception(error)
        of_rank = "" if isinstance(error, ValueError) else f"training process {rank + 1} of {count}: "
        with suppress(OSError):
            writer.send((False, of_rank + (str(error) if isinstance(error, ValueError) else first_line(error))))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # at once: what closes connections on the way out may wait for ranks that have gone


def _in_group(rank: int, count: int, store: Path, function: Callable[[], T]) -> T:
    device = machine.device()
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:
        # By itself gloo listens where the machine's own name leads, if it leads anywhere.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend, store=dist.FileStore(str(store), count), rank=rank, world_size=count, timeout=PATIENCE
    )
    result = function()
    ranks.agreed(0)  # nobody leaves while another may still ask for it
    dist.destroy_process_group()
    return result


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    for other in (
        STOPS
    ):  # an interrupt comes twice, from the terminal and from the parent; the second is not to disturb the leaving
        signal.signal(other, lambda number, frame: None)
    sys.exit(128 + number)


def _leave_with_parent(folder: Path) -> None:
    # A parent that is killed outright cannot tell its processes, nor remove what it has made.
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
