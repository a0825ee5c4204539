"""Mutated files, the same ones for the same seed: flipped bytes, lost and repeated pieces, numbers at the edge of what they can be."""

import random
import struct

EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
HEADER_BYTES = 512
FORMAT_TAGS = (0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0xFF, 0x161, 0x2000, 0xF1AC, 0xFFFE, 0xFFFF)


def mutated(content: bytes, seed: int) -> bytes:
    """`content` after one to four changes."""
    rng = random.Random(seed)
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if len(changed) < 2:
            break
        rng.choice((_flip, _flip, _edge, _edge, _cut, _lose, _repeat, _blank))(changed, rng)
    return bytes(changed)


def mutated_wav(seed: int) -> bytes:
    """A wav file of a ramp whose header's fields are each drawn from usual, unusual and impossible values."""
    rng = random.Random(seed)

    def either(usual: int, *others: int, bits: int = 32) -> int:
        value = usual if rng.random() < 0.6 else rng.choice((*others, *EDGES))
        return value % (1 << bits)

    data = b"".join(struct.pack("<h", (13 * i) % 20_000 - 10_000) for i in range(20_000))
    layout = struct.pack(
        "<HHIIHH",
        either(1, *FORMAT_TAGS, bits=16),
        either(1, 2, 6, bits=16),
        either(16_000, 8_000, 44_100, 999_999),
        either(32_000, 16_000),
        either(2, 1, 4, 6, bits=16),
        either(16, 4, 8, 12, 20, 24, 32, 64, bits=16),
    )
    layout += rng.choice((b"", b"", b"\0\0", rng.randbytes(22), struct.pack("<HHI", 22, 16, 4) + b"\1\0" + bytes(14)))
    extra = rng.choice(
        (b"", b"", _chunk(b"LIST", rng.randbytes(9)), _chunk(b"fact", rng.randbytes(4)), rng.randbytes(7))
    )
    chunks = [
        _chunk(b"fmt ", layout, either(len(layout), 16, 18, 40)),
        extra,
        _chunk(b"data", data, either(len(data), len(data) + 1, len(data) // 2)),
    ]
    if rng.random() < 0.1:
        rng.shuffle(chunks)
    body = b"WAVE" + b"".join(chunks)
    magic = rng.choice((b"RIFF",) * 8 + (b"RIFX", b"RF64"))
    return magic + struct.pack("<I", either(len(body), 36, len(body) - 1)) + body


def _chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def _place(changed: bytearray, rng: random.Random) -> int:
    """Anywhere, but most of all in the header."""
    return rng.randrange(min(len(changed), HEADER_BYTES) if rng.random() < 0.6 else len(changed))


def _flip(changed: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8, 64))):
        changed[_place(changed, rng)] = rng.randrange(256)


def _edge(changed: bytearray, rng: random.Random) -> None:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    start = _place(changed, rng)
    value = (rng.choice(EDGES) % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    changed[start : start + size] = value[: len(changed) - start]


def _cut(changed: bytearray, rng: random.Random) -> None:
    del changed[_place(changed, rng) + 1 :]


def _lose(changed: bytearray, rng: random.Random) -> None:
    start = _place(changed, rng)
    del changed[start : start + rng.choice((1, 4, 100, 1000))]


def _repeat(changed: bytearray, rng: random.Random) -> None:
    start, target = _place(changed, rng), _place(changed, rng)
    changed[target:target] = changed[start : start + rng.choice((1, 4, 100, 1000))]


def _blank(changed: bytearray, rng: random.Random) -> None:
    start = _place(changed, rng)
    size = min(rng.choice((4, 100, 1000)), len(changed) - start)
    changed[start : start + size] = bytes(size)
