"""EXIF entries of any type, also of types that a tag does not have."""

import struct

ORIENTATION = 0x0112
COUNTS = {1: 4, 2: 4, 3: 1, 5: 1, 7: 4, 9: 1, 12: 1, 13: 1}
"""How many values of a type (TIFF 6.0, section 2: bytes, text, short, rational, undefined, long, double, block) an entry of 4 bytes
holds; of rationals and doubles it holds where they are."""


def exif_of(*entries: tuple[int, int, bytes]) -> bytes:
    """A block of EXIF entries, each a tag, a type and 4 bytes."""
    rows = b"".join(struct.pack("<HHI", tag, kind, COUNTS[kind]) + value for tag, kind, value in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4)


def turned(orientation: int, *others: tuple[int, int, bytes]) -> bytes:
    """A block with an orientation, and other entries."""
    return exif_of(*sorted([(ORIENTATION, 3, struct.pack("<HH", orientation, 0)), *others]))
