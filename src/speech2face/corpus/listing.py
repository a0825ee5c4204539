"""What a reader of a corpus finds: clips, what is known of their speakers, and what is missing."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speech2face.corpus.clips import Clip, Clips
from speech2face.pipeline.rejects import Reject

AUDIO_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")
VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v", ".avi")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Identity:
    """What the corpus says of a speaker as a whole, as far as splits need it."""

    name: str | None = None
    number: int | None = None  # row in the dataset's list of speakers
    official: str | None = None  # dev or test
    split: str | None = None  # the user's own


@dataclass
class Listing:
    """The result of reading a corpus. `missing` names what a complete copy would have; it does not count as rejected."""

    clips: Clips = field(default_factory=Clips)
    identities: dict[str, Identity] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    missing: list[Reject] = field(default_factory=list)


def folders(directory: Path) -> list[str]:
    """Names of the folders in a directory, sorted, without hidden ones; none if it does not exist."""
    return _names(directory, True)


def files(directory: Path, suffixes: Sequence[str]) -> list[str]:
    """Names of the files in a directory that end in one of `suffixes` (in lower case), sorted, without hidden ones."""
    return [name for name in _names(directory, False) if name.lower().endswith(tuple(suffixes))]


def _names(directory: Path, of_folders: bool) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            # Hidden files are the systems' own (.DS_Store, ._0001.jpg), never a dataset's.
            return sorted(e.name for e in entries if _is_folder(e) == of_folders and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except (
        OSError
    ):  # a link that leads to itself, or to where nobody may look: listed as a file, which then cannot be read
        return False


def joined(*parts: str) -> str:
    """Relative path of non-empty parts."""
    return "/".join(part for part in parts if part)


def name_key(name: str) -> str:
    """A person's name in a form that survives file systems: composed characters, no blanks around it, no dot at its end."""
    return unicodedata.normalize("NFC", name).strip().rstrip(".").strip()


def evenly(items: Sequence[str], count: int | None) -> tuple[str, ...]:
    """At most `count` of the items, evenly spread; all of them for None."""
    if count is None or len(items) <= count:
        return tuple(items)
    return tuple(items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count))


def writable(clip: Clip) -> bool:
    """Whether a table can hold a clip's names, which must be valid UTF-8 for that."""
    try:
        "".join((clip.clip_id, clip.audio_path or "", clip.video_path or "", *clip.image_paths)).encode()
    except UnicodeEncodeError:
        return False
    return True
