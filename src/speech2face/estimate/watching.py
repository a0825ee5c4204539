"""Programs that are run to see how long they take, and how much memory."""

import resource
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Clock = Literal["wall", "processor"]
"""Seconds by the clock on the wall, or those that processors worked, all processes together: where other work runs beside."""
LOOK_EVERY_S = 0.1
LAST_LINES = 3


@dataclass(frozen=True)
class Watched:
    """Seconds; the greatest memory of the program and of all that it started, together, MiB; and what it printed."""

    seconds: float
    memory_mib: float
    text: str


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], clock: Clock = "wall") -> Watched:
    """Run a program in a folder. Raises RuntimeError, with the last lines of its errors, if it fails."""
    started = _now(clock)
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = _Peak(process.pid)
    try:
        text, errors = process.communicate()
    finally:
        if process.poll() is None:  # interrupted
            process.terminate()
            process.wait()
        peak.stop()
    seconds = _now(clock) - started
    if process.returncode:
        last = " / ".join(errors.strip().splitlines()[-LAST_LINES:])
        raise RuntimeError(f"{' '.join(map(str, command[1:]))} ended with status {process.returncode}: {last}")
    return Watched(seconds, peak.mib, text)


def _now(clock: Clock) -> float:
    """Of processors, the seconds of programs that have ended."""
    if clock == "wall":
        return time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Peak:
    """The greatest memory of a process and its children while it runs. Where there is no /proc, that of the largest process of all that
    have been run."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid, self._done = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        if not self.mib:
            self.mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024

    def _watch(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self.mib = max(self.mib, memory_mib(self._pid))


def memory_mib(pid: int) -> float:
    """Memory of a process and its children, MiB: what each has of its own, and the pages of files of the one that has most of them,
    because the others map the same libraries. 0 where there is no /proc."""
    own, files = 0.0, 0.0
    for process in (pid, *_descendants(pid)):
        values = _status(process)
        own += values.get("RssAnon", 0) + values.get("RssShmem", 0)
        files = max(files, values.get("RssFile", 0))
    return (own + files) / 1024


def _descendants(pid: int) -> Iterable[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended
        return
    for child in children:
        yield child
        yield from _descendants(child)


def _status(pid: int) -> dict[str, int]:
    """The numbers of /proc/PID/status, kB; empty for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(text.split()[0]) for name, text in pairs}
