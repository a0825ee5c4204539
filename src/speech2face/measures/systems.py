"""One system's predictions, with what several tables show of them: the voice encoder's, a baseline's, or those of part of a recording."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from speech2face.measures.aligned import Aligned
from speech2face.measures.attributes import Attribute
from speech2face.measures.ranking import matched, recall_table, row_values
from speech2face.measures.retrieval import Ranks, percent_to_k, rank_matches
from speech2face.measures.similarity import Values, similarities
from speech2face.measures.statistics import Floats
from speech2face.measures.views import Features, blocks

COSINES = ("cosine", "centred_cosine")


class _Compared(NamedTuple):
    centred: Ranks
    raw: Ranks
    near: Values


class System:
    """Features [N, D] predicted of the test rows, and what is computed of them: once, however many tables show it."""

    def __init__(self, aligned: Aligned, features: Features) -> None:
        self.features = features
        self._aligned = aligned
        self._read: dict[str, np.ndarray] = {}

    @property
    def ranks(self) -> Ranks:
        """Those of `rank_among_speakers`."""
        return self._compared.centred

    @property
    def raw_ranks(self) -> Ranks:
        """Those by raw cosine."""
        return self._compared.raw

    @property
    def near(self) -> Values:
        """The `similarities` to the true features."""
        return self._compared.near

    @cached_property
    def scores(self) -> dict[str, Floats]:
        """Of each test row [N]: cosine to the true feature of its video, raw and centred; among the test speakers, by centred cosine and
        with ties in expectation, whether the match is first, within the first 10 %, 1 over its rank, and the chance to choose it out of
        two; and whether it is within the first 10 % by the raw cosine."""
        return {
            **{name: self.near[name] for name in COSINES},
            "recall_at_1": row_values(self.ranks, lambda size: recall_table(1, size)),
            "recall_at_10_percent": row_values(self.ranks, _first_tenth),
            "recall_at_10_percent_raw": row_values(self.raw_ranks, _first_tenth),
            "reciprocal_rank": row_values(self.ranks, lambda size: 1 / np.arange(1, size + 1)),
            "one_of_2": matched(self.ranks, 2),
        }

    def read(self, attribute: Attribute) -> np.ndarray:
        """What the attribute's probe reads of each test row, [N]."""
        if attribute.name not in self._read:
            self._read[attribute.name] = attribute.read(self.features)
        return self._read[attribute.name]

    @cached_property
    def _compared(self) -> _Compared:
        """All that compares features with others, block by block: where they are made when looked at, each is made once."""
        found = [self._compare(np.arange(len(self.features))[rows]) for rows in blocks(self.features)]
        centred, raw = (
            Ranks(*map(np.concatenate, zip(*part, strict=True)))
            for part in zip(*((f.centred, f.raw) for f in found), strict=True)
        )
        return _Compared(centred, raw, {name: np.concatenate([f.near[name] for f in found]) for name in found[0].near})

    def _compare(self, rows: np.ndarray) -> _Compared:
        features, speakers = self.features[rows], self._aligned.clips["speaker"].to_numpy()[rows]
        gallery, centre = self._aligned.gallery, self._aligned.training_mean
        return _Compared(
            rank_matches(features, gallery, speakers, centre=centre),
            rank_matches(features, gallery, speakers),
            similarities(features, self._aligned.true[rows], centre),
        )


def _first_tenth(gallery_size: int) -> np.ndarray:
    return recall_table(percent_to_k(10, gallery_size), gallery_size)
