"""Where a corpus is, and which of its paths may be opened."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from speech2face.pipeline.dvc_cache import cache_folder
from speech2face.pipeline.params import resolve_path

RECORDINGS = Path("data/recordings")
"""Where the recordings of the synthetic corpus are."""
CACHED = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")
"""Where in its cache DVC keeps a file, by its hash; the shorter way is that of DVC 2."""


def corpus_root(root: str | None) -> Path:
    """Where the recordings are: the user's folder (that of the list, where `root` is a list), or the synthetic corpus."""
    if root is None:
        return RECORDINGS
    path = resolve_path(root)
    return path.parent if path.is_file() else path


def places(root: str | None) -> dict[str, Any]:
    """The context of functions that read recordings: the corpus's `root`, and the `caches` of DVC that its links may lead into."""
    folder = corpus_root(root)
    return {"root": str(folder), "caches": dvc_caches(folder)}


def dvc_caches(root: Path) -> tuple[str, ...]:
    """The cache of the DVC repository that a corpus is in, if it is in one."""
    cache = cache_folder(root.resolve())
    return () if cache is None else (str(cache.resolve()),)


def inside(root: Path, relative: str, caches: Sequence[str] = ()) -> Path:
    """The file at `relative` below `root`, also where its name's accents are composed and those on disk are not, or the other way round.

    `caches` are folders, resolved, to which DVC may have linked files. Raises ValueError for an absolute path, or one that leaves the
    root, also by any other link.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise ValueError(
            f"{relative!r} must be a path below the corpus root, without .., backslashes or a leading slash"
        )
    path = _spelled_as_on_disk(root, pure.parts)
    try:
        target = path.resolve()
    except RuntimeError:  # a link that leads to itself, which whoever opens it will find
        return path
    if not target.is_relative_to(root.resolve()) and not any(_is_cached(target, Path(cache)) for cache in caches):
        raise ValueError(
            f"{relative!r} is a link that leads out of the corpus root {root}, to {target}; only DVC's links into its own cache may: copy "
            "the file into the root, or let corpus.root be a folder that holds both"
        )
    return path


def _is_cached(target: Path, cache: Path) -> bool:
    return target.is_relative_to(cache) and CACHED.fullmatch(target.relative_to(cache).as_posix()) is not None


def _spelled_as_on_disk(root: Path, parts: Sequence[str]) -> Path:
    path = root.joinpath(*parts)
    if "".join(parts).isascii() or os.path.lexists(path):
        return path
    found = root
    for part in parts:
        forms = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
        found /= next((form for form in forms if os.path.lexists(found / form)), part)
    return found


def why_changed(path: Path, size_bytes: int | None) -> str | None:
    """Why a listed file is not what it was when it was listed: it has vanished or has another size. None if all is well.

    A file of the same size with other content is found when the corpus is listed again.
    """
    try:
        now = path.stat().st_size
    except OSError as error:
        return f"{path}: {error.strerror}, though it was there when the corpus was listed; run dvc repro -f make_corpus"
    if size_bytes is not None and now != size_bytes:
        return f"{path}: {now} bytes, but {size_bytes} when the corpus was listed; run dvc repro -f make_corpus"
    return None
