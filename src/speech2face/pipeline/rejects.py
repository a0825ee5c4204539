"""What a stage left out, and why: the rows of `data/rejects`, listed and counted by `speech2face rejects`."""

import errno
import os
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LISTED = 20
REJECTS = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("item", "stage", "reason", "message")])

REASONS = (
    "missing_file",
    "unreadable",
    "no_audio_stream",
    "too_short",
    "silent",
    "not_finite",
    "out_of_range",
    "timeout",
    "too_large",
    "no_face",
    "no_image",
    "vanished",
    "failed",
)
"""The fixed list of reasons for which an item is left out."""

MACHINE_ERRORS = (MemoryError, ImportError)
MACHINE_ERROR_NAMES = ("OutOfMemoryError", "AcceleratorError")  # of torch, by name: importing it costs seconds
MACHINE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Reject:
    """An item that could not be used: what it is, why (one of `REASONS`), and the message."""

    item: str
    reason: str
    message: str

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"a reject's reason must be one of {', '.join(REASONS)} (got {self.reason!r})")


class UnusableError(ValueError):
    """A recording, a picture or a video that cannot be used: `reason` is one of `REASONS`, the message one line that names the file."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that the error survives the way between processes
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """The net under what is done with one file: an exception that nobody foresaw becomes UnusableError with reason `failed`.

    The message names the file, the exception's type and its first line; with S2F_DEBUG the traceback is shown as well. What no file
    is to blame for goes through: want of memory, space or file handles, a library that is missing, a fault of the accelerator.
    Weights are to be loaded before, so that missing ones are an error and not everyone's reject.
    """
    try:
        yield
    except UnusableError:
        raise
    except Exception as error:
        if is_of_the_machine(error):
            raise
        if os.environ.get("S2F_DEBUG"):
            traceback.print_exception(error)
        lines = str(error).splitlines() or ["no message"]
        text = f"{path}: {type(error).__name__}: {lines[0][:LONGEST_MESSAGE]}"
        # A table holds no lone surrogates, which file names and tags that are not UTF-8 turn into.
        raise UnusableError("failed", text.encode("utf-8", "backslashreplace").decode()) from error


def is_of_the_machine(error: Exception) -> bool:
    """Whether an error is no file's fault: want of memory, space or file handles, a missing library, the accelerator."""
    if isinstance(error, MACHINE_ERRORS) or type(error).__name__ in MACHINE_ERROR_NAMES:
        return True
    return isinstance(error, OSError) and error.errno in MACHINE_ERRNOS


def in_a_line(error: Exception) -> str:
    """What an error says, its first line; its type if it says nothing."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def read_rejects(directory: Path) -> pa.Table:
    """The rejects of all stages that have run, from `data/rejects`. Raises ValueError if none has."""
    paths = sorted(directory.glob("*.parquet"))
    if not paths:
        raise ValueError(f"{directory} holds no rejects; no stage has run yet: dvc repro")
    return pa.concat_tables([pq.read_table(path, schema=REJECTS) for path in paths])


def rejects_report(
    root: Path, *, stage: str | None = None, reason: str | None = None, limit: int | None = LISTED
) -> str:
    """Counts by stage and reason, then the first `limit` (None: all) of the rejects of `stage` and `reason`, one a line.

    Raises ValueError for a stage or reason that no reject has, naming those there are.
    """
    rows = read_rejects(root / "data" / "rejects").to_pylist()
    for name, wanted in (("stage", stage), ("reason", reason)):
        known = sorted({row[name] for row in rows})
        if wanted is not None and wanted not in known:
            raise ValueError(f"no reject has the {name} {wanted!r}; there are {', '.join(known) or 'no rejects'}")
        rows = [row for row in rows if wanted in (None, row[name])]
    counts = Counter((row["stage"], row["reason"]) for row in rows)
    lines = [f"{len(rows)} rejects"]
    lines += [f"{count:8,}  {of_stage:16}  {why}" for (of_stage, why), count in sorted(counts.items())]
    shown = rows[:limit]
    if shown:
        lines += ["", *(f"{row['stage']}  {row['reason']}  {row['item']}: {row['message']}" for row in shown)]
    if len(shown) < len(rows):
        lines.append(f"... and {len(rows) - len(shown)} more")
    return "\n".join(lines)
