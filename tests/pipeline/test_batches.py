import gc
import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import pytest
import torch

from speech2face.pipeline.batches import BATCHES_IN_WINDOW, compute_in_batches, fetch, to_device

KINDS = random.Random(0).choices(["", "a", "bb", "ccc"], k=60)
ITEMS = [f"{kind}{number}" for number, kind in enumerate(KINDS)]


class Computed:
    """Notes the batches that are begun, and how many were begun when the results of one are waited for."""

    def __init__(self, fails: Callable[[Sequence[str]], Exception | None] = lambda items: None) -> None:
        self.batches: list[list[str]] = []
        self.begun_when_waited: list[int] = []
        self.fails = fails

    def begin(self, items: Sequence[str]) -> Callable[[], list[str]]:
        self.batches.append(list(items))
        if (error := self.fails(items)) is not None:
            raise error

        def wait() -> list[str]:
            self.begun_when_waited.append(len(self.batches))
            return [item.upper() for item in items]

        return wait


def kind(item: str) -> str | None:
    return item.rstrip("0123456789") or None


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_items_keep_their_order_and_batches_are_of_one_kind(size: int):
    computed = Computed()
    found = list(compute_in_batches(iter(ITEMS), computed.begin, size, kind))
    assert found == [(item, item.upper() if kind(item) else None) for item in ITEMS]
    assert all(len({kind(item) for item in batch}) == 1 and len(batch) <= size for batch in computed.batches)
    assert sorted(chain.from_iterable(computed.batches)) == sorted(filter(kind, ITEMS))
    if size == 100:
        assert len(computed.batches) == 3


def test_items_of_one_kind_are_batched_as_they_come():
    computed = Computed()
    list(compute_in_batches(iter("abcdefghij"), computed.begin, 4, lambda item: True))
    assert computed.batches == [list("abcd"), list("efgh"), list("ij")]


def test_a_batch_is_begun_before_the_one_before_it_is_waited_for():
    computed = Computed()
    list(compute_in_batches(iter("abcdefgh"), computed.begin, 2, lambda item: True))
    assert computed.begun_when_waited == [2, 3, 4, 4]


class Held:
    pass


@pytest.mark.parametrize("size", [1, 4])
def test_few_items_are_held(size: int):
    alive, most = weakref.WeakSet(), 0

    def items() -> Iterator[Held]:
        nonlocal most
        for _ in range(40 * size):
            item = Held()
            alive.add(item)
            most = max(most, len(alive))
            yield item
            del item

    kinds = random.Random(1)
    for _ in compute_in_batches(items(), lambda some: lambda: [0] * len(some), size, lambda item: kinds.choice("ab")):
        pass
    assert BATCHES_IN_WINDOW * size <= most <= 2 * BATCHES_IN_WINDOW * size + 1
    del _
    gc.collect()
    assert not alive


def out_of_memory() -> torch.cuda.OutOfMemoryError:
    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nsecond line")


@pytest.mark.parametrize("room", [1, 3, 5])
def test_a_batch_too_large_for_the_memory_is_computed_by_halves(room: int):
    computed = Computed(lambda items: out_of_memory() if len(items) > room else None)
    assert [result for _, result in compute_in_batches(iter("abcdefgh" * 2), computed.begin, 8, lambda item: True)] == [
        *"ABCDEFGH" * 2
    ]
    assert max(map(len, computed.batches)) == 8
    assert max(len(batch) for batch in computed.batches if len(batch) <= room) == {1: 1, 3: 2, 5: 4}[room]


def test_memory_that_holds_not_even_one_is_said_in_one_line():
    computed = Computed(lambda items: out_of_memory() if "c" in items else None)
    found = compute_in_batches(iter("abcdefgh"), computed.begin, 8, lambda item: True)
    with pytest.raises(
        RuntimeError, match=r"memory does not hold .* \(CUDA out of memory\. Tried.*S2F_DEVICE=cpu$"
    ) as raised:
        list(found)
    assert "\n" not in str(raised.value) and type(raised.value) is RuntimeError


def test_memory_is_free_when_a_batch_is_computed_by_halves():
    """The batch before it is finished first, and its results were waited for."""
    waited: list[str] = []

    def begin(items: Sequence[str]) -> Callable[[], list[str]]:
        if "d" in items and "c" not in waited:
            raise out_of_memory()

        def wait() -> list[str]:
            waited.extend(items)
            return list(items)

        return wait

    assert [r for _, r in compute_in_batches(iter("abcdef"), begin, 3, lambda item: True)] == list("abcdef")


@pytest.mark.parametrize("when", ["begin", "wait"])
def test_an_exception_is_the_result_of_the_item_that_raises_it(when: str):
    def begin(items: Sequence[str]) -> Callable[[], list[str]]:
        def check() -> None:
            if "c" in items:
                raise KeyError("c")

        def wait() -> list[str]:
            check()
            return [item.upper() for item in items]

        if when == "begin":
            check()
        return wait

    found = dict(compute_in_batches(iter("abcdefgh"), begin, 4, lambda item: True))
    error = found.pop("c")
    assert isinstance(error, KeyError)
    assert found == {item: item.upper() for item in "abdefgh"}


@pytest.mark.parametrize("error", [MemoryError(), ImportError("no library"), OSError(28, "No space left on device")])
def test_what_no_item_is_to_blame_for_goes_through(error: Exception):
    computed = Computed(lambda items: error)
    with pytest.raises(type(error)):
        list(compute_in_batches(iter("abc"), computed.begin, 2, lambda item: True))


def test_tensors_go_to_a_device_and_back():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = to_device(torch.from_numpy(values), torch.device("cpu"))
    np.testing.assert_array_equal(fetch(there[:, 1])(), values[:, 1])
