"""Decoding with PyAV: every format but plain wav. Damaged packets are passed over, and what is missing is silence of its length."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.frame import format_dtypes

from speech2face.audio.blocks import Block, judge_loss, missing_at_end, mixed
from speech2face.audio.packets import (
    DAMAGE,
    all_packets,
    clock_start_s,
    duration_of,
    open_container,
    packets_since,
    stated_end_s,
    time_of,
    track_of,
    tracks_of,
)
from speech2face.audio.raw_streams import Piece
from speech2face.audio.timeline import Timeline, TimeStampError
from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError, first_line, is_of_the_machine

# Decoders need what comes before to give what a reading of the whole gives: MP3 up to nine frames, Opus some 80 ms to be alike and
# more to be equal.
PREROLL_S = 1
STEP_S = 0.1  # resampling begins up to 63 ms after what it is given
PACKETS_TO_LEARN = 50
FRAMES_AHEAD = 3  # a frame and those that have to agree with its time stamp

LOST_OF_S = 10  # a recording is not judged by less than this, until its end
LARGEST_PEAK = 8.0  # a lossy codec's own overshoot is far below this, and what a damaged packet gives may be above


class _UndecodableError(Exception):
    """Nothing of a track could be decoded."""


class _Heard(NamedTuple):
    """A frame and its samples, [T, channels]; `lost_s`: as of `Piece`."""

    frame: av.AudioFrame
    data: np.ndarray
    lost_s: float | None


def decode_any(path: Path, start_s: float, deadline: Deadline) -> Generator[Block, None, None]:
    """The sound of a file from `start_s` or earlier on, block by block; of its tracks the best that can be decoded.

    Where nothing is found from `start_s` on, that is all of it. Raises UnusableError with reason `unreadable`, `no_audio_stream` or
    `timeout`.
    """
    failure = "no decoder for its sound"
    try:
        for choice in count():
            with open_container(path, deadline.limit_s) as container:
                tracks = tracks_of(path, container)
                if choice >= len(tracks):
                    break
                try:
                    yield from _decode_track(path, container, tracks[choice], start_s, deadline)
                    return
                except _UndecodableError as error:
                    failure = str(error)
    except UnusableError:
        raise
    except TimeoutError as error:
        raise UnusableError(
            "timeout", f"{path}: reading took longer than {deadline.limit_s:g} s; copy it to a faster disk"
        ) from error
    except TimeStampError as error:
        raise UnusableError("unreadable", f"{path}: {error}; cut it there, or write it anew") from error
    except DAMAGE as error:
        if is_of_the_machine(error):
            raise
        failure = first_line(error)
    raise UnusableError("unreadable", f"{path}: {failure}; check that it is a recording")


def _decode_track(
    path: Path, container: av.container.InputContainer, track: av.AudioStream, start_s: float, deadline: Deadline
) -> Iterator[Block]:
    """The sound from about `start_s` on; from the start of the track where a search finds nothing, as in recordings joined together."""
    if start_s <= PREROLL_S:
        yield from _Decoder(path, container, track, 0.0, deadline).blocks(None)
        return
    decoder = _Decoder(path, container, track, start_s, deadline)
    if decoder.learn():
        blocks = decoder.blocks(start_s - PREROLL_S)
        first = None
        with suppress(_UndecodableError):
            first = next(blocks, None)
        if first is not None:
            yield first
            yield from blocks
            return
    with open_container(path, deadline.limit_s) as again:
        yield from _Decoder(path, again, track_of(again, track.index), 0.0, deadline).blocks(None)


class _Decoder:
    """One pass over the packets of a track."""

    def __init__(
        self,
        path: Path,
        container: av.container.InputContainer,
        track: av.AudioStream,
        start_s: float,
        deadline: Deadline,
    ) -> None:
        self._timeline = Timeline(clock_start_s(container), track.codec_context.name)
        self._path, self._container, self._track = path, container, track
        self._earliest_s = max(0.0, start_s - STEP_S)
        self._deadline = deadline
        self._is_pcm = track.codec_context.name.startswith("pcm_")
        self._rate_hz = 0
        self._begin: int | None = None
        self._lost_s: float | None = None  # since the last frame; None: nothing
        self._lost = 0  # samples
        self._frame_s = 0.0
        self._failure: Exception | None = None

    def learn(self) -> bool:
        """Decode the first frames, and say whether frames from the middle can be placed as if all before them had been decoded."""
        with open_container(self._path, self._deadline.limit_s) as container:
            track = track_of(container, self._track.index)
            frames: list[av.AudioFrame] = []
            for packet, _ in islice(all_packets(self._path, container, track, self._deadline), PACKETS_TO_LEARN):
                if self._timeline.origin is None:
                    self._timeline.begin(time_of(packet))
                with suppress(*DAMAGE):
                    for frame in packet.decode():
                        assert isinstance(frame, av.AudioFrame)
                        frames += [frame] if frame.samples else []
                if len(frames) >= FRAMES_AHEAD:
                    break
        self._timeline.learn(frames[:FRAMES_AHEAD])
        unit = frames[0].time_base if frames else None
        fine = unit is not None and unit * frames[0].sample_rate <= 1
        return self._timeline.is_learned and (self._timeline.frames_on_grid or fine)

    def blocks(self, from_s: float | None) -> Iterator[Block]:
        """Decode from a time on the file's clock on, None: from the start.

        Raises _UndecodableError if everything fails, UnusableError if too much does.
        """
        ahead: deque[_Heard] = deque()
        for heard in self._frames(self._packets(from_s)):
            ahead.append(heard)
            if len(ahead) == FRAMES_AHEAD:
                yield from self._block(ahead)
        while ahead:
            yield from self._block(ahead)
        yield from self._end()

    def _packets(self, from_s: float | None) -> Iterator[Piece]:
        if from_s is None:
            return all_packets(self._path, self._container, self._track, self._deadline)
        assert self._timeline.origin is not None
        wanted_s = self._timeline.origin + from_s
        return packets_since(self._path, self._container, self._track, wanted_s, self._deadline)

    def _frames(self, packets: Iterator[Piece]) -> Iterator[_Heard]:
        """The frames that can be decoded, each with what was lost before it."""
        begun = False
        try:
            for packet, lost_s in packets:
                if self._timeline.origin is None:
                    self._timeline.begin(time_of(packet))
                if lost_s is not None:
                    self._lost_s = (self._lost_s or 0.0) + lost_s
                try:
                    frames = packet.decode()
                except DAMAGE as error:
                    self._lose(packet, error)
                    continue
                for frame in frames:
                    assert isinstance(frame, av.AudioFrame)
                    begun = begun or (frame.samples > 0 and self._timeline.may_begin(frame))
                    if frame.samples and begun and (data := self._data(frame, packet)) is not None:
                        yield _Heard(frame, data, self._lost_s)
                        self._lost_s = None
        except UnusableError:
            raise
        except DAMAGE as error:  # the container breaks off: what came before counts
            _raise_if_no_files_fault(error)
            self._failure = error

    def _data(self, frame: av.AudioFrame, packet: av.Packet) -> np.ndarray | None:
        """Its samples; None if they cannot be what was recorded."""
        data = _samples(frame)
        if not self._is_pcm and not np.abs(data).max(initial=0) <= _full_scale(data) * LARGEST_PEAK:
            self._lose(packet, ValueError("samples far above full scale"))
            return None
        self._frame_s = frame.samples / frame.sample_rate
        return data

    def _lose(self, packet: av.Packet, error: Exception) -> None:
        _raise_if_no_files_fault(error)
        if packet.size == 0:  # the call that asks for what the decoder still holds
            return
        self._failure = error
        self._lost_s = (self._lost_s or 0.0) + (duration_of(packet) or self._frame_s)

    def _block(self, ahead: deque[_Heard]) -> Iterator[Block]:
        """The first of the frames, and silence before it for what is missing."""
        frame, data, lost_s = ahead[0]
        if self._rate_hz not in (0, frame.sample_rate):
            raise UnusableError(
                "unreadable",
                f"{self._path}: changes from {self._rate_hz} to {frame.sample_rate} Hz; re-encode it at one rate",
            )
        self._rate_hz = frame.sample_rate
        gap = self._timeline.gap_before([heard.frame for heard in ahead], lost_s is not None, self._earliest_s)
        ahead.popleft()
        assert self._timeline.position is not None
        if self._begin is None:
            early = max(0, math.floor(self._earliest_s * frame.sample_rate) - self._timeline.position)
            if gap + frame.samples <= early:  # it was only to prepare the decoder
                self._timeline.position += gap + frame.samples
                return
            skipped = min(early, max(0, gap))
            self._timeline.position += skipped
            gap -= skipped
            self._begin = self._timeline.position
        if lost_s is not None:
            if frame.time is None:
                gap = round(lost_s * frame.sample_rate)
            self._lost += max(0, gap)
        yield from self._silence(gap)
        fresh = data[max(0, -gap) :]
        self._lost += len(data) - len(fresh)  # what the frame before it has already
        self._judge(LOST_OF_S)
        if len(fresh):
            yield mixed(fresh, frame.sample_rate, self._timeline.position)
        self._timeline.position += len(fresh)

    def _silence(self, num_samples: int) -> Iterator[Block]:
        while num_samples > 0:
            self._deadline.check()
            assert self._timeline.position is not None
            now = min(num_samples, self._rate_hz)
            yield Block(self._rate_hz, self._timeline.position, np.zeros(now, np.float32))
            self._timeline.position += now
            num_samples -= now

    def _end(self) -> Iterator[Block]:
        if self._begin is None:
            if self._failure is not None:
                raise _UndecodableError(first_line(self._failure))
            return
        missing = round((self._lost_s or 0.0) * self._rate_hz)
        self._lost += missing
        yield from self._silence(missing)
        stated_s = stated_end_s(self._path, self._container, self._track)
        assert self._timeline.position is not None
        if stated_s is not None:
            missing = missing_at_end(round(stated_s * self._rate_hz), self._timeline.position, self._rate_hz)
            self._lost += missing
            self._timeline.position += missing
        self._judge(0)

    def _judge(self, at_least_s: float) -> None:
        assert self._timeline.position is not None and self._begin is not None
        heard = max(self._timeline.position - self._begin, round(at_least_s * self._rate_hz))
        cause = "a part is not there" if self._failure is None else first_line(self._failure)
        judge_loss(self._path, self._lost, heard, self._rate_hz, cause)


def _raise_if_no_files_fault(error: Exception) -> None:
    if isinstance(error, TimeoutError | TimeStampError) or is_of_the_machine(error):
        raise error


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """[T, channels] in the frame's own numbers; as float64 where NumPy has none like them (64-bit integers)."""
    if frame.format.name not in format_dtypes:
        (frame,) = av.AudioResampler(format="dblp", layout=frame.layout, rate=frame.sample_rate).resample(frame)
    data = frame.to_ndarray()  # planar: [channels, T]; packed: [1, T * channels]
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    return data.T


def _full_scale(data: np.ndarray) -> float:
    return 1.0 if data.dtype.kind == "f" else float(np.iinfo(data.dtype).max)
