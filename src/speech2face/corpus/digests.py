"""Digests of a corpus's files, remembered from one listing to the next, so that only new and changed files are read."""

import contextlib
import os
import re
import sqlite3
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from speech2face.corpus.paths import inside
from speech2face.pipeline.machine import num_workers
from speech2face.pipeline.provenance import file_digest
from speech2face.pipeline.rejects import first_line, is_of_the_machine

BATCH = 500
FOLDERS = 10_000
"""Folders of which it is remembered whether they are inside the root."""
PLAIN = re.compile(r"[\w-][\w .-]*", re.ASCII)
"""Names of files that are spelled in one way only and lead nowhere else."""
SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again within one tick of its clock; it is not remembered."""

Stamp = tuple[int, int, int, int]  # size, times of change of content and of entry (ns), inode


class FileDigest(NamedTuple):
    """SHA-256 and size of a file, or why it could not be read: a reason of the list of rejects, and the message."""

    sha256: str = ""
    size_bytes: int = 0
    reason: str | None = None
    message: str = ""


class Digests:
    """Digests of the files of a corpus below `root`; `memory` is a file that remembers them, `caches` are of `paths.inside`.

    A remembered digest is used where size, times and inode are what they were.
    """

    def __init__(self, root: Path, memory: Path, caches: Sequence[str] = ()) -> None:
        self._root, self._caches = root, caches
        self._memory, self._pool = _Memory(memory, root.resolve()), ThreadPoolExecutor(num_workers())
        self._folder = lru_cache(FOLDERS)(self._folder_inside)

    def __enter__(self) -> "Digests":
        self._memory.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._memory.__exit__()

    def of(self, relatives: Iterable[str]) -> dict[str, FileDigest]:
        """Digests by relative path. Raises ValueError for a path that leaves the root."""
        names = sorted(set(relatives))
        batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        known = [self._memory.recall(batch) for batch in batches]
        found: dict[str, FileDigest] = {}
        fresh = []
        for digests in self._pool.map(self._of_batch, batches, known):
            for name, digest, stamp in digests:
                found[name] = digest
                if stamp is not None:
                    fresh.append((name, stamp, digest.sha256))
        self._memory.keep(fresh)
        return found

    def _of_batch(
        self, names: Sequence[str], known: Mapping[str, tuple[Stamp, str]]
    ) -> list[tuple[str, FileDigest, Stamp | None]]:
        found = []
        for name in names:
            path, status = self._plain(name) or (str(inside(self._root, name, self._caches)), None)
            found.append((name, *_digest(path, status, known.get(name))))
        return found

    def _plain(self, name: str) -> tuple[str, os.stat_result] | None:
        """Path and status of a file or folder that is no link, in a folder that is inside the root, which is most of them; of others
        `inside` is to judge, which takes ten times as long."""
        folder, _, last = name.rpartition("/")
        if not PLAIN.fullmatch(last) or (place := self._folder(folder)) is None:
            return None
        path = f"{place}/{last}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        return None if stat.S_ISLNK(status.st_mode) else (path, status)

    def _folder_inside(self, relative: str) -> str | None:
        if not relative:
            return str(self._root)
        if plain := self._plain(relative):
            return plain[0]
        try:
            return str(inside(self._root, relative, self._caches))
        except ValueError:
            return None


def _digest(
    path: str, status: os.stat_result | None, known: tuple[Stamp, str] | None
) -> tuple[FileDigest, Stamp | None]:
    """A file's digest, and its stamp if that is to be remembered. Raises OSError if the machine is to blame."""
    try:
        status = status or Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            return FileDigest(reason="unreadable", message=f"{path}: not a file that can be read"), None
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if known is not None and known[0] == stamp:
            return FileDigest(known[1], status.st_size), None
        digest = FileDigest(file_digest(Path(path)), status.st_size)
        settled = time.time_ns() - max(stamp[1], stamp[2]) > SETTLED_NS
        return digest, stamp if settled else None
    except FileNotFoundError:
        return FileDigest(reason="missing_file", message=f"{path}: no such file"), None
    except OSError as error:
        if is_of_the_machine(error):
            raise
        return FileDigest(reason="unreadable", message=f"{path}: {first_line(error)}; check that you may read it"), None


class _Memory:
    """Digests in an SQLite file. Losing it costs time only, so a file that cannot be used is left out with a warning."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, f"{root}{os.sep}"
        self.connection: sqlite3.Connection | None = None

    def __enter__(self) -> "_Memory":
        with self._tolerant():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(self.path, timeout=10)
            columns = "path TEXT PRIMARY KEY, size, mtime_ns, ctime_ns, inode, sha256"
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS digests ({columns}) WITHOUT ROWID")
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection is not None:
            self.connection.close()

    def recall(self, names: Sequence[str]) -> dict[str, tuple[Stamp, str]]:
        """What is remembered of files, which are sorted by their names."""
        known: dict[str, tuple[Stamp, str]] = {}
        with self._tolerant():
            if self.connection is not None:
                # From the first to the last in the order in which they are stored, which is faster than one by one.
                query = "SELECT * FROM digests WHERE path BETWEEN ? AND ?"
                wanted, start = set(names), len(self.root)
                for path, *stamp, sha256 in self.connection.execute(
                    query, [self.root + names[0], self.root + names[-1]]
                ):
                    if (name := path[start:]) in wanted:
                        known[name] = ((stamp[0], stamp[1], stamp[2], stamp[3]), sha256)
        return known

    def keep(self, rows: Sequence[tuple[str, Stamp, str]]) -> None:
        with self._tolerant():
            if self.connection is not None and rows:
                values = [(self.root + name, *stamp, sha256) for name, stamp, sha256 in rows]
                self.connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", values)
                self.connection.commit()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            print(
                f"{self.path} cannot be used ({error}); every file is read, delete it if this goes on", file=sys.stderr
            )
            if self.connection is not None:
                self.connection.close()
            self.connection = None
