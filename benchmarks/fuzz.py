"""Mutated recordings of ten formats, wav headers, pictures of ten formats, videos of five, and lists, through the stages' own functions.

    python benchmarks/fuzz.py [--count 25000] [--seed 0] [--kind videos]

Every input must become rows or rejects with a reason, or, for lists, be refused in a line. A worker process does it, so that a library
that crashes or hangs takes no more with it than its own input. Prints a table by kind, and each fault with the seed that makes it
again: an exception, a crash, a hang, nothing at all, or a reject with the reason `failed`, which nobody has foreseen. Exit status 1 if
there is one of these, or if memory grows.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing import items

PATIENCE_S = 60.0  # for loading networks and making the originals, and beyond the decode limit
MAX_GROWTH_MIB = 150.0
PAGE_BYTES = resource.getpagesize()


@dataclass
class Tally:
    """What became of the inputs of one kind. Memory is that of the worker, after each input and at its peak."""

    inputs: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_seed: int = 0
    memory_mib: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    took_s: float = 0.0

    def growth_mib(self) -> float:
        """From the second tenth of the inputs, when all is loaded, to the last: medians, because single inputs differ by 100 MiB."""
        if not self.memory_mib:  # every input has ended the worker
            return 0.0
        tenth = max(1, len(self.memory_mib) // 10)
        early = self.memory_mib[tenth : 2 * tenth] or self.memory_mib[-tenth:]
        return median(self.memory_mib[-tenth:]) - median(early)


class Worker:
    """A process that examines inputs one after the other, started anew when it has died."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None

    def examine(self, kind: str, seed: int) -> tuple[items.Outcome, float, float, float] | str:
        """Outcome, time and memory of an input; or what happened to the process."""
        if self.process is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self.folder), daemon=True)
            self.process.start()
            theirs.close()
        try:
            self.connection.send((kind, seed))
            if self.connection.poll(2 * items.LIMIT_S + PATIENCE_S):
                return self.connection.recv()
            self.process.kill()
            fate = "hangs"
        except (EOFError, ConnectionError):
            fate = "crashes the process"
        self.process.join()
        return f"{fate} (exit status {self.process.exitcode})"


def serve(connection: Connection, folder: Path) -> None:
    """Examine inputs until nobody sends any."""
    while True:
        try:
            kind, seed = connection.recv()
        except EOFError:
            return
        path = items.write_input(kind, seed, folder)
        started = time.perf_counter()
        outcome = items.examine(kind, path, seed)
        took_s = time.perf_counter() - started
        path.unlink()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        connection.send((outcome, took_s, pages * PAGE_BYTES / 2**20, peak_mib))


def fuzz(kind: str, seeds: Sequence[int]) -> Tally:
    """Examine the inputs of one kind that the seeds stand for."""
    tally, started = Tally(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder))
        for number, seed in enumerate(seeds):
            found = worker.examine(kind, seed)
            tally.inputs += 1
            if isinstance(found, str):
                tally.faults.append(f"{kind} {seed}: {found}")
                continue
            outcome, took_s, now_mib, peak_mib = found
            tally.rows += outcome.rows
            tally.reasons.update(outcome.reasons)
            tally.faults += [f"{kind} {seed}: {fault}" for fault in outcome.faults]
            # The first inputs load libraries and networks.
            if number > len(seeds) // 10 and took_s > tally.slowest_s:
                tally.slowest_s, tally.slowest_seed = took_s, seed
            tally.memory_mib.append(now_mib)
            tally.peak_mib = max(tally.peak_mib, peak_mib)
        if worker.process is not None:
            worker.connection.close()
            worker.process.join()
    tally.took_s = time.perf_counter() - started
    return tally


def main(count: int, seed: int, kinds: Sequence[str]) -> int:
    tallies = {}
    print("| kind | inputs | rows | rejects by reason | faults | slowest (seed) | growth, peak MiB | inputs a second |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        share = range(seed, seed + count // len(kinds))
        tallies[kind] = t = fuzz(kind, share)
        reasons = ", ".join(f"{reason} {n}" for reason, n in t.reasons.most_common())
        memory = f"{t.growth_mib():+.0f}, {t.peak_mib:.0f}"
        slowest = f"{t.slowest_s:.2f} s ({t.slowest_seed})"
        rate = t.inputs / t.took_s
        print(
            f"| {kind} | {t.inputs} | {t.rows} | {reasons} | {len(t.faults)} | {slowest} | {memory} | {rate:.0f} |",
            flush=True,
        )
    print(closing(tallies))
    return int(any(t.faults or t.growth_mib() > MAX_GROWTH_MIB for t in tallies.values()))


def closing(tallies: dict[str, Tally]) -> str:
    """All kinds together: counts by outcome, the slowest input and the largest growth of memory; then each fault."""
    faults = [fault for t in tallies.values() for fault in t.faults]
    reasons = sum((t.reasons for t in tallies.values()), Counter())
    slowest = max(tallies, key=lambda kind: tallies[kind].slowest_s)
    grown = max(tallies, key=lambda kind: tallies[kind].growth_mib())
    lines = [
        f"{sum(t.inputs for t in tallies.values())} inputs: {sum(t.rows for t in tallies.values())} rows, "
        f"{reasons.total()} rejects or refused lists, {len(faults)} faults",
        f"slowest: {slowest} {tallies[slowest].slowest_seed}, {tallies[slowest].slowest_s:.2f} s",
        f"largest growth of memory: {grown}, {tallies[grown].growth_mib():+.0f} MiB (at most {MAX_GROWTH_MIB:.0f})",
    ]
    return "\n".join([*lines, *faults])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25_000, help="inputs of all kinds together (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first input of each kind; the next has the next one"
    )
    parser.add_argument("--kind", choices=tuple(items.KINDS), help="only this kind")
    arguments = parser.parse_args()
    sys.exit(main(arguments.count, arguments.seed, [arguments.kind] if arguments.kind else list(items.KINDS)))
