import threading
import time
from collections.abc import Iterator

import pytest

from speech2face.pipeline.ahead import ahead


class Counter:
    """How many results there are now, and how many there were at most."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def add(self, count: int) -> None:
        with self.lock:
            self.now += count
            self.most = max(self.most, self.now)


def several(item: int) -> Iterator[tuple[int, int]]:
    """As many results as the item says; small items take longer, so that without care their results would come last."""
    for number in range(item):
        time.sleep(0.002 if item < 3 else 0)
        yield item, number


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("most", [1, 4, 100])
def test_results_come_in_order(num_threads: int, most: int):
    items = [2, 0, 5, 1, 1, 0, 7, 3, 2]
    expected = [result for item in items for result in several(item)]
    assert list(ahead(several, items, num_threads, most)) == expected
    assert list(ahead(several, items, num_threads, most, lambda item: item)) == expected
    assert list(ahead(several, [], num_threads, most)) == []


def test_results_are_computed_ahead_and_no_more_than_are_asked_for():
    counter = Counter()

    def result(item: int) -> list[int]:
        counter.add(1)
        return [item]

    for number, item in enumerate(ahead(result, iter(range(60)), 4, 10)):
        assert item == number
        if number % 20 == 5:
            wait_for(lambda: counter.now == 10)
        counter.add(-1)
    assert counter.most == 10 and counter.now == 0


def test_an_item_of_many_results_waits_for_who_takes_them():
    counter = Counter()

    def endless(item: int) -> Iterator[int]:
        while True:
            counter.add(1)
            yield item

    found = ahead(endless, [1, 2], 2, 6, lambda item: 3)
    next(found)
    wait_for(lambda: counter.now == 2 * 4)  # three of each, and the one that may be the end
    for _ in range(50):
        counter.add(-1)
        assert next(found) == 1
    found.close()
    assert counter.most <= 2 * 4 + 1


def test_work_is_shared_by_the_threads():
    together = threading.Barrier(3, timeout=20)

    def meet(item: int) -> list[int]:
        together.wait()  # raises unless three are here at a time
        return [item]

    assert list(ahead(meet, range(9), 3, 3)) == list(range(9))


def test_an_error_comes_where_its_result_would_have_and_ends_the_threads():
    def fails(item: int) -> Iterator[int]:
        if item == 3:
            raise ValueError("three")
        yield item

    before, found = threading.active_count(), []
    with pytest.raises(ValueError, match="three"):
        found.extend(ahead(fails, range(100), 2, 8))
    assert found == [0, 1, 2] and threading.active_count() == before


def test_who_stops_early_leaves_no_threads():
    before = threading.active_count()
    found = ahead(lambda item: iter(range(1000)), range(100), 3, 12, lambda item: 4)
    assert next(found) == 0 and threading.active_count() > before
    found.close()
    assert threading.active_count() == before


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
    time.sleep(0.02)
    assert condition()
