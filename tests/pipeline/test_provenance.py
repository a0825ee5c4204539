import hashlib

import pytest

from speech2face.pipeline import provenance


def test_json_digest_does_not_depend_on_the_order_of_keys():
    assert provenance.json_digest({"a": 1, "b": [2]}) == provenance.json_digest({"b": [2], "a": 1})
    assert provenance.json_digest({"a": 1}) != provenance.json_digest({"a": 2})
    with pytest.raises(ValueError):
        provenance.json_digest(float("nan"))


def test_stable_fractions_are_uniform():
    values = sorted(provenance.stable_fraction(f"id{i}") for i in range(4000))
    # Kolmogorov-Smirnov distance from the uniform distribution: below 1.95 / sqrt(n) with probability 0.999
    assert max(abs(v - (i + 0.5) / 4000) for i, v in enumerate(values)) < 1.95 / 4000**0.5


def test_chunks_are_a_partition_of_bounded_size():
    items = [f"clip{i:05d}" for i in range(3000)]
    runs = list(provenance.chunk(items, 32))
    assert [item for run in runs for item in run] == items
    assert max(map(len, runs)) <= 64
    assert 16 <= sum(map(len, runs[:-1])) / len(runs[:-1]) <= 48
    assert list(provenance.chunk([], 32)) == []


def test_chunks_come_one_by_one_and_are_cut_as_a_whole_list_would_be():
    """The rule over again, on a list of all items: a cut where a hash of the item says so, none in a run under half the size."""
    items = [{"name": f"clip{i:05d}", "row": i} for i in range(2000)]
    expected: list[list[int]] = [[]]
    for item in items:
        digest = hashlib.sha256(f"cut {item['name']}".encode()).digest()[:8]
        chosen = int.from_bytes(digest, "big") / 2**64 < 2 / 10
        if len(expected[-1]) == 20 or (chosen and len(expected[-1]) >= 5):
            expected.append([])
        expected[-1].append(item["row"])
    taken: list[int] = []
    for number, run in enumerate(
        provenance.chunk((taken.append(i["row"]) or i for i in items), 10, lambda i: i["name"])
    ):
        assert [item["row"] for item in run] == expected[number]
        assert len(taken) <= run[-1]["row"] + 2  # the item after a run is all that has been read ahead


@pytest.mark.parametrize("items", [["b", "a"], ["a", "a"], ["a", "c", "b"]])
def test_items_that_are_not_sorted_are_refused(items: list[str]):
    with pytest.raises(ValueError, match="must be sorted"):
        list(provenance.chunk(items, 1))


def test_growth_changes_few_chunks():
    items = [f"clip{i:05d}" for i in range(3000)]
    before = {tuple(run) for run in provenance.chunk(items, 32)}
    for extra in ("clip01500x", "clip00000a", "clip99999"):
        after = {tuple(run) for run in provenance.chunk(sorted([*items, extra]), 32)}
        assert len(after - before) <= 4, extra
