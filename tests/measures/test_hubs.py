"""Hubs against counting, and their chance against every way that few voices can choose a face."""

from itertools import product

import numpy as np
import pytest

from speech2face.measures.hubs import chance_hub_share, measure_hubs
from speech2face.measures.statistics import Bootstrap


@pytest.mark.parametrize(("rows", "size"), [(1, 5), (2, 3), (4, 3), (6, 2)])
def test_chance_is_the_mean_over_every_way_to_choose(rows, size):
    ways = [max(np.bincount(way)) / rows for way in product(range(size), repeat=rows)]
    assert chance_hub_share(rows, size) == pytest.approx(np.mean(ways), abs=0.02)


def test_share_and_interval_are_those_of_the_commonest_face():
    nearest = np.array([2, 2, 2, 0, 4, 2, 0, 1])
    speakers = list("aabbccdd")
    found = measure_hubs(nearest, 6, Bootstrap(speakers, 2000, 0.95, 0))
    assert found["distinct_nearest"] == 4
    share = found["hub_share"]
    assert share["value"] == 0.5
    # Speakers a, b, c and d have 1, 1/2, 1/2 and 0 of their rows there: four draws of these.
    ways = [np.mean(way) for way in product([1, 0.5, 0.5, 0], repeat=4)]
    assert (share["low"], share["high"]) == tuple(np.quantile(ways, [0.025, 0.975]))


def test_one_face_for_everyone_is_the_whole_share():
    found = measure_hubs(np.full(10, 3), 20, Bootstrap([str(i) for i in range(10)], 100, 0.95, 0))
    assert found["hub_share"] | {"chance": 0} == {"value": 1, "low": 1, "high": 1, "chance": 0}
    assert found["distinct_nearest"] == 1
