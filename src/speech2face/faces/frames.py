"""Frames of a video at chosen times, by seeking, so that a long video costs what its frames cost."""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from speech2face.corpus.containers import OPEN_OPTIONS
from speech2face.faces.pictures import MAX_PIXELS
from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError, first_line, is_of_the_machine

SEEK_BEYOND_S = 2.0
"""Over a shorter way, decoding on is cheaper than going back to the key frame before the goal."""
MAX_NUMBER = 2**31 - 1  # as the face table has it; only a damaged time stamp gives more


@dataclass(frozen=True)
class Frame:
    """A frame: when it is shown (s), its number, and the picture, uint8 RGB [H, W, 3], upright.

    The number is that of its time at the video's average rate. Where the rate varies, a frame that would have the number of the one
    before it has the next.
    """

    number: int
    time_s: float
    image: np.ndarray


def read_frames(
    path: Path,
    at: Sequence[float],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    max_px: int,
    time_limit_s: float,
) -> Iterator[Frame]:
    """The frames of a video at the times `at`, parts (0..1) of the stretch from `start_s` to `end_s`, or of all of it.

    Pictures are turned and mirrored as the file says and scaled down to a longer side of `max_px`. Each time the decoder starts at
    the key frame before it; packets that are damaged are passed over, and no frame is given twice.
    Raises UnusableError with reason `missing_file`, `unreadable`, `no_image` (no pictures in the file), `too_large` or `timeout`
    (decoding took longer than `time_limit_s`; looked at between packets).
    """
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise UnusableError("missing_file", f"{path}: {what}; run dvc repro -f make_corpus")
    damage = "holds no frame that can be decoded"
    count, number = 0, -1
    try:
        with av.open(f"file:{path}", timeout=time_limit_s, **OPEN_OPTIONS) as container:
            stream = _video_stream(container, path)
            if stream.width * stream.height > MAX_PIXELS:
                size = f"{stream.width} x {stream.height}"
                raise UnusableError("too_large", f"{path}: {size} pixels, at most {MAX_PIXELS:,}; scale it down")
            clock = Deadline(path, time_limit_s, "re-encode it or raise faces.decode_limit_s")
            first = start_s or 0.0
            last = end_s if end_s is not None else _duration_s(container, stream, clock)
            reader = _Reader(container, stream, clock)
            for goal_s in sorted(first + part * max(last - first, 0.0) for part in at):
                frame = reader.frame_at(goal_s)
                damage = reader.damage or damage
                if frame is not None:
                    time_s = reader.time_s(frame)
                    number = max(number + 1, round(time_s * float(stream.average_rate or 25)))
                    if number > MAX_NUMBER:
                        damage = f"a time stamp of {time_s:g} s, which no video has"
                        break
                    found = Frame(number, time_s, _picture(frame, stream.sample_aspect_ratio, max_px))
                    count += 1
                    clock.pause()
                    yield found
                    clock.resume()
    except (av.FFmpegError, OSError) as error:
        damage = _damage(error)
    if not count:
        raise UnusableError("unreadable", f"{path}: {damage}; check that it plays, and copy it again or re-encode it")


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The stream of pictures: ffmpeg's choice, or the first one that can be decoded where that cannot."""
    best = container.streams.best("video")
    if best is None:
        raise UnusableError("no_image", f"{path}: has no pictures; leave it out or use a file with a video stream")
    for stream in (best, *container.streams.video):
        if isinstance(stream, av.VideoStream) and stream.codec_context is not None:  # None: ffmpeg has no decoder
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a later header may say another size
            return stream
    raise UnusableError("unreadable", f"{path}: no decoder knows its pictures; re-encode it, for example as H.264")


class _Reader:
    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, clock: Deadline) -> None:
        self.container, self.stream, self.clock = container, stream, clock
        self.origin_s = (container.start_time or 0) / av.time_base
        self.frames: Iterator[av.VideoFrame] | None = None
        self.last: av.VideoFrame | None = None
        self.can_seek = True
        self.damage = ""

    def frame_at(self, goal_s: float) -> av.VideoFrame | None:
        """The first frame that is shown at `goal_s` or after it, else the last one; None if that was given already, or is damaged."""
        before = self.last
        if self.frames is None or (
            self.can_seek and before is not None and goal_s - self.time_s(before) > SEEK_BEYOND_S
        ):
            self._seek(goal_s)
        elif before is not None and self.time_s(before) >= goal_s:
            return None
        try:
            assert self.frames is not None
            for frame in self.frames:
                self.last = frame
                if self.time_s(frame) >= goal_s - 1e-3:
                    break
        except av.FFmpegError as error:
            self.damage, self.frames = _damage(error), None
        if self.last is None or (before is not None and self.time_s(self.last) <= self.time_s(before)):
            return None
        return self.last

    def time_s(self, frame: av.VideoFrame) -> float:
        return float(frame.time or 0.0) - self.origin_s if frame.time is not None else 0.0

    def _seek(self, goal_s: float) -> None:
        if self.can_seek and goal_s > SEEK_BEYOND_S:
            try:
                self.container.seek(int((goal_s + self.origin_s) * av.time_base))
            except (av.FFmpegError, OSError, OverflowError) as error:
                _damage(error)
                self.can_seek = False  # no index, or a length that cannot be: decode from where it is
        self.frames = self._decode()

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self.container.demux(self.stream):
            self.clock.check()
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                self.damage = _damage(error)
                continue
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream, clock: Deadline) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    last = 0.0  # a recorder that did not know how long it would run: look at the packets, without decoding them
    for packet in container.demux(stream):
        clock.check()
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, float(packet.pts * packet.time_base))
    container.seek(0)
    return last - (container.start_time or 0) / av.time_base


def _picture(frame: av.VideoFrame, pixel_aspect: Fraction | None, max_px: int) -> np.ndarray:
    """uint8 RGB [H, W, 3] with square pixels, upright, its longer side at most `max_px`."""
    width, height = frame.width * float(pixel_aspect or 1), float(frame.height)
    scale = min(1.0, max_px / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = frame.reformat(*size, format="rgb24").to_ndarray()
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return image if matrix is None else np.ascontiguousarray(_upright(image, bytes(matrix)))


def _upright(image: np.ndarray, matrix: bytes) -> np.ndarray:
    """A picture as its display matrix shows it: mirrored, and turned by the nearest quarter. A singular matrix shows nothing and is
    ignored.

    ISO 14496-12, 8.3.2: (x, y) is shown at (a x + c y, b x + d y), y downwards; what it scales by, ffmpeg has put into the pixels' shape.
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    determinant = a * d - b * c
    if determinant == 0:
        return image
    if determinant < 0:
        image, a, b = image[:, ::-1], -a, -b
    return np.rot90(image, -round(math.degrees(math.atan2(b, a)) / 90))  # which turns counter-clockwise


def _damage(error: Exception) -> str:
    """What is wrong with a file, in a line. What no file is to blame for is raised again."""
    if is_of_the_machine(error):
        raise error
    return first_line(error)
