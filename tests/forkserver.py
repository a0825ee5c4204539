"""Processes that start at once, in place of spawned ones, of which each would import torch for some seconds.

multiprocessing's own fork server imports what is large, once, and forks. Two things that a spawned process inherits are handed over:
the environment and the streams, of this moment and not of the server's start. tests/training/test_processes.py and the clones that run as
users do have spawned ones as well.
"""

import os
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any

STREAMS = (1, 2)


class Surroundings:
    """What is unpickled in another process has there the streams and the environment of this one."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _take, (dict(os.environ), [DupFd(stream) for stream in STREAMS])


def _take(environment: dict[str, str], streams: list[Any]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in zip(STREAMS, streams, strict=True):
        copy = stream.detach()
        os.dup2(copy, number)
        os.close(copy)


class Process(ForkServerProcess):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._surroundings = Surroundings()


class Context(ForkServerContext):
    Process = Process  # type: ignore[assignment]


def get_context(method: str) -> Context:
    """In place of `multiprocessing.get_context("spawn")`."""
    assert method == "spawn"
    context = Context()
    context.set_forkserver_preload(
        ["torch", "torch._dynamo", "torch.distributed", "pytest", "pyarrow.parquet", "pandas"]
    )
    return context
