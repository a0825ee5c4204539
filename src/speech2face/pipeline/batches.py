"""Batches for networks: computed on a GPU while the next one is prepared, and in halves where its memory does not hold them."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from speech2face.pipeline.rejects import first_line, is_of_the_machine

T = TypeVar("T")
R = TypeVar("R")

Begin = Callable[[Sequence[T]], Callable[[], Iterable[R]]]
"""Begins to compute a batch, on a GPU without waiting for it, and returns what waits and returns a result for each item."""
BATCHES_IN_WINDOW = 4
"""Items among which those of one kind are looked for, in batches: more make fuller batches, and are held in memory."""


def compute_in_batches(
    items: Iterable[T], begin: Begin[T, R], size: int, kind: Callable[[T], Hashable | None]
) -> Iterator[tuple[T, R | Exception | None]]:
    """Each item and what is computed of it, in the order of the items.

    Items of one `kind` are computed together, up to `size` at a time; of those whose kind is None nothing is, and their result is None.
    While a batch is computed on a GPU, the next one is prepared. At most `2 * BATCHES_IN_WINDOW * size + 1` items are held at a time, the
    caller's among them.

    A batch that the GPU's memory does not hold is computed by halves, and so is one that raises an exception: alone, an item has its
    own exception as its result. Raises RuntimeError, with the remedy, where the memory does not hold a single item, and whatever no item
    is to blame for.
    """
    done: dict[int, tuple[T, R | Exception | None]] = {}
    first = 0
    for batch, results in _one_ahead(_batches(enumerate(items), size, kind), begin):
        for (number, item), result in zip(batch, results, strict=True):
            done[number] = (item, result)
        batch.clear()
        del item
        while first in done:
            yield done.pop(first)
            first += 1


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on `device`; a GPU fetches it from pinned memory while the caller goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def fetch(tensor: torch.Tensor) -> Callable[[], np.ndarray]:
    """Begins to bring a tensor from its device; what is returned waits until it is there, and for nothing that is asked for later."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.current_stream(tensor.device).record_event()

    def wait() -> np.ndarray:
        arrived.synchronize()
        return host.numpy()

    return wait


Batch = list[tuple[int, T]]


def _batches(
    numbered: Iterator[tuple[int, T]], size: int, kind: Callable[[T], Hashable | None]
) -> Iterator[tuple[Hashable | None, Batch[T]]]:
    """Items of one kind, by the window; each batch is cleared when it has been computed."""
    while window := list(islice(numbered, BATCHES_IN_WINDOW * size)):
        groups: dict[Hashable | None, Batch[T]] = {}
        for number, item in window:
            groups.setdefault(kind(item), []).append((number, item))
        window.clear()
        del item
        for of in list(groups):
            group = groups.pop(of)
            while group:
                batch, group = group[:size], group[size:]
                yield of, batch


def _one_ahead(
    batches: Iterable[tuple[Hashable | None, Batch[T]]], begin: Begin[T, R]
) -> Iterator[tuple[Batch[T], Iterable[R | Exception | None]]]:
    """Batches and their results; the next batch is begun before the results of one are waited for."""
    running: tuple[Batch[T], Callable[[], Iterable[R]]] | None = None
    for of, batch in batches:
        wait = None
        if of is not None:
            try:
                wait = begin([item for _, item in batch])
            except Exception as error:
                _check(error)
        if running is not None:
            yield running[0], _results(*running, begin)
            running = None
        if wait is not None:
            running = batch, wait
        else:  # after the one before it, whose memory is free now
            yield batch, [None] * len(batch) if of is None else _by_halves([item for _, item in batch], begin)
    if running is not None:
        yield running[0], _results(*running, begin)


def _results(batch: Batch[T], wait: Callable[[], Iterable[R]], begin: Begin[T, R]) -> Iterable[R | Exception]:
    try:
        return wait()
    except Exception as error:
        _check(error)
    return _by_halves([item for _, item in batch], begin)


def _by_halves(items: Sequence[T], begin: Begin[T, R]) -> list[R | Exception]:
    try:
        return list(begin(items)())
    except Exception as error:
        _check(error, alone=len(items) == 1)
        if len(items) == 1:
            return [error]
    # not above, where the exception still holds what the network had computed
    middle = len(items) // 2
    return _by_halves(items[:middle], begin) + _by_halves(items[middle:], begin)


def _check(error: Exception, alone: bool = False) -> None:
    """Raise what no item of a batch is to blame for."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        if alone:
            raise RuntimeError(
                f"the GPU's memory does not hold the network's work on a single picture or clip ({first_line(error)}); end what else runs "
                "there, set S2F_GPUS_PER_WORKER=1 for one worker on each GPU, or S2F_DEVICE=cpu"
            ) from None
    elif is_of_the_machine(error):
        raise error
