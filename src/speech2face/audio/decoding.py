"""Decoding with PyAV: every format but plain wav. Damaged packets are passed over, and what is missing is silence of its length."""

from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path

import av
import numpy as np
from av.audio.frame import format_dtypes

from speech2face.audio.blocks import Block, Deadline, mixed
from speech2face.audio.timeline import Timeline, TimeStampError
from speech2face.corpus.containers import OPEN_OPTIONS
from speech2face.pipeline.rejects import UnusableError

# What PyAV raises over damaged files, besides its own errors: which one depends on where the damage is.
DAMAGE = (av.FFmpegError, OSError, ValueError, RuntimeError, AttributeError, LookupError, ArithmeticError, MemoryError)

# Decoders need what comes before to give what a reading of the whole gives: MP3 up to nine frames, Opus some 80 ms to be alike and
# more to be equal.
PREROLL_S = 1
SEEKABLE = ("mov", "matroska")  # whose seeking and time stamps can be relied on; others are searched packet by packet
PACKETS_TO_LEARN = 50

LARGEST_LOST_PART = 0.05
LOST_OF_S = 10  # a recording is not judged by less than this, until its end
LARGEST_PEAK = 8.0  # a lossy codec's own overshoot is far below this, and what a damaged packet gives may be above


class _UndecodableError(Exception):
    """Nothing of a track could be decoded."""


def decode_any(path: Path, start_s: float, deadline: Deadline) -> Generator[Block, None, None]:
    """The sound of a file from `start_s` or earlier on, block by block; of its tracks the best that can be decoded.

    Raises UnusableError with reason `unreadable`, `no_audio_stream` or `timeout`.
    """
    failure = "no decoder for its sound"
    try:
        for choice in count():
            with _open(path, deadline) as container:
                tracks = _tracks(path, container)
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
        failure = in_a_line(error)
    raise UnusableError("unreadable", f"{path}: {failure}; check that it is a recording")


def in_a_line(error: Exception) -> str:
    """What an error says, or its type if that is nothing."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _open(path: Path, deadline: Deadline) -> av.container.InputContainer:
    return av.open(f"file:{path}", timeout=deadline.limit_s, **OPEN_OPTIONS)


def _tracks(path: Path, container: av.container.InputContainer) -> list[av.AudioStream]:
    """The audio tracks that there is a decoder for, the best first."""
    tracks = list(container.streams.audio)
    if not tracks:
        raise UnusableError("no_audio_stream", f"{path}: has no sound; leave it out or use a file with an audio stream")
    best = container.streams.best("audio")
    tracks.sort(key=lambda track: best is None or track.index != best.index)
    return [track for track in tracks if track.codec_context is not None]


def _decode_track(
    path: Path, container: av.container.InputContainer, track: av.AudioStream, start_s: float, deadline: Deadline
) -> Iterator[Block]:
    start = container.start_time
    timeline = Timeline(None if start is None else start / av.time_base, track.codec_context.name)
    packets: Iterator[av.Packet] = container.demux(track)
    if start_s > PREROLL_S and _learn(path, track.index, timeline, deadline):
        assert timeline.origin is not None
        packets = _packets_from(container, track, timeline.origin + start_s - PREROLL_S, deadline)
    yield from _Decoder(path, track, timeline, deadline).blocks(packets)


def _learn(path: Path, index: int, timeline: Timeline, deadline: Deadline) -> bool:
    """Decode the first frames, and say whether frames from the middle can be placed as if all before them had been decoded."""
    with _open(path, deadline) as container:
        track = container.streams[index]
        for number, packet in enumerate(container.demux(track)):
            timeline.begin(_time(packet))
            try:
                frames = packet.decode()
            except DAMAGE:
                frames = []
            for frame in frames:
                assert isinstance(frame, av.AudioFrame)
                if timeline.learn(frame):
                    fine = frame.time_base is not None and frame.time_base * frame.sample_rate <= 1
                    return timeline.equal_frames or fine
            if number > PACKETS_TO_LEARN:
                break
    return False


def _packets_from(
    container: av.container.InputContainer, track: av.AudioStream, wanted: float, deadline: Deadline
) -> Iterator[av.Packet]:
    """The packets of a track from the time stamp `wanted` (s) on."""
    assert track.time_base is not None
    if sought := container.format.name.startswith(SEEKABLE):
        try:
            container.seek(int(wanted / float(track.time_base)), stream=track)
        except (av.FFmpegError, OSError):  # no index
            sought = False
    packets = container.demux(track)
    if sought:
        found = next(packets, None)
        time = None if found is None else _time(found)
        if time is None or time > wanted + PREROLL_S / 2:  # an index with holes
            container.seek(container.start_time or 0)
            packets = container.demux(track)
    for packet in packets:
        deadline.check()
        time = _time(packet)
        if packet.size == 0 or (time is not None and time >= wanted):
            yield packet
            break
    yield from packets


def _time(packet: av.Packet) -> float | None:
    return None if packet.pts is None or packet.time_base is None else float(packet.pts * packet.time_base)


class _Decoder:
    """One pass over the packets of a track."""

    def __init__(self, path: Path, track: av.AudioStream, timeline: Timeline, deadline: Deadline) -> None:
        self._path = path
        self._timeline = timeline
        self._deadline = deadline
        self._is_pcm = track.codec_context.name.startswith("pcm_")
        self._rate_hz = 0
        self._begin: int | None = None
        self._pending_s = 0.0  # lost since the last frame
        self._lost = 0  # samples
        self._last_packet_s = 0.0
        self._failure: Exception | None = None

    def blocks(self, packets: Iterator[av.Packet]) -> Iterator[Block]:
        """Decode them. Raises _UndecodableError if all fail, UnusableError if too many do."""
        try:
            for packet in packets:
                self._deadline.check()
                if self._timeline.origin is None:
                    self._timeline.begin(_time(packet))
                try:
                    frames = packet.decode()
                except TimeoutError:
                    raise
                except DAMAGE as error:
                    self._lose(packet, error)
                    continue
                for frame in frames:
                    assert isinstance(frame, av.AudioFrame)
                    if frame.samples and self._timeline.may_begin(frame):
                        yield from self._frame(frame, packet)
        except (TimeoutError, UnusableError, TimeStampError):
            raise
        except DAMAGE as error:  # the container breaks off: what came before counts
            self._failure = error
        yield from self._end()

    def _lose(self, packet: av.Packet, error: Exception) -> None:
        if packet.size == 0:  # the call that asks for what the decoder still holds
            return
        self._failure = error
        duration, unit = packet.duration, packet.time_base
        self._pending_s += float(duration * unit) if duration and unit else self._last_packet_s

    def _frame(self, frame: av.AudioFrame, packet: av.Packet) -> Iterator[Block]:
        if frame.sample_rate != self._rate_hz and self._rate_hz:
            raise UnusableError(
                "unreadable",
                f"{self._path}: changes from {self._rate_hz} to {frame.sample_rate} Hz; re-encode it at one rate",
            )
        self._rate_hz = frame.sample_rate
        self._last_packet_s = frame.samples / frame.sample_rate
        gap = self._timeline.gap_before(frame, damaged=self._pending_s > 0)
        data = _samples(frame)
        if not self._is_pcm and not np.abs(data).max(initial=0) <= _full_scale(data) * LARGEST_PEAK:
            self._lose(packet, ValueError("samples far above full scale"))
            return
        if self._begin is None:
            self._begin = self._timeline.position
        if self._pending_s:
            if frame.time is None:
                gap = round(self._pending_s * frame.sample_rate)
            self._lost += gap
            self._pending_s = 0.0
        yield from self._silence(gap)
        self._judge(LOST_OF_S)
        assert self._timeline.position is not None
        yield mixed(data, frame.sample_rate, self._timeline.position)
        self._timeline.position += frame.samples

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
                raise _UndecodableError(in_a_line(self._failure))
            return
        missing = round(self._pending_s * self._rate_hz)
        self._lost += missing
        yield from self._silence(missing)
        self._judge(0)

    def _judge(self, at_least_s: float) -> None:
        assert self._timeline.position is not None and self._begin is not None
        heard = self._timeline.position - self._begin
        if self._lost > LARGEST_LOST_PART * max(heard, at_least_s * self._rate_hz):
            raise UnusableError(
                "unreadable",
                f"{self._path}: {self._lost / self._rate_hz:.2f} of {heard / self._rate_hz:.2f} s are damaged, "
                f"{LARGEST_LOST_PART:.0%} are passed over ({in_a_line(self._failure or ValueError())}); copy it again",
            )


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
