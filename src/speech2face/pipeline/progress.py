"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LINE_EVERY_S = 30.0


def progress(items: Iterable[T], total: int | None, description: str, unit: str = "it") -> Iterator[T]:
    """Yield `items`, showing how many of `total` are done; None where nobody knows how many there are."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=description, unit=unit, dynamic_ncols=True)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            of_total = "" if total is None else f" of {total}"
            print(f"{description}: {done}{of_total} {unit}, {now - started:.0f} s", file=sys.stderr, flush=True)
