"""EXIF entries of any type, also of types that a tag does not have."""

import struct

ORIENTATION = 0x0112
COUNTS = {1: 4, 2: 4, 3: 1, 5: 1, 7: 4, 9: 1, 12: 1, 13: 1}
"""How many values of a type (TIFF 6.0, section 2: bytes, text, short, rational, undefined, long, double, block) an entry of 4 bytes
holds; of rationals and doubles it holds where they are."""


def exif_of(*entries: tuple[int, int, bytes], order: str = "<") -> bytes:
    """A block of EXIF entries, each a tag, a type and 4 bytes, in a byte order of `struct`."""
    rows = b"".join(struct.pack(f"{order}HHI", tag, kind, COUNTS[kind]) + value for tag, kind, value in entries)
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(f"{order}IH", 8, len(entries)) + rows + bytes(4)


def turned(orientation: int, *others: tuple[int, int, bytes], order: str = "<") -> bytes:
    """A block with an orientation, and other entries."""
    return exif_of(*sorted([(ORIENTATION, 3, struct.pack(f"{order}HH", orientation, 0)), *others]), order=order)
