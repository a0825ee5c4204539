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
    runs = provenance.chunk(reversed(items), 32)
    assert [item for run in runs for item in run] == items
    assert max(map(len, runs)) <= 64
    assert 16 <= sum(map(len, runs[:-1])) / len(runs[:-1]) <= 48
    assert provenance.chunk([], 32) == []


def test_growth_changes_few_chunks():
    items = [f"clip{i:05d}" for i in range(3000)]
    before = {tuple(run) for run in provenance.chunk(items, 32)}
    for extra in ("clip01500x", "clip00000a", "clip99999"):
        after = {tuple(run) for run in provenance.chunk([*items, extra], 32)}
        assert len(after - before) <= 4, extra
