"""Read a file first in a process of its own, which may crash, hang or run out of memory in place of the caller.

The parsers of .mat (scipy's, compiled) and HDF5 (libhdf5) can be brought down, or into an endless loop, by one wrong
byte, and no exception is raised then that could be caught.
"""

import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MEMORY_LIMIT_BYTES = 4 * 2**30
"""Of address space; a full-size file takes less than 1.5 GiB, in double precision less than 2."""
TIME_LIMIT_S = 60.0
SLOWEST_READING_BYTES_PER_S = 5e6  # a slow network disk
REMEDY = "download it again and compare its sha256"
OUT_OF_MEMORY = 3

# Isolated (-I), so that neither the working directory nor PYTHONPATH can put other modules first.
START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from speech2face.face_networks.files.trial import attempt
attempt(*sys.argv[2:])
"""


class TrialError(RuntimeError):
    """The process could not do its work, and nothing is known of the file."""


def try_reading(read: Callable[[Path], object], path: Path) -> None:
    """Call `read(path)` in a new process, within limits of time and memory; what it returns is dropped.

    Args:
        read: a function at the top of a module; the process imports that module and nothing of the caller's.

    Raises:
        ValueError: with the message of `read`'s own ValueError, or saying that it failed otherwise, crashed, took too
            long or took too much memory.
        TrialError: the process could not do its work.
    """
    time_limit_s = TIME_LIMIT_S + path.stat().st_size / SLOWEST_READING_BYTES_PER_S
    arguments = [json.dumps(sys.path), f"{read.__module__}:{read.__qualname__}", os.fspath(path)]
    limits = [str(math.ceil(time_limit_s)), str(MEMORY_LIMIT_BYTES)]
    # More threads would only take address space.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", START, *arguments, *limits],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"damaged: reading it took longer than {time_limit_s:.0f} s; {REMEDY}") from error
    if done.returncode == OUT_OF_MEMORY:
        raise ValueError(f"damaged: reading it takes more than {MEMORY_LIMIT_BYTES / 2**30:g} GiB of memory; {REMEDY}")
    if done.returncode < 0:
        raise ValueError(f"damaged: reading it crashed (signal {-done.returncode}); {REMEDY}")
    if done.returncode != 0 or not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise TrialError(f"{path} cannot be tried in a process of its own: {reason}")
    if refusal := json.loads(done.stdout.splitlines()[-1]):
        raise ValueError(refusal)


def attempt(function: str, path: str, time_limit_s: str, memory_limit_bytes: str) -> None:
    """The new process: read within the limits, then print the reason of a failure, or null, as json."""
    _limit(int(time_limit_s), int(memory_limit_bytes))
    module, _, name = function.partition(":")
    read = getattr(importlib.import_module(module), name)
    refusal = None
    try:
        read(Path(path))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # at once: there may be no memory to tidy up in
    except Exception as error:  # what h5py and scipy raise on damaged files has no common class
        refusal = failure(error)
    print(json.dumps(refusal), flush=True)


def failure(error: Exception) -> str:
    """One line: the words of a ValueError that a reader of ours raised, or that the file is damaged, and how."""
    first_line = str(error).strip().partition("\n")[0] or "no reason is given"
    # names in a file may hold anything
    reason = "".join(letter if letter.isprintable() else "?" for letter in first_line)
    return reason if type(error) is ValueError else f"truncated or damaged ({type(error).__name__}: {reason})"


def _limit(time_limit_s: int, memory_limit_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's time limit stays
        return
    wanted = {
        resource.RLIMIT_AS: memory_limit_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: time_limit_s + 5,  # ends it also where the caller has been killed
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # macOS refuses some
            continue
