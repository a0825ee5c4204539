"""Digests of files and values, and what is drawn from them alone."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

T = TypeVar("T")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(CANONICAL.encode(value).encode()).hexdigest()


def stable_fraction(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone, evenly spread: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def chunk(items: Iterable[T], size: int, key: Callable[[T], str] = str) -> Iterator[list[T]]:
    """Items that come sorted by `key` cut into runs of about `size`, at most `2 * size`, where the cuts depend on the items near them
    only. Each run is given as soon as it is complete, and no more than one is held.

    An item added or taken away changes the run that it falls in and rarely a neighbour, so work that is stored by run survives growth.
    Raises ValueError for an item that is not after the one before it.
    """
    run: list[T] = []
    last: str | None = None
    for item in items:
        name = key(item)
        if last is not None and name <= last:
            raise ValueError(f"{name} comes after {last}; items must be sorted, and none may occur twice")
        last = name
        full = len(run) >= 2 * size
        cut = bool(run) and 2 * len(run) >= size and stable_fraction(f"cut {name}") * size < 2
        if full or cut:
            yield run
            run = []
        run.append(item)
    if run:
        yield run
