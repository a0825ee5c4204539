"""Where a corpus is, what its ids say, and which of its paths may be opened."""

import os
from pathlib import Path, PurePosixPath

CORPUS = Path("data/corpus")


def from_params(path: str) -> Path:
    """A path of params.yaml: `~` is the home; what is relative is looked for in the working directory, then in the repository, because
    queued experiments run in a copy of it."""
    found = Path(path).expanduser()
    if not found.is_absolute() and not found.exists() and "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"]) / found
    return found


def corpus_root(root: str | None) -> Path:
    """Where the recordings are: the user's folder (that of the list, where `root` is a list), or the synthetic corpus."""
    if root is None:
        return CORPUS
    path = from_params(root)
    return path.parent if path.is_file() else path


def video_of(clip_id: str) -> str:
    """`<speaker>/<video>` of a clip or face id: what a voice and a face are paired by."""
    return "/".join(clip_id.split("/")[:2])


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
