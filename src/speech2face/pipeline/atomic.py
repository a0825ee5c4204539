"""Writing files whole or not at all: written aside, flushed to disk, then moved onto their name."""

import errno
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIALS = ".*.partial"
"""Pattern of the names of files that are being written; those that a killed process left are the same."""


NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
"""Of a file system, or between two, that gives a file no second name, or no more of them."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. At the end of the block that file is flushed to disk and takes the name; if the block fails it
    is removed, and `path` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _aside(path)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to write into. At the end of the block its files are flushed to disk and it takes the name; what had the
    name is removed. If the block fails the new folder is removed, and `path` stays as it was."""
    partial, before = _aside(path), _aside(path)
    partial.mkdir()
    try:
        yield partial
        for file in partial.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if path.exists():
            path.rename(before)  # a folder that is not empty cannot be replaced in one step
        try:
            partial.rename(path)
        except OSError:
            if before.exists():
                before.rename(path)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _aside(path: Path) -> Path:
    """Where a file is written that is to be called `path`: a random name, because two machines may share the folder, and numbers of
    processes are their own."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def link(source: Path, target: Path) -> None:
    """Give a file, which is on the disk already, a second name, in place of what has it now; a copy where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _aside(target)
    try:
        partial.hardlink_to(source)
        partial.replace(target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        print(f"cannot link {target} ({error.strerror}); copying instead", file=sys.stderr)
        with replacing(target) as copy:
            shutil.copyfile(source, copy)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, "utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file: in the order given, two spaces deep. Raises ValueError for NaN and infinity."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
