"""Time stamps for streams of bare frames (ADTS, MPEG audio), which have none: a frame's time is the number of those before it.

Where whole frames are damaged the reader passes over their bytes, and what follows would move up. The bytes say how many frames
they were: exactly at a constant bit rate, else by the mean size of those before, which in a long hole errs by some percent.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av

FRAMES_OF_MEAN = 50
LONGEST_FRAME = 2048  # of MPEG audio: 1,729 bytes
MOST_STRANGE = 10  # frames of another kind in a row: then that is what they are
TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")  # what may follow the sound

# ISO 13818-7, 6.2: ADTS headers
ADTS_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
AAC_FRAME = 1024

# ISO 11172-3, 2.4.2.3, and 13818-3: headers of MPEG audio frames
RATES_HZ = (44_100, 48_000, 32_000)
KBITS_V1_LAYER_3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_V1_LAYER_2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
KBITS_V2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class Piece(NamedTuple):
    """A packet. `lost_s`: None where nothing is missing before it, else how much is; 0 where its time stamp has to say."""

    packet: av.Packet
    lost_s: float | None = None


class _Mean:
    """Running mean of the sizes of frames, bytes."""

    def __init__(self) -> None:
        self._mean, self._count = 0.0, 0

    def add(self, size: int) -> None:
        self._count = min(self._count + 1, FRAMES_OF_MEAN)
        self._mean += (size - self._mean) / self._count

    def frames_in(self, num_bytes: int, size: int) -> int:
        """How many frames some bytes were; `size` is taken for the mean where no frame is known."""
        return round(num_bytes / (self._mean or size))


def adts_times(path: Path, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The packets of an ADTS file, opened without parser, with time stamps: they count what lies between packets as well."""
    mean, time, frame_s, units = _Mean(), 0, 0.0, 0
    start = end = _after_id3(path)
    for number, piece in enumerate(pieces):
        packet = piece.packet
        if not packet.size:
            missing = mean.frames_in(_left_after(path, end), end - start) if number else 0
            yield Piece(packet, missing * frame_s) if missing else piece
            return
        assert packet.pos is not None
        if number == 0:
            frame_s = AAC_FRAME / _adts_rate_hz(bytes(packet))
            units = round(frame_s / packet.time_base) if packet.time_base else 0
            missing = mean.frames_in(packet.pos - end, packet.size)
        elif packet.pos == end:
            mean.add(end - start)
            missing = 0
        else:  # from the start of the last one, whose own length may be what is damaged
            missing = max(1, mean.frames_in(packet.pos - start, end - start)) - 1
        time += missing * units
        packet.pts = packet.dts = time
        packet.duration = units
        time += units
        start, end = packet.pos, packet.pos + packet.size
        yield Piece(packet, missing * frame_s) if missing else piece


def mpeg_times(pieces: Iterator[Piece], rate_hz: int, has_clock: bool) -> Iterator[Piece]:
    """The packets of MPEG audio of a rate, each one frame: after damage ffmpeg's parser puts several, and what is none, into one.

    `has_clock`: the container says when a packet is; else its time is the number of those before it and of those that are missing.
    """
    mean, splitter, time, frame_s = _Mean(), _Splitter(rate_hz), None, 0.0
    for piece in pieces:
        packet, data, lost_s = piece.packet, bytes(piece.packet), piece.lost_s
        if packet.pts is None or not packet.duration or data.startswith(TAGS):
            missing = 0 if data else mean.frames_in(splitter.num_left(), 1)
            yield Piece(packet, missing * frame_s) if missing else piece
            continue
        frame_s = float(packet.duration * packet.time_base)
        if time is None or (has_clock and not splitter.num_left()):
            time = packet.pts
        for num_bytes, frame in splitter.split(data):
            mean.add(len(frame))
            missing = mean.frames_in(num_bytes, len(frame))
            time += missing * packet.duration
            new = packet if len(frame) == len(data) else _cut(packet, frame)
            new.pts = new.dts = time
            yield Piece(new, missing * frame_s if missing else lost_s)
            time += packet.duration
            lost_s = None


def _cut(packet: av.Packet, data: bytes) -> av.Packet:
    """A packet of the same track and length with other bytes."""
    new = av.Packet(data)
    new.stream, new.time_base, new.duration = packet.stream, packet.time_base, packet.duration
    return new


class _Splitter:
    """Frames of MPEG audio of one version, layer and rate, out of packets that may hold more or less than one.

    In what is damaged much looks like a header, so a frame must end where its packet does or where another begins.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._kind: tuple[int, int] | None = None
        self._held = b""
        self._num_passed = 0  # bytes before those held that are in no frame
        self._num_strange = 0
        self._passes_all = False

    def split(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole, each with the number of bytes before it that are in none; all there is if nothing is known."""
        self._look_at(data)
        if self._kind is None or self._passes_all:
            return [(0, data)]
        held, begin, frames = self._held + data, 0, []
        while found := self._next_frame(held, begin):
            first, end = found
            frames.append((self._num_passed + first - begin, held[first:end]))
            self._num_passed, begin = 0, end
        keep = max(begin, len(held) - LONGEST_FRAME)
        self._num_passed += keep - begin
        self._held = held[keep:]
        return frames

    def num_left(self) -> int:
        """Bytes that are in no frame up to now."""
        return self._num_passed + len(self._held)

    def _look_at(self, data: bytes) -> None:
        """Learn of which kind the frames are; where they are of another kind from here on, give up."""
        size, rate_hz = _mpeg_frame(data[:4])
        if size == len(data) and rate_hz == self._rate_hz:
            self._kind, self._num_strange = self._kind or _kind(data), 0
        elif size == len(data):
            self._num_strange += 1
            if self._num_strange == MOST_STRANGE:
                self._held, self._num_passed, self._passes_all = b"", 0, True

    def _next_frame(self, held: bytes, begin: int) -> tuple[int, int] | None:
        begin = held.find(b"\xff", begin)
        while begin >= 0:
            end = begin + self._size(held[begin : begin + 4])
            if end > begin and (end == len(held) or self._size(held[end : end + 4])):
                return begin, end
            begin = held.find(b"\xff", begin + 1)
        return None

    def _size(self, header: bytes) -> int:
        size, _ = _mpeg_frame(header)
        return size if size and self._kind == _kind(header) else 0


def _kind(header: bytes) -> tuple[int, int]:
    """Version and layer, and the rate, as the header codes them."""
    return header[1] & 0x1E, header[2] & 0x0C


def _mpeg_frame(header: bytes) -> tuple[int, int]:
    """Bytes and rate of a frame of MPEG audio (layers 2 and 3) by its first four bytes; 0 if they are no header, or do not say."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0, 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3: version 1, 2: 2, 0: 2.5; 2: layer 2, 1: layer 3
    rate, step = header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer not in (1, 2) or rate == 3 or not 0 < step < 15:
        return 0, 0
    table = KBITS_V2 if version != 3 else KBITS_V1_LAYER_3 if layer == 1 else KBITS_V1_LAYER_2
    rate_hz = RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 576 if layer == 1 and version != 3 else 1152
    return samples // 8 * table[step - 1] * 1000 // rate_hz + (header[2] >> 1 & 1), rate_hz


def _adts_rate_hz(packet: bytes) -> int:
    """Rate of the samples that an ADTS frame codes; of 44.1 kHz if its header is damaged."""
    index = packet[2] >> 2 & 15 if len(packet) > 2 else 4
    return ADTS_RATES_HZ[index] if index < len(ADTS_RATES_HZ) else 44_100


def _after_id3(path: Path) -> int:
    """Where the sound begins: after tags (id3.org, ID3v2.4.0, 3.1), if there are any."""
    with path.open("rb") as file:
        head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for part in head[6:]:
        size = size << 7 | part & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _left_after(path: Path, end: int) -> int:
    """Bytes from `end` to the end of the file, tags excepted."""
    with path.open("rb") as file:
        file.seek(end)
        if file.read(16).startswith(TAGS):
            return 0
        return file.seek(0, 2) - end
