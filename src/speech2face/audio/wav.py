"""Plain wav: integers and floats without compression, either byte order.

Some thirty times quicker than PyAV, and forgiving where headers err and the sound is whole: the sizes in RIFF headers are wrong
in many files. The layout: Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF, 1991), with
WAVEFORMATEXTENSIBLE (2001).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from speech2face.audio.blocks import Block, judge_loss, missing_at_end, mixed
from speech2face.pipeline.rejects import UnusableError, is_of_the_machine

FRAMES_PER_READ = 1 << 17
FRAMES_PER_READ_OF_MORE = 1 << 13  # channels: whether they cancel is looked at block by block
BYTES_PER_READ = 1 << 23  # for headers that claim thousands of channels

INTEGERS, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE
KNOWN_CHUNKS = (
    b"data",
    b"fmt ",
    b"LIST",
    b"fact",
    b"bext",
    b"cue ",
    b"JUNK",
    b"PEAK",
    b"smpl",
    b"id3 ",
    b"iXML",
    b"ID3 ",
)
MOST_CHUNKS = 1000
LARGEST_SIZE = 0xFFFFFFFF
UNKNOWN_SIZE = 0x7FFF0000  # from here on sizes are those of programs that write to a pipe and know none


@dataclass(frozen=True)
class Wav:
    """Where the samples of a file are and what they are: `dtype` of one of them, 3 bytes as `V3`; `bits` of them are used.

    `num_frames` are there; `stated_frames` were, by the header, or as many where it does not know.
    """

    path: Path
    start_byte: int
    num_frames: int
    stated_frames: int
    num_channels: int
    rate_hz: int
    dtype: np.dtype[Any]
    little_endian: bool
    bits: int
    extensible: bool


def open_wav(path: Path) -> Wav | None:
    """The layout of a plain wav file; None for any other format, compressed wav among them, and for headers that are beyond repair.

    Raises UnusableError for big-endian wav (RIFX) that is not plain, because nothing else reads it right, and for integers of fewer
    bits than they take of which nothing says which bits those are.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
                return None
            found = _layout(path, file, little_endian=head[:4] == b"RIFF")
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise UnusableError("unreadable", f"{path}: {error.strerror}; check that it can be read") from error
    if found is None and head[:4] == b"RIFX":
        raise UnusableError(
            "unreadable", f"{path}: big-endian wav (RIFX) that is compressed or damaged; save it as ordinary wav"
        )
    return found


def decode_wav(wav: Wav, start_s: float) -> Iterator[Block]:
    """Its samples from `start_s` on, or the last of them, block by block.

    Raises UnusableError with reason `unreadable` at the end if more than a small part is missing there.
    """
    first = max(0, min(round(start_s * wav.rate_hz), wav.num_frames - 1))
    shift = _unused_bits(wav)
    for position, data in _frames(wav, first):
        yield mixed(data << shift if shift else data, wav.rate_hz, position)
    missing = missing_at_end(wav.stated_frames, wav.num_frames, wav.rate_hz)
    judge_loss(wav.path, missing, wav.num_frames - first + missing, wav.rate_hz, "it breaks off")


def _layout(path: Path, file: BinaryIO, little_endian: bool) -> Wav | None:
    """Walk the chunks to the samples.

    Recorders leave the size of the whole in the header at what it was, so no sound is cut off by it. Where it is larger than the file
    and the size of the samples is too, the file was cut off; one of them alone is wrong.
    """
    num_bytes = file.seek(0, 2)
    order = "<" if little_endian else ">"
    file.seek(4)
    riff_size = struct.unpack(f"{order}I", file.read(4))[0]
    kind = None
    offset = 12
    for _ in range(MOST_CHUNKS):
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if name == b"data":
            if kind is None:
                return None
            start = offset + 8
            there = _data_bytes(file, start, size, num_bytes)
            broken_off = size < UNKNOWN_SIZE and start + size > num_bytes and riff_size + 8 > num_bytes
            return _wav(path, start, there, size if broken_off else there, kind, little_endian)
        if name == b"fmt ":
            kind = _kind(file.read(min(size, 40)), order)
            if kind is None:
                return None
        offset = _next_chunk(file, offset + 8, size)
    return None


def _next_chunk(file: BinaryIO, start: int, size: int) -> int:
    """Where the chunk after this one begins. Chunks of an odd size are padded with a zero, which some writers forget."""
    file.seek(start + size)
    forgotten = size % 2 and file.read(4) in KNOWN_CHUNKS
    return start + size + (0 if forgotten else size % 2)


def _data_bytes(file: BinaryIO, start: int, size: int, num_bytes: int) -> int:
    """Bytes of sound: up to the end of the file where the size is not known (pipes, recorders that were cut off), cannot be
    written in 32 bits, or is more than there is."""
    left = num_bytes - start
    if size == 0:
        file.seek(start)
        return 0 if file.read(4) in KNOWN_CHUNKS else left
    return left if num_bytes > LARGEST_SIZE else min(size, left)


def _kind(chunk: bytes, order: str) -> tuple[int, int, int, int, int, bool] | None:
    """Code of the samples, channels, rate, bytes of a sample, bits of it that are used, and whether the header is the extensible one."""
    if len(chunk) < 16:
        return None
    code, channels, rate_hz, _, block_bytes, bits = struct.unpack(f"{order}HHIIHH", chunk[:16])
    extensible = code == EXTENSIBLE and len(chunk) == 40
    if channels == 0 or rate_hz == 0 or bits == 0:
        return None
    sample_bytes = -(-bits // 8)
    per_channel, remainder = divmod(block_bytes, channels)
    # Samples of the usual sizes are never padded but by the extensible header: there the size of a block is wrong in some files.
    trusted = extensible or bits not in (8, 16, 32)
    if trusted and remainder == 0 and per_channel in (4, 8) and per_channel > sample_bytes:
        sample_bytes = per_channel
    if extensible:
        code = struct.unpack(f"{order}I", chunk[24:28])[0]
        used = struct.unpack(f"{order}H", chunk[18:20])[0]
        bits = used if 0 < used <= bits else bits
    return code, channels, rate_hz, sample_bytes, bits, extensible


def _wav(
    path: Path,
    start: int,
    size: int,
    stated_size: int,
    kind: tuple[int, int, int, int, int, bool],
    little_endian: bool,
) -> Wav | None:
    code, channels, rate_hz, sample_bytes, bits, extensible = kind
    names = {
        INTEGERS: {1: "u1", 2: "i2", 3: "V3", 4: "i4", 8: "i8"},
        FLOATS: {4: "f4", 8: "f8"},
    }.get(code, {})
    if sample_bytes not in names:
        return None
    dtype = np.dtype(names[sample_bytes]).newbyteorder("<" if little_endian else ">")
    frame_bytes = channels * sample_bytes
    frames, stated = size // frame_bytes, stated_size // frame_bytes
    return Wav(path, start, frames, stated, channels, rate_hz, dtype, little_endian, bits, extensible)


def _frames(wav: Wav, first: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Position and samples [T, channels], 3 bytes each as the upper ones of an int32."""
    frame_bytes = wav.num_channels * wav.dtype.itemsize
    most = FRAMES_PER_READ if wav.num_channels == 1 else FRAMES_PER_READ_OF_MORE
    at_once = max(1, min(most, BYTES_PER_READ // frame_bytes))
    with wav.path.open("rb") as file:
        file.seek(wav.start_byte + first * frame_bytes)
        while first < wav.num_frames:
            data = file.read(min(at_once, wav.num_frames - first) * frame_bytes)
            whole = len(data) - len(data) % frame_bytes
            if not whole:
                return
            yield first, _numbers(data[:whole], wav).reshape(-1, wav.num_channels)
            first += whole // frame_bytes


def _numbers(data: bytes, wav: Wav) -> npt.NDArray[Any]:
    if wav.dtype.itemsize != 3:
        return np.frombuffer(data, wav.dtype)
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    upper = slice(1, 4) if wav.little_endian else slice(0, 3)
    wide[:, upper] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4" if wav.little_endian else ">i4")[:, 0]


def _unused_bits(wav: Wav) -> int:
    """By how much integers of few bits in many bytes are to be shifted up, such as 24 bits in 32.

    The standard has them in the upper bits, some writers in the lower ones, and some (Cool Edit) write floats there; the file is read
    until a sample shows which.
    """
    unused = 8 * wav.dtype.itemsize - wav.bits
    if wav.dtype.kind != "i" or wav.dtype.itemsize < 4 or unused <= 0:
        return 0
    for _, data in _frames(wav, 0):
        if not (data & ((1 << unused) - 1)).any():
            continue
        if np.isin(data >> (wav.bits - 1), (0, -1)).all():  # nothing but the sign above them
            return unused
        if wav.extensible:
            return 0
        raise UnusableError(
            "unreadable",
            f"{wav.path}: integers of {wav.bits} bits in {8 * wav.dtype.itemsize} that fill all of them; save it with 16 or 24 bits",
        )
    return 0
