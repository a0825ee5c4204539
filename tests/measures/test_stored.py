"""Features in a file, against the same features held."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from speech2face.measures.stored import StoredFeatures

FEATURES = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


@pytest.mark.parametrize("asked", [2, slice(3, 30), [4, 0, 4], np.arange(40) % 2 == 0, slice(None), slice(0, 0)])
def test_rows_are_those_that_were_written(asked):
    stored = StoredFeatures(3)
    for start in range(0, 40, 7):
        stored.append(FEATURES[start : start + 7])
    view = stored.view()
    assert view.shape == (40, 3)
    assert np.array_equal(view[asked], FEATURES[asked])
    assert view[asked].dtype == np.float32


def test_doubles_are_stored_in_single_precision():
    stored = StoredFeatures(3)
    stored.append(FEATURES[::2].astype(np.float64))
    assert np.array_equal(stored.view(), FEATURES[::2])


def test_the_file_goes_with_the_last_reader():
    def open_files() -> set[str]:
        """Of those that have no name any more."""
        found = set()
        for path in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # the listing itself
                found.add(f"{path.name} {path.readlink()}")
        return {name for name in found if name.endswith("(deleted)")}

    before = open_files()
    stored = StoredFeatures(3)
    stored.append(FEATURES)
    view = stored.view()
    (ours,) = open_files() - before
    del stored
    assert np.array_equal(view[:2], FEATURES[:2])
    assert ours in open_files()
    del view
    assert ours not in open_files()


def test_a_full_disk_is_said(monkeypatch):
    with Path("/dev/full").open("w+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(OSError, match=r"No space left on device.*TMPDIR"):
            StoredFeatures(3).append(FEATURES)
