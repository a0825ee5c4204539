"""Contact sheets: every face is on it once, at its place, and the note is below."""

import numpy as np
import pytest
from PIL import Image

from speech2face.drawing.sheet import FACE_PX, MAX_COLUMNS, contact_sheet


@pytest.mark.parametrize("count", [1, 2, 7, 101])
def test_each_face_is_on_the_sheet_once_and_in_order(count: int):
    faces = [(f"{i}.wav", Image.new("RGB", (224, 224), (255, i, 0))) for i in range(count)]
    sheet = np.asarray(contact_sheet(iter(faces), count, "Not the speakers' faces. " * 3))
    red = (sheet[..., 0] == 255) & (sheet[..., 2] == 0)
    shades, first, areas = np.unique(sheet[..., 1][red], return_index=True, return_counts=True)
    assert shades.tolist() == list(range(count))
    assert areas.tolist() == [FACE_PX**2] * count
    places = [tuple(place) for place in np.argwhere(red)[first]]
    assert places == sorted(places)  # row by row
    assert len({column for _, column in places}) <= MAX_COLUMNS
    below = sheet[max(row for row, _ in places) + FACE_PX + 20 :]
    assert (below < 128).any()  # the note


def test_a_long_name_stays_below_its_own_face():
    faces = [
        ("a very long name of a recording " * 4 + f"{i}.wav", Image.new("RGB", (224, 224), "red")) for i in range(3)
    ]
    sheet = np.asarray(contact_sheet(faces, 3, "note")).astype(int)
    dark = (sheet.sum(-1) < 200)[: FACE_PX + 26].any(0)
    face = (sheet[40] == [255, 0, 0]).all(-1)
    assert dark.any() and not (dark & ~face).any()
