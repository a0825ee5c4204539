"""Where a corpus is, and which of its paths may be opened."""

from pathlib import Path, PurePosixPath

from speech2face.pipeline.params import resolve_path

RECORDINGS = Path("data/recordings")
"""Where the recordings of the synthetic corpus are."""


def corpus_root(root: str | None) -> Path:
    """Where the recordings are: the user's folder (that of the list, where `root` is a list), or the synthetic corpus."""
    if root is None:
        return RECORDINGS
    path = resolve_path(root)
    return path.parent if path.is_file() else path


def inside(root: Path, relative: str) -> Path:
    """The file at `relative` below `root`. Raises ValueError for an absolute path, or one that leaves the root, also by a link."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise ValueError(
            f"{relative!r} must be a path below the corpus root, without .., backslashes or a leading slash"
        )
    path = root / pure
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{relative!r} is a link that leads out of the corpus root {root}; copy the file into it")
    return path


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
