"""Time stamps for streams of bare frames (ADTS, MPEG audio), which have none: a frame's time is the number of those before it.

Where whole frames are damaged the reader passes over their bytes, and what follows would move up. The bytes say how many frames
they were: exactly at a constant bit rate, else by the mean size of those before, which in a long hole errs by some percent.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av

FRAMES_OF_MEAN = 50
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


def mpeg_times(pieces: Iterator[Piece], has_clock: bool) -> Iterator[Piece]:
    """The packets of MPEG audio, each cut to its frame: the parser puts damaged frames in front of the next whole one.

    `has_clock`: the container says when each packet is; else time stamps only count packets, and all after it are moved.
    """
    mean, shift, lost_s = _Mean(), 0, 0.0
    for piece in pieces:
        packet, data = piece.packet, bytes(piece.packet)
        time = packet.pts
        if not data or time is None or not packet.duration:
            yield Piece(packet, lost_s) if lost_s else piece
            continue
        begin = _frame_in(data)
        if begin == 0:
            mean.add(len(data))
        elif data.startswith(TAGS):
            continue
        missing = mean.frames_in(begin, len(data))
        lost_s += missing * float(packet.duration * packet.time_base)
        shift += missing * packet.duration
        if begin == len(data):
            shift -= packet.duration  # the packet counted as one
            continue
        if begin:
            packet = _cut(packet, data[begin:])
        packet.pts = packet.dts = time + shift
        yield Piece(packet, lost_s) if lost_s else piece
        lost_s = 0.0
        if has_clock:
            shift = 0


def _cut(packet: av.Packet, data: bytes) -> av.Packet:
    """A packet of the same time with other bytes."""
    new = av.Packet(data)
    new.stream, new.time_base = packet.stream, packet.time_base
    new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
    return new


def _frame_in(data: bytes) -> int:
    """Where in a packet of MPEG audio its frame begins, which ends with it; the packet's length if there is none.

    0 as well for what begins as a frame and is not: it may be cut off, or of a free format that does not say its size.
    """
    begin = 0
    while begin >= 0:
        if _mpeg_bytes(data[begin : begin + 4]) == len(data) - begin:
            return begin
        begin = data.find(b"\xff", begin + 1)
    return 0 if _is_sync(data) else len(data)


def _is_sync(header: bytes) -> bool:
    return len(header) >= 2 and header[0] == 0xFF and header[1] >= 0xE0


def _mpeg_bytes(header: bytes) -> int:
    """Bytes of a frame of MPEG audio (layers 2 and 3) by its first four; 0 if they are no header, or do not say."""
    if len(header) < 4 or not _is_sync(header):
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3: version 1, 2: 2, 0: 2.5; 2: layer 2, 1: layer 3
    rate, step = header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer not in (1, 2) or rate == 3 or not 0 < step < 15:
        return 0
    table = KBITS_V2 if version != 3 else KBITS_V1_LAYER_3 if layer == 1 else KBITS_V1_LAYER_2
    rate_hz = RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 576 if layer == 1 and version != 3 else 1152
    return samples // 8 * table[step - 1] * 1000 // rate_hz + (header[2] >> 1 & 1)


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
