"""What the page shows of a voice: its face, the mean face, what differs, and how the picture changes with what is heard."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from speech2face.app.difference import Picture, difference
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.drawing.heard import Heard
from speech2face.drawing.model import NOTE, Features, Speech2Face
from speech2face.pipeline.rejects import UnusableError

MAX_HEARD_S = 60.0
DECODE_LIMIT_S = 20.0
FIRST_S = (1, 2, 4)
"""Beginnings of the first segment that are drawn by themselves."""
STEPS = (0.0, 1 / 3, 2 / 3, 1.0)
"""Of the way from the mean face to the prediction, and from there to as far as real faces are."""

Part = dict[str, Any]
Check = Callable[[], None]
"""Called between any two passes of a network; what it raises ends the work."""


class Voice(NamedTuple):
    """The usable segments of a recording, each float32 [T] at 16 kHz, and how many seconds are heard up to the end of each."""

    segments: list[np.ndarray]
    ends_s: list[float]


def hear(model: Speech2Face, path: Path, check: Check) -> Voice:
    """The first `MAX_HEARD_S` of a recording as `predict` hears them, decoded within `DECODE_LIMIT_S`.

    Raises UnusableError with a `reason` and one line that begins with the path.
    """
    heard = Heard(path, model.segment_s, decode_limit_s=DECODE_LIMIT_S, max_duration_s=MAX_HEARD_S)
    segments: list[np.ndarray] = []
    ends_s: list[float] = []
    for segment in heard:
        check()
        if segments:
            ends_s.append(heard.duration_s)
        segments.append(segment)
    return Voice(segments, [*ends_s, heard.duration_s])


@dataclass(frozen=True)
class Artist:
    """A model, the mean face that it starts from, uint8 RGB [224, 224, 3] and as a data URI, and the threads that listen to the segments
    of a voice beside each other."""

    model: Speech2Face
    mean: Picture
    mean_uri: str
    pool: ThreadPoolExecutor

    @classmethod
    def of(cls, model: Speech2Face, num_threads: int = 1) -> "Artist":
        """Draw the mean face once, and everything once, so that the first voice does not wait for what is only done once."""
        mean = np.asarray(model.mean_face())
        artist = cls(model, mean, data_uri(mean), ThreadPoolExecutor(num_threads))
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
        for _ in artist.draw(Voice([noise], [1.0]), lambda: None):
            pass
        return artist

    def draw(self, voice: Voice, check: Check) -> Iterator[Part]:
        """The answer, in parts that `join` puts together; the first has the face. Pictures are PNGs of 224 x 224 as data URIs.

        note: the sentence of what the face is not
        heard_s: seconds of the recording that can be used
        face, mean_face: pictures
        difference: picture, levels and words, as those of `Difference`
        growing: for each beginning of the recording its seconds and the face after it; None where it is silent
        stretched: from the mean face on, how many times as far from it (`stretch`) and the picture
        real_stretch: the stretch of a face that is as far from the mean face as real ones are
        """
        singles = self._features(voice.segments, check)
        found = singles.mean(0)
        face = self._face(found)
        uri = data_uri(face)
        changed = difference(face, self.mean)
        yield {
            "note": NOTE,
            "heard_s": round(voice.ends_s[-1], 2),
            "face": uri,
            "mean_face": self.mean_uri,
            "difference": changed._asdict() | {"picture": data_uri(changed.picture)},
        }
        for first_s in (s for s in FIRST_S if s * SAMPLE_RATE_HZ < len(voice.segments[0])):
            yield _grown(first_s, self._beginning(voice.segments[0], first_s, check))
        for count in _doublings(len(voice.ends_s), voice.ends_s):
            yield _grown(voice.ends_s[count - 1], data_uri(self._face(singles[:count].mean(0))))
            check()
        yield _grown(voice.ends_s[-1], uri)
        yield {"real_stretch": self.model.stretch}
        for stretch in steps(self.model.stretch):
            check()
            known = {0.0: self.mean_uri, 1.0: uri}.get(stretch)
            yield {"stretched": [{"stretch": stretch, "picture": known or data_uri(self._face(found, stretch))}]}

    def _features(self, segments: Sequence[np.ndarray], check: Check) -> Features:
        """What each of the segments says, [S, D]."""
        jobs = [self.pool.submit(self.model.features_of, [segment]) for segment in segments]
        found = []
        try:
            for job in jobs:
                check()
                found.append(job.result())
        finally:
            for job in jobs:
                job.cancel()
        return np.stack(found)

    def _face(self, features: Features, stretch: float = 1.0) -> Picture:
        return self.model.faces(features[None], stretch=stretch)[0]

    def _beginning(self, segment: np.ndarray, seconds: int, check: Check) -> str | None:
        """The face after some seconds of a segment; None where nothing can be heard in them."""
        check()
        try:
            features = self.model.features(segment[: seconds * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
        except UnusableError:
            return None
        return data_uri(self._face(features))


def steps(real_stretch: float) -> list[float]:
    """How far the faces between the mean face (0), the prediction (1) and `real_stretch` are; up to 1 only where that is not farther."""
    beyond = [1 + (real_stretch - 1) * step for step in STEPS[1:]] if real_stretch > 1 else []
    return [*STEPS, *beyond]


def join(parts: Iterable[Part]) -> Part:
    """The whole answer: lists are continued by the parts that follow."""
    whole: Part = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = whole[key] + value if key in whole else value
    return whole


def data_uri(picture: Picture) -> str:
    """A picture, uint8 RGB [H, W, 3], as a PNG in a data URI."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "png", compress_level=1)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def _grown(seconds: float, picture: str | None) -> Part:
    return {"growing": [{"seconds": round(seconds, 2), "picture": picture}]}


def _doublings(num_segments: int, ends_s: list[float]) -> Iterator[int]:
    """After how many segments, but the last, a face is drawn: the first, and whenever twice as much has been heard."""
    last_s = 0.0
    for count in range(1, num_segments):
        if ends_s[count - 1] >= 2 * last_s:
            last_s = ends_s[count - 1]
            yield count
