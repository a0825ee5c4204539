"""Packets of a track, from its start or from some time on: read on after damage, and with time stamps that know of what is missing."""

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from speech2face.audio.raw_streams import Piece, adts_times, mpeg_times
from speech2face.corpus.containers import OPEN_OPTIONS
from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError, is_of_the_machine

# What PyAV raises over damaged files, besides its own errors: which one depends on where the damage is.
DAMAGE = (av.FFmpegError, OSError, ValueError, RuntimeError, AttributeError, LookupError, ArithmeticError, MemoryError)

SEEKABLE = ("mov", "matroska")  # whose seeking and time stamps can be relied on; others are searched packet by packet
SEEK_BEYOND_S = 0.5  # a search that ends later than this after the time wanted missed something
PACKETS_BEFORE = 10  # MP3 needs nine frames
JOINED_S = 1  # time stamps that go back by more begin another recording
MPEG_AUDIO = ("mp3", "mp3float", "mp2", "mp2float")
MOST_TRIES = 50
PASSING_OVER = ("matroska", "mpegts")  # whose readers go on at the next cluster or packet and say nothing
MOST_OVERHEAD_BYTES = 500  # of a container between two packets
MOST_TAIL_BYTES = 4096
PACKETS_AFTER_DAMAGE = 5  # time stamps may leap a packet or two after it
XING_HEADER = re.compile(rb"\xff[\xe0-\xff]..[^\xff]{0,36}(Xing|Info|VBRI)", re.DOTALL)
LONGEST_XING_HEADER = 2000


def open_container(path: Path, limit_s: float) -> av.container.InputContainer:
    """Open a recording. Raises what PyAV raises (`DAMAGE`)."""
    container = av.open(f"file:{path}", timeout=limit_s, **OPEN_OPTIONS)
    if container.format.name != "aac":
        return container
    container.close()
    # The parser that cuts a stream into frames hides that bytes were passed over; ADTS can be read without.
    options: dict[str, Any] = {**OPEN_OPTIONS["options"], "fflags": "+noparse+nofillin"}
    return av.open(f"file:{path}", timeout=limit_s, **(OPEN_OPTIONS | {"options": options}))


def tracks_of(path: Path, container: av.container.InputContainer) -> list[av.AudioStream]:
    """The audio tracks that there is a decoder for, the best first. Raises UnusableError with reason `no_audio_stream`."""
    tracks = list(container.streams.audio)
    if not tracks:
        raise UnusableError("no_audio_stream", f"{path}: has no sound; leave it out or use a file with an audio stream")
    best = container.streams.best("audio")
    tracks.sort(key=lambda track: best is None or track.index != best.index)
    return [track for track in tracks if track.codec_context is not None]


def track_of(container: av.container.InputContainer, index: int) -> av.AudioStream:
    """The track of that number among all streams."""
    track = container.streams[index]
    assert isinstance(track, av.AudioStream)
    return track


def clock_start_s(container: av.container.InputContainer) -> float | None:
    """Time stamp at which the clock of a file starts, s; None if the file does not say."""
    if container.format.name == "aac":
        return 0.0
    return None if container.start_time is None else container.start_time / av.time_base


def all_packets(
    path: Path, container: av.container.InputContainer, track: av.AudioStream, deadline: Deadline
) -> Iterator[Piece]:
    """The packets from where the container stands to its end."""
    pieces = _packets(path, container, track, deadline)
    if container.format.name == "aac":
        return adts_times(path, pieces)
    if track.codec_context.name in MPEG_AUDIO:
        return mpeg_times(pieces, track.codec_context.sample_rate, has_clock=container.format.name != "mp3")
    return pieces


def packets_since(
    path: Path, container: av.container.InputContainer, track: av.AudioStream, wanted_s: float, deadline: Deadline
) -> Iterator[Piece]:
    """The packets from the time stamp `wanted_s` on; none where recordings are joined, of which time stamps say nothing."""
    assert track.time_base is not None
    end = (container.start_time or 0) + container.duration if container.duration else None
    # After the end that the header states there is another recording, if anything, and its time stamps begin anew.
    within = end is None or wanted_s * av.time_base <= end
    if sought := within and container.format.name.startswith(SEEKABLE):
        try:
            container.seek(int(wanted_s / float(track.time_base)), stream=track)
        except (av.FFmpegError, OSError):  # no index
            sought = False
    pieces = all_packets(path, container, track, deadline)
    if sought:
        found = next(pieces, None)
        time_s = None if found is None else time_of(found.packet)
        if time_s is None or time_s > wanted_s + SEEK_BEYOND_S:  # an index with holes
            container.seek(container.start_time or 0)
            pieces = all_packets(path, container, track, deadline)
    yield from _from_time(pieces, wanted_s)


def time_of(packet: av.Packet) -> float | None:
    """Time stamp of a packet, s."""
    return None if packet.pts is None or packet.time_base is None else float(packet.pts * packet.time_base)


def stated_end_s(path: Path, container: av.container.InputContainer, track: av.AudioStream) -> float | None:
    """Where a track ends by its container's header, s on its clock; None where no header says so or it is an estimate."""
    name, unit = container.format.name, track.time_base
    if unit is None:
        return None
    start_s = float((track.start_time or 0) * unit) - (container.start_time or 0) / av.time_base
    if name.startswith("mov") and track.duration:
        return start_s + float(track.duration * unit)
    if name in ("avi", "aiff", "caf") and track.frames:
        return start_s + float(track.frames * unit)
    if name == "flac":
        header = track.codec_context.extradata or b""
        num_samples = int.from_bytes(header[10:18], "big") & (1 << 36) - 1
        return num_samples / track.codec_context.sample_rate if num_samples else None
    if name == "mp3" and track.duration and _has_xing_header(path, container, track):
        return float(track.duration * unit)
    return None


def _has_xing_header(path: Path, container: av.container.InputContainer, track: av.AudioStream) -> bool:
    """Whether an mp3 says how long it is: in a frame of its own before the first that is sound."""
    container.seek(0)
    first = next(container.demux(track), None)
    if first is None or not first.pos:
        return False
    with path.open("rb") as file:
        file.seek(max(0, first.pos - LONGEST_XING_HEADER))
        return XING_HEADER.search(file.read(min(first.pos, LONGEST_XING_HEADER))) is not None


def _packets(
    path: Path, container: av.container.InputContainer, track: av.AudioStream, deadline: Deadline
) -> Iterator[Piece]:
    """The packets as they come. A container that breaks off is asked again: most can be read on after what is damaged."""
    alone = len(container.streams) == 1 and container.format.name.startswith(PASSING_OVER)
    # A FLAC file has no pauses, but its reader passes over what is damaged.
    pauses = container.format.name != "flac"
    tries = num_after = 0
    last: av.Packet | None = None
    while True:
        try:
            for packet in container.demux(track):
                deadline.check()
                lost_s = 0.0 if num_after or not pauses else None
                if alone and last is not None:
                    if packet.size == 0:
                        lost_s = _passed_over_s(path, last) or lost_s
                    elif _bytes_are_missing(last, packet):
                        lost_s, num_after = 0.0, PACKETS_AFTER_DAMAGE
                yield Piece(packet, lost_s)
                tries, num_after = 0, max(0, num_after - 1)
                last = packet
            return
        except (TimeoutError, UnusableError):
            raise
        except DAMAGE as error:
            tries, num_after = tries + 1, PACKETS_AFTER_DAMAGE
            if is_of_the_machine(error) or tries > MOST_TRIES:
                raise


def _bytes_are_missing(last: av.Packet, packet: av.Packet) -> bool:
    """Whether a leap in time is damage and no pause: the file has bytes there, and no other track that they could belong to."""
    time_s, last_s, length_s = time_of(packet), time_of(last), duration_of(last)
    if time_s is None or last_s is None or packet.pos is None or last.pos is None or not length_s:
        return False
    leap_s = time_s - last_s - length_s
    expected = leap_s * last.size / length_s
    return leap_s > length_s / 2 and packet.pos - last.pos - last.size > MOST_OVERHEAD_BYTES + 0.75 * expected


def _passed_over_s(path: Path, last: av.Packet) -> float:
    """How much sound the bytes after the last packet were, if they are too many for an index and tags."""
    if last.pos is None:
        return 0.0
    size = path.stat().st_size
    left = size - last.pos - last.size
    return left / last.size * duration_of(last) if left > MOST_TAIL_BYTES + size / 50 else 0.0


def _from_time(pieces: Iterator[Piece], wanted_s: float) -> Iterator[Piece]:
    """Those from `wanted_s` on, and a few before them for a decoder that begins after a gap; none if time stamps begin anew.

    Two packets have to agree, since one time stamp may be damaged.
    """
    before: deque[Piece] = deque(maxlen=PACKETS_BEFORE)
    held: Piece | None = None
    latest_s, num_back = float("-inf"), 0
    for piece in pieces:
        time_s = time_of(piece.packet)
        if piece.packet.size == 0 or (held is not None and time_s is not None and time_s >= wanted_s):
            yield from before
            if held is not None:
                yield held
            yield piece
            break
        if time_s is None:
            continue
        num_back = num_back + 1 if time_s < latest_s - JOINED_S else 0
        if num_back == 2:
            return
        latest_s = max(latest_s, time_s)
        if time_s >= wanted_s:
            held = piece
        else:
            held = None
            before.append(piece)
    yield from pieces


def duration_of(packet: av.Packet) -> float:
    """Length of a packet, s; 0 where the container does not say."""
    return float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0
