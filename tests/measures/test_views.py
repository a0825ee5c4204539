"""Features that are made where they are looked at, against the same features held."""

import numpy as np
import pytest

from speech2face.measures import views
from speech2face.measures.views import blocks, picked

TABLE = np.random.default_rng(0).normal(size=(9, 4))
ROWS = np.array([3, 3, 0, 8, 5])


@pytest.mark.parametrize("asked", [2, slice(1, 4), [4, 0], np.array([True, False, True, False, True]), slice(None)])
def test_rows_are_asked_for_as_of_an_array(asked):
    assert np.array_equal(picked(TABLE, ROWS)[asked], TABLE[ROWS][asked])


def test_a_view_is_as_long_as_its_rows_and_can_be_made_whole():
    view = picked(picked(TABLE, ROWS), np.array([1, 2]))
    assert (len(view), view.shape) == (2, (2, 4))
    assert np.array_equal(np.asarray(view), TABLE[[3, 0]])


def test_blocks_hold_every_row_once(monkeypatch):
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 2)
    found = [TABLE[block] for block in blocks(TABLE)]
    assert [len(block) for block in found] == [2, 2, 2, 2, 1]
    assert np.array_equal(np.concatenate(found), TABLE)
