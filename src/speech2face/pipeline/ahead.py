"""Work that threads do ahead of whoever takes its results, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    function: Callable[[T], Iterable[R]],
    items: Iterable[T],
    num_threads: int,
    most: int,
    cost: Callable[[T], int] = lambda item: 1,
) -> Iterator[R]:
    """The results of `function(item)`, of which there may be several or none, item after item in their order.

    Threads compute them ahead. `cost` is how many results an item has, or, of one that may have any number, one less than are computed
    before the caller takes them. The items at work cost at most `most` together, or are a single one; their results are being computed,
    wait, or one of them is with the caller until the next is asked for. `items` are asked for by the caller's thread. Raises what
    `function` raises, where its result would have been. The threads end with the iterator.
    """
    begun: deque[_Item[T, R]] = deque()
    free = most
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            price = cost(item)
            while begun and price > free:
                yield from begun[0].results()
                free += begun.popleft().price
            begun.append(_Item(function, item, price))
            free -= price
            pool.submit(begun[-1].compute)
        while begun:
            yield from begun[0].results()
            begun.popleft()
    finally:
        for unfinished in begun:
            unfinished.stop()
        pool.shutdown(cancel_futures=True)


class _Item(Generic[T, R]):
    """An item whose results one thread computes and another takes."""

    def __init__(self, function: Callable[[T], Iterable[R]], item: T, price: int) -> None:
        self.price = price
        self._function, self._item = function, item
        self._found: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._room = Semaphore(price + 1)  # the end is looked for as if it were a result
        self._stopped = False

    def compute(self) -> None:
        try:
            results = iter(self._function(self._item))
            while self._room.acquire() and not self._stopped:
                self._found.put(("result", next(results)))
        except StopIteration:
            self._found.put(("end", None))
        except BaseException as error:
            self._found.put(("error", error))

    def results(self) -> Iterator[R]:
        while True:
            kind, found = self._found.get()
            if kind == "end":
                return
            if kind == "error":
                raise found
            yield found
            del found  # the caller has done with it: it must not be here while the next one is waited for
            self._room.release()

    def stop(self) -> None:
        self._stopped = True
        self._room.release()
