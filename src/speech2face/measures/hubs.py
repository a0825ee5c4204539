"""Hubs: faces that are the nearest to many voices, whoever speaks (Radovanović et al. 2010)."""

from typing import Any

import numpy as np

from speech2face.measures.retrieval import Ints
from speech2face.measures.statistics import Bootstrap, mean

DRAWS = 1000  # of random orders; their mean is then right to the three digits that are shown


def measure_hubs(nearest: Ints, gallery_size: int, bootstrap: Bootstrap) -> dict[str, Any]:
    """How evenly the gallery's faces share being the nearest. nearest: the face that is nearest to each test row, int [N], below
    `gallery_size`; bootstrap: over these rows.

    hub_share: part of the rows (above 0, at most 1) whose nearest face is the commonest one. Its interval is that of this very face. Its
    chance is what a random order of the faces for each row gives; it is above 1 over the gallery's size, because the commonest face is
    chosen afterwards. distinct_nearest: how many faces are the nearest to any row.
    """
    counts = np.bincount(nearest, minlength=gallery_size)
    share = bootstrap.estimate(mean(nearest == counts.argmax()))
    chance = chance_hub_share(len(nearest), gallery_size)
    return {"hub_share": share | {"chance": chance}, "distinct_nearest": int((counts > 0).sum())}


def chance_hub_share(rows: int, gallery_size: int) -> float:
    """Expected part of the rows that the commonest face is nearest to, where each row's nearest is drawn at random; by simulation."""
    drawn = np.random.default_rng(0).multinomial(rows, np.full(gallery_size, 1 / gallery_size), DRAWS)
    return float(drawn.max(1).mean() / rows)
