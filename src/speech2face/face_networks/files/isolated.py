"""Run a reader of foreign files in a process of its own, which may crash, hang or run out of memory in place of the caller.

The parsers of .mat (scipy's, compiled) and HDF5 (libhdf5) can be brought down, or into an endless loop, by one wrong
byte, and no exception is raised then that could be caught. The caller imports no reader either.
"""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY_LIMIT_BYTES = 4 * 2**30
"""Of the process's own memory; a full-size file takes less than 1.5 GiB, in double precision less than 2."""
TIME_LIMIT_S = 60.0
SLOWEST_READING_BYTES_PER_S = 5e6  # a slow network disk
REMEDY = "download it again and compare its sha256"
OUT_OF_MEMORY, TOO_LITTLE_MEMORY = 3, 4  # exit statuses: more than the limit; more than this machine has

# Isolated (-I), so that neither the working directory nor PYTHONPATH can put other modules first.
START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from speech2face.face_networks.files.isolated import attempt
attempt(*sys.argv[2:])
"""


class IsolationError(RuntimeError):
    """The process could not do its work, and nothing is known of the file."""


def run_isolated(function: str, path: Path, *arguments: str) -> Any:
    """What `function(path, *arguments)` returns in a new process, within limits of time and memory.

    Args:
        function: `module:name` of a function whose result json can hold. A name, so that the caller does not import it.
        path: the file, or the folder of files, that is read.

    Raises:
        ValueError: with the message of the function's own ValueError, or saying that it failed otherwise, crashed, took
            too long or took too much memory; it begins with the path.
        FileNotFoundError: with the message of the function's own.
        IsolationError: the process could not do its work, or this machine has too little memory for it.
    """
    time_limit_s = TIME_LIMIT_S + _num_bytes(path) / SLOWEST_READING_BYTES_PER_S
    limits = [str(math.ceil(time_limit_s)), str(MEMORY_LIMIT_BYTES)]
    # More threads would only take memory.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", START, json.dumps(sys.path), *limits, function, os.fspath(path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path}: damaged: reading it took longer than {time_limit_s:.0f} s; {REMEDY}") from error
    if done.returncode == OUT_OF_MEMORY:
        limit_gib = MEMORY_LIMIT_BYTES / 2**30
        raise ValueError(f"{path}: damaged: reading it takes more than {limit_gib:g} GiB of memory; {REMEDY}")
    if done.returncode in (TOO_LITTLE_MEMORY, -signal.SIGKILL):  # the system kills for want of memory
        raise IsolationError(f"{path}: there is too little memory to read it; a full-size file takes 2 GB")
    if done.returncode < 0:
        raise ValueError(f"{path}: damaged: reading it crashed (signal {-done.returncode}); {REMEDY}")
    if done.returncode != 0 or not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise IsolationError(f"{path} cannot be read in a process of its own: {reason}")
    answer = json.loads(done.stdout.splitlines()[-1])
    for kind in (ValueError, FileNotFoundError, IsolationError):
        if kind.__name__ in answer:
            raise kind(answer[kind.__name__])
    return answer["result"]


def attempt(time_limit_s: str, memory_limit_bytes: str, function: str, path: str, *arguments: str) -> None:
    """The new process: read within the limits, then print the result, or the reason of a failure, as json."""
    out_of_memory = _limit(int(time_limit_s), int(memory_limit_bytes))
    module, _, name = function.partition(":")
    read = getattr(importlib.import_module(module), name)
    try:
        answer = {"result": read(Path(path), *arguments)}
    except (FileNotFoundError, IsolationError) as error:
        answer = {type(error).__name__: _one_line(error)}
    except Exception as error:  # what h5py, scipy, torch and onnx raise on damaged files has no common class
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):  # PyTorch's is a RuntimeError
            os._exit(out_of_memory)  # at once: there may be no memory to tidy up in
        answer = {"ValueError": f"{path}: {failure(error)}"}
    print(json.dumps(answer), flush=True)


def failure(error: Exception) -> str:
    """One line: the words of a ValueError that a reader of ours raised, or that the file is damaged, and how."""
    reason = _one_line(error)
    return reason if type(error) is ValueError else f"truncated or damaged ({type(error).__name__}: {reason})"


def _one_line(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0] or "no reason is given"
    # names in a file may hold anything
    return "".join(letter if letter.isprintable() else "?" for letter in first_line)


def _num_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file())


def _limit(time_limit_s: int, memory_limit_bytes: int) -> int:
    """Set the limits; returns the exit status of a process that reaches that of memory."""
    try:
        import resource
    except ImportError:  # Windows: the caller's time limit stays
        return TOO_LITTLE_MEMORY
    memory_bytes = min(memory_limit_bytes, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    wanted = {
        resource.RLIMIT_DATA: memory_bytes,  # not of address space, of which PyTorch's libraries take 3 GiB
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
    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return OUT_OF_MEMORY if soft == memory_limit_bytes else TOO_LITTLE_MEMORY
