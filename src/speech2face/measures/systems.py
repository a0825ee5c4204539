"""One system's predictions, with what several tables show of them: the voice encoder's, a baseline's, or those of part of a recording."""

from functools import cached_property

import numpy as np

from speech2face.measures.aligned import Aligned
from speech2face.measures.attributes import Attribute
from speech2face.measures.ranking import matched, recall_table, row_values
from speech2face.measures.retrieval import Compared, Order, Ranks, compare, percent_to_k
from speech2face.measures.similarity import Values, cosines, similarities
from speech2face.measures.statistics import Floats
from speech2face.measures.views import Features

COSINES = ("cosine", "centred_cosine")
CENTRED, RAW = Order("cosine"), Order("cosine", centred=False)


class System:
    """Features [N, D] predicted of the test rows, and what is computed of them: once, however many tables show it."""

    def __init__(self, aligned: Aligned, features: Features) -> None:
        self.features = features
        self._aligned = aligned
        self._compared: list[Compared] | None = None

    @property
    def ranks(self) -> Ranks:
        """Those of `rank_among_speakers`."""
        return self.compare()[0].ranks

    @property
    def raw_ranks(self) -> Ranks:
        """Those by raw cosine."""
        return self.compare()[1].ranks

    def compare(self, *others: Order) -> list[Compared]:
        """Ranks and nearest among the test speakers: by centred and by raw cosine, and in `others`, which are not kept."""
        if self._compared is None or others:
            orders, centre = [CENTRED, RAW, *others], self._aligned.training_mean
            found = compare(self.features, self._aligned.gallery, self._aligned.clips["speaker"], orders, centre)
            self._compared = found[:2]
            return found
        return self._compared

    @cached_property
    def near(self) -> Values:
        """The `similarities` to the true features."""
        return similarities(self.features, self._aligned.true, self._aligned.training_mean)

    @cached_property
    def scores(self) -> dict[str, Floats]:
        """Of each test row [N]: cosine to the true feature of its video, raw and centred; among the test speakers, by centred cosine and
        with ties in expectation, whether the match is first, within the first 10 %, 1 over its rank, and the chance to choose it out of
        two; and whether it is within the first 10 % by the raw cosine."""
        near = cosines(self.features, self._aligned.true, self._aligned.training_mean)
        return {
            **{name: near[name] for name in COSINES},
            "recall_at_1": row_values(self.ranks, lambda size: recall_table(1, size)),
            "recall_at_10_percent": row_values(self.ranks, _first_tenth),
            "recall_at_10_percent_raw": row_values(self.raw_ranks, _first_tenth),
            "reciprocal_rank": row_values(self.ranks, lambda size: 1 / np.arange(1, size + 1)),
            "one_of_2": matched(self.ranks, 2),
        }

    def read(self, attribute: Attribute) -> np.ndarray:
        """What the attribute's probe reads of each test row, [N]."""
        return attribute.read(self.features)


def _first_tenth(gallery_size: int) -> np.ndarray:
    return recall_table(percent_to_k(10, gallery_size), gallery_size)
