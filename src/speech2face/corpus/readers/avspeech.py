"""AVSpeech: the published csv and a folder of clips or whole videos downloaded from it.

The csv (`avspeech_train.csv`, `avspeech_test.csv`) has no header: YouTube id, start and end in seconds, and the centre x, y of the
speaker's face at the start, as parts of the picture's width and height. Downloaders name files in several ways; read are
`<id>_<start>[_<end>].*`, with any number of decimals, for a clip that was cut out, and `<id>.*` for a whole video.

Nobody says who speaks. A YouTube video counts as one speaker, so that at least no video is in two splits, and each of its
segments as a video of that speaker.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from speech2face.corpus.clips import Clip
from speech2face.corpus.listing import VIDEO_SUFFIXES, Identity, Listing
from speech2face.corpus.readers.text_tables import read_rows
from speech2face.pipeline.rejects import Reject

LISTS = {"avspeech_train.csv": "dev", "avspeech_test.csv": "test"}
FILE_NAME = re.compile(r"(?P<id>[\w-]{11})(?:[_ -](?P<start>\d+(?:\.\d+)?)(?:[_ -](?P<end>\d+(?:\.\d+)?))?)?")
TOLERANCE_S = 0.01


def list_avspeech(root: Path) -> Listing:
    """The segments of the csv files whose video is there. Raises ValueError if there is no csv, no video, or a row is not one."""
    lists = {root / name: official for name, official in LISTS.items() if (root / name).exists()}
    if not lists:
        raise ValueError(
            f"corpus.root {root} has no {' or '.join(LISTS)}; download at least one, and the clips beside it"
        )
    found = _find_files(root)
    if not found:
        raise ValueError(f"corpus.root {root} has no videos named <YouTube id>_<start>_<end>.mp4 or <YouTube id>.mp4")
    listing, used = Listing(), set()
    absent: dict[str, int] = {}
    for path, official in lists.items():
        for youtube_id, start, end, x, y in _rows(path):
            match = _file_of(found.get(youtube_id, []), start)
            if match is None:
                absent[youtube_id] = absent.get(youtube_id, 0) + 1
                continue
            file, is_whole = match
            used.add(file)
            listing.clips.append(
                Clip(
                    f"{youtube_id}/{start:.3f}-{end:.3f}/00001",
                    youtube_id,
                    file,
                    video_path=file,
                    start_s=start if is_whole else None,
                    end_s=end if is_whole else None,
                    face_xy=(x, y),
                )
            )
            listing.identities.setdefault(youtube_id, Identity(official=official))
    for youtube_id, count in sorted(absent.items()):
        listing.missing.append(
            Reject(youtube_id, "missing_file", f"{count} segments of it are listed and not downloaded")
        )
    for youtube_id, named in found.items():
        for file, _ in named:
            if file not in used:
                message = f"{file}: no row of {' or '.join(p.name for p in lists)} is for it"
                listing.missing.append(Reject(youtube_id, "missing_file", message))
    return listing


def _rows(path: Path) -> Iterator[tuple[str, float, float, float, float]]:
    for line, row in read_rows(path, ","):
        try:
            start, end, x, y = map(float, row[1:])
            valid = 0 <= start < end and math.isfinite(end) and 0 <= x <= 1 and 0 <= y <= 1
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(
                f"{path} line {line} must be id,start,end,x,y with start < end and x, y in 0..1 (got {row})"
            )
        yield row[0], start, end, x, y


def _find_files(root: Path) -> dict[str, list[tuple[str, float | None]]]:
    """Video files anywhere below the root by YouTube id: path and the start that the name gives, None for a whole video."""
    found: dict[str, list[tuple[str, float | None]]] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            stem, _, suffix = name.rpartition(".")
            match = FILE_NAME.fullmatch(stem)
            if match and f".{suffix.lower()}" in VIDEO_SUFFIXES:
                start = match["start"]
                path = (Path(folder) / name).relative_to(root).as_posix()
                found.setdefault(match["id"], []).append((path, float(start) if start else None))
    return found


def _file_of(named: list[tuple[str, float | None]], start_s: float) -> tuple[str, bool] | None:
    """The file for a segment and whether it is the whole video: the cut clip whose name gives the nearest start, else the video."""
    cut = [(abs(start - start_s), path) for path, start in named if start is not None]
    exact = min((c for c in cut if c[0] <= TOLERANCE_S), default=None)
    rounded = min((c for c in cut if c[0] < 1 and float(dict(named)[c[1]] or 0).is_integer()), default=None)
    if best := exact or rounded:
        return best[1], False
    return next(((path, True) for path, start in named if start is None), None)
