"""Digests of files and values, and what is drawn from them alone."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def stable_fraction(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone, evenly spread: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def chunk(items: Iterable[str], size: int) -> list[list[str]]:
    """Sorted items cut into runs of about `size`, at most `2 * size`, where the cuts depend on the items near them only.

    An item added or taken away changes the run that it falls in and rarely a neighbour, so work that is stored by run survives growth.
    """
    runs: list[list[str]] = []
    for item in sorted(items):
        full = bool(runs) and len(runs[-1]) >= 2 * size
        cut = bool(runs) and 2 * len(runs[-1]) >= size and stable_fraction(f"cut {item}") * size < 2
        if not runs or full or cut:
            runs.append([])
        runs[-1].append(item)
    return runs
