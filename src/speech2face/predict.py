"""The command `predict`: from recordings to pictures of the faces that such voices typically have."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from tqdm import tqdm

from speech2face.drawing.heard import Heard
from speech2face.drawing.model import NOTE, Speech2Face
from speech2face.drawing.sheet import contact_sheet
from speech2face.pipeline import machine
from speech2face.pipeline.atomic import replacing
from speech2face.pipeline.progress import progress
from speech2face.pipeline.rejects import UnusableError, escaped
from speech2face.training.validation import MAX_STRETCH

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
RECORDINGS = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".au", ".caf", ".amr"),
    *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".3gp"),
)
"""What a folder is searched for; a file that is named itself may have any name."""
NOTE_OF_MANY = "Faces that are typical of such voices. They are not the speakers' faces: do not use them to identify or judge anyone."

MAX_ON_SHEET = 500


class _Job(NamedTuple):
    voice: Path
    picture: Path
    label: str


class _Drawn(NamedTuple):
    job: _Job
    error: UnusableError | None


def predict(
    voices: Sequence[Path],
    out: Path | None,
    models: Path,
    device: torch.device,
    *,
    stretch: float = 1.0,
    sheet: Path | None = None,
) -> int:
    """Draw the face of each recording, print what was done, and return the exit status.

    One recording is drawn into the picture `out` (default: face.png). Several, or a folder with recordings in it or below, are drawn into
    the folder `out` (default: faces), which is made; there one that cannot be used is a line on standard error, the others are drawn all
    the same, and the status is 1. `sheet` is a picture of all faces with the names of the recordings. `stretch` as in
    `Speech2Face.faces`.

    Raises ValueError (UnusableError for a single recording) or OSError that says what is wrong, and then has written nothing.
    """
    if not 0 <= stretch <= MAX_STRETCH:
        raise ValueError(f"--stretch must be from 0 to {MAX_STRETCH:g} (got {stretch:g})")
    single = len(voices) == 1 and not voices[0].is_dir()
    if sheet is not None:
        _check_picture(sheet)
    if single and (out is None or not out.is_dir()):
        picture = out or Path("face.png")
        _check_picture(picture)
        jobs = [_Job(voices[0], picture, voices[0].name)]
    else:
        folder = out or Path("faces")
        jobs = _jobs(voices, folder)
    model = Speech2Face.load(models, device)
    if single:
        print(_draw_one(model, jobs[0], stretch))
        drawn, status = jobs, 0
    else:
        drawn, reasons = _draw_many(model, jobs, stretch)
        left_out = f", {reasons.total()} left out ({', '.join(f'{n} {why}' for why, n in reasons.most_common())})"
        print(f"{folder}: {len(drawn)} faces{left_out if reasons else ''}")
        status = 1 if reasons else 0
    if sheet is not None and drawn:
        _save(_sheet(model, drawn), sheet)
        print(f"{sheet}: {len(drawn[:MAX_ON_SHEET])} of {len(jobs)} faces on one sheet")
    print(NOTE if single else NOTE_OF_MANY)
    return status


def _draw_one(model: Speech2Face, job: _Job, stretch: float) -> str:
    heard = Heard(job.voice, model.segment_s)
    features = model.features_of(progress(heard, None, "listening", "segments"))
    _save(Image.fromarray(model.faces(features[None], stretch=stretch)[0]), job.picture)
    how = f"{stretch:.2g} times as far from the mean face as predicted; real faces are {model.stretch:.2g} times as far"
    far = f"\nThe face is {how}." if stretch != 1 else ""
    return f"{job.picture}: drawn from {heard.duration_s:.1f} s of {job.voice}.{far}"


def _draw_many(model: Speech2Face, jobs: Sequence[_Job], stretch: float) -> tuple[list[_Job], Counter[str]]:
    """Draw each of the jobs into its picture; returns those that could be drawn, and why how many could not."""

    def draw(job: _Job) -> _Drawn:
        try:
            face = model.draw(job.voice, stretch=stretch)
        except UnusableError as error:
            return _Drawn(job, error)
        _save(face, job.picture)
        return _Drawn(job, None)

    drawn, reasons = [], Counter[str]()
    with machine.threads(on_device=True) as pool:
        for job, error in progress(pool.imap(draw, jobs), len(jobs), "drawing", "faces"):
            if error is None:
                drawn.append(job)
            else:
                reasons[error.reason] += 1
                tqdm.write(f"speech2face: left out: {error}", file=sys.stderr)
    return drawn, reasons


def _sheet(model: Speech2Face, drawn: Sequence[_Job]) -> Image.Image:
    shown = drawn[:MAX_ON_SHEET]

    def faces() -> Iterator[tuple[str, Image.Image]]:
        yield "mean face", model.mean_face()
        for job in shown:
            with Image.open(job.picture) as picture:
                yield escaped(job.label), picture.convert("RGB")

    return contact_sheet(faces(), len(shown) + 1, NOTE if len(shown) == 1 else NOTE_OF_MANY)


def _jobs(voices: Sequence[Path], folder: Path) -> list[_Job]:
    """A picture in `folder` for each recording, named as it is; what was found in a folder keeps the folders between, and those of
    several folders the folders' own names.

    Raises ValueError where there is nothing to draw, or where the folder cannot be written.
    """
    found: list[tuple[Path, Path]] = []
    for voice in voices:
        if voice.is_dir():
            inside = sorted(path for path in voice.rglob("*") if path.suffix.lower() in RECORDINGS and path.is_file())
            if not inside:
                raise ValueError(f"{voice} holds no recording ({', '.join(RECORDINGS)})")
            top = voice if len(voices) == 1 else voice.parent
            found += [(path, path.relative_to(top)) for path in inside]
        else:
            found.append((voice, Path(voice.name)))
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(
            f"{folder} must be a folder that you may write to, because several faces are drawn; name another with --out"
        )
    # Two recordings may differ in nothing but their suffix, or in the folder that was named.
    names = Counter(name.with_suffix("") for _, name in found)
    jobs, taken = [], set[Path]()
    for voice, name in found:
        stem = name.with_suffix("") if names[name.with_suffix("")] == 1 else name
        picture, number = stem, 1
        while picture in taken:
            number += 1
            picture = stem.with_name(f"{stem.name}-{number}")
        taken.add(picture)
        jobs.append(_Job(voice, folder / f"{picture}.png", str(name)))
    return jobs


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{out} must end in one of {', '.join(SUFFIXES)}")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(
            f"{out} cannot be written: {out.parent} must be a folder that exists and that you may write to"
        )


def _save(picture: Image.Image, out: Path) -> None:
    with replacing(out) as partial:
        picture.save(partial, Image.registered_extensions()[out.suffix.lower()])
