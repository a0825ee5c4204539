"""An estimate as text: a table of 80 columns for a terminal, or Markdown."""

import math
from collections.abc import Sequence

from speech2face.estimate.corpora import CorpusSize
from speech2face.estimate.model import CANONICAL_FILE_BYTES, Machine, Row, count
from speech2face.pipeline.params import Params

HEADER = ("stage", "time", "memory", "disk")
MINUTE_S, HOUR_S = 60.0, 3600.0
MOST_MINUTES = 90


def two_digits(value: float) -> str:
    """A number of at least 0, rounded to the two digits that are known of it, with commas between thousands."""
    if not value:
        return "0"
    rounded = float(f"{value:.2g}")
    digits = max(0, 1 - math.floor(math.log10(rounded)))
    return f"{rounded:,.{min(digits, 3)}f}"


def time_text(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < MOST_MINUTES:
        return f"{two_digits(seconds)} s"
    if seconds < MOST_MINUTES * MINUTE_S:
        return f"{two_digits(seconds / MINUTE_S)} min"
    return f"{two_digits(seconds / HOUR_S)} h"


def memory_text(mib: float) -> str:
    """MiB or GiB."""
    return f"{two_digits(mib)} MiB" if mib < 1000 else f"{two_digits(mib / 1024)} GiB"


def disk_text(num_bytes: float) -> str:
    """kB, MB, GB or TB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{two_digits(num_bytes / size)} {unit}"
    return f"{two_digits(num_bytes / 1e3)} kB"


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The rows as texts, the last of which sums the others up: of the memory it is the most, because stages run one after the other."""
    total = Row("total", sum(r.seconds for r in rows), max(r.memory_mib for r in rows), sum(r.bytes for r in rows))
    return [(r.stage, time_text(r.seconds), memory_text(r.memory_mib), disk_text(r.bytes)) for r in [*rows, total]]


def machine_text(machine: Machine) -> str:
    """A machine in words."""
    processors = f"{machine.processors} processor{'s' if machine.processors > 1 else ''}"
    return f"{processors}, {machine.gpus or 'no'} GPU{'s' if machine.gpus > 1 else ''}"


def notes(corpus: CorpusSize, params: Params) -> list[str]:
    """What the rows leave out."""
    counts = count(corpus, params)
    canonical = CANONICAL_FILE_BYTES * (counts["train_speakers"] + counts["val_speakers"])
    recordings = disk_text(corpus.bytes_to_read(params.corpus.pictures_per_video))
    lines = [
        f"not counted: downloads, and waiting for the {recordings} of recordings to be read",
        "without reflinks (ext4) .work/ and DVC's cache hold all: twice the disk",
    ]
    if canonical > 1e9:
        lines.append(f"while the decoder is trained, {disk_text(canonical)} more on the disk")
    return lines


def text(corpus: CorpusSize, machine: Machine, rows: Sequence[Row], remarks: Sequence[str]) -> str:
    """The table for a terminal."""
    found = [HEADER, *cells(rows)]
    widths = [max(len(row[column]) for row in found) for column in range(len(HEADER))]
    lines = [
        "  " + row[0].ljust(widths[0]) + "".join(f"   {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in found
    ]  # fmt: skip
    title = f"{corpus.title}: {corpus.clips:,} clips, {corpus.videos:,} videos, {corpus.speakers:,} speakers"
    return "\n".join([title, f"on {machine_text(machine)}", *lines, *remarks])


def markdown(estimates: Sequence[tuple[CorpusSize, Sequence[Row]]]) -> str:
    """One table of several corpora: time, memory and disk of each stage."""
    names = [corpus.title for corpus, _ in estimates]
    lines = [f"| stage | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    of_stages = zip(*(cells(rows) for _, rows in estimates), strict=True)
    lines += [f"| {row[0][0]} | {' | '.join(', '.join(cell[1:]) for cell in row)} |" for row in of_stages]
    return "\n".join(lines)
