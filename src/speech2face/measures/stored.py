"""Features in a temporary file: those of every test clip are gigabytes at VoxCeleb2's size."""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from speech2face.measures.views import View


@contextmanager
def _telling_where() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"features cannot be written to a temporary file in {tempfile.gettempdir()} ({error.strerror}); make room there, or let TMPDIR "
            "name a folder that has some"
        ) from error


class StoredFeatures:
    """Features float32 [N, dim], written once, some rows after the others, into a file without a name that goes when nobody reads it any
    more. It lies where Python puts temporary files: the folder that TMPDIR names, else /tmp."""

    def __init__(self, dim: int) -> None:
        self._dim, self._num_rows = dim, 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with this object

    def append(self, features: np.ndarray) -> None:
        """Write more rows [n, dim]. Raises OSError, with what to do, where the disk is full."""
        with _telling_where():
            self._file.write(np.ascontiguousarray(features, np.float32).data)
            self._file.flush()
        self._num_rows += len(features)

    def view(self) -> View:
        """The rows that have been written."""
        return View((self._num_rows, self._dim), self._read)

    def _read(self, rows: npt.NDArray[np.int64]) -> np.ndarray:
        if not len(rows):
            return np.empty((0, self._dim), np.float32)
        # Mapped only while rows are copied, so that the file is not counted to the process's memory.
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            table = np.frombuffer(mapped, np.float32).reshape(-1, self._dim)
            found = table[rows]
            del table
        return found
