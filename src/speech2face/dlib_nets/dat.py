"""The primitive types of dlib's `.dat` serialisation.

Source: dlib 20.0.1, `serialize.h` (integers, booleans, strings), `float_details.h` (floats), `dnn/tensor.h`
(tensors). Every error is a `ValueError` that names the offset of the item and what was expected there. Lengths are
checked against the bytes that are left before anything is made of them, so a hostile length costs nothing.
"""

import math
from typing import NoReturn

import numpy as np

MAX_STRING_BYTES = 256  # names of layers and labels; dlib's longest has 30
# Exponents that stand for what a mantissa and a power of two cannot say (float_details.h).
_INFINITY, _MINUS_INFINITY, _NAN = 32000, 32001, 32002


class DatReader:
    """A cursor over the bytes of a `.dat` file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    @property
    def remaining(self) -> int:
        """The number of bytes not yet read."""
        return len(self._data) - self.offset

    def fail(self, expected: str, offset: int | None = None) -> NoReturn:
        """Raise the ValueError of this reader: `expected` was not found at `offset` (default: here)."""
        raise ValueError(f"dlib model file, byte {self.offset if offset is None else offset}: expected {expected}")

    def take(self, num_bytes: int, what: str) -> bytes:
        """The next `num_bytes` bytes."""
        if num_bytes > self.remaining:
            self.fail(f"{what} ({num_bytes} bytes), but the file has {self.remaining} left")
        start, self.offset = self.offset, self.offset + num_bytes
        return self._data[start : self.offset]

    def starts_with(self, prefix: bytes, skip: int = 0) -> bool:
        """Whether the bytes after the next `skip` are `prefix`; reads nothing."""
        return self._data.startswith(prefix, self.offset + skip)

    def integer(self, what: str, low: int = 0, high: int = 2**31 - 1) -> int:
        """An integer of any C++ type: a control byte (sign, number of bytes), then the magnitude, little endian."""
        start = self.offset
        control = self.take(1, what)[0]
        num_bytes = control & 0x0F
        if control & 0x70 or not 1 <= num_bytes <= 8:
            self.fail(f"{what}: an integer, not a control byte of 0x{control:02x}", start)
        magnitude = int.from_bytes(self.take(num_bytes, what), "little")
        value = -magnitude if control & 0x80 else magnitude
        if not low <= value <= high:
            self.fail(f"{what}: an integer in {low}..{high}, not {value}", start)
        return value

    def real(self, what: str) -> float:
        """A finite float or double: an integer mantissa, then an integer exponent of two."""
        start = self.offset
        mantissa = self.integer(what, low=-(2**63), high=2**63)
        exponent = self.integer(what, low=-32767, high=32767)
        if exponent in (_INFINITY, _MINUS_INFINITY, _NAN):
            self.fail(f"{what}: a finite number", start)
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            self.fail(f"{what}: a number within the range of a double, not {mantissa} * 2^{exponent}", start)

    def boolean(self, what: str) -> bool:
        """A boolean: the character 0 or 1."""
        start = self.offset
        byte = self.take(1, what)
        if byte not in (b"0", b"1"):
            self.fail(f"{what}: the character 0 or 1, not 0x{byte[0]:02x}", start)
        return byte == b"1"

    def string(self, what: str) -> str:
        """A short ASCII string."""
        start = self.offset
        num_bytes = self.integer(f"{what}: the length of a string", high=MAX_STRING_BYTES)
        raw = self.take(num_bytes, what)
        if not raw.isascii():
            self.fail(f"{what}: an ASCII string", start)
        return raw.decode("ascii")

    def shape(self, what: str) -> tuple[int, int, int, int]:
        """The four dimensions of a tensor: samples, channels, rows, columns."""
        return (self.integer(what), self.integer(what), self.integer(what), self.integer(what))

    def tensor(self, what: str) -> np.ndarray:
        """A `resizable_tensor` of finite values: float32, its four dimensions as stored; shares the file's memory."""
        self.integer(f"{what}: the version of a tensor", low=2, high=2)
        start = self.offset
        shape = self.shape(what)
        num_bytes = 4 * math.prod(shape)
        if num_bytes > self.remaining:
            self.fail(f"{what}: a tensor that fits the {self.remaining} bytes left, not one of shape {shape}", start)
        start = self.offset
        values = np.frombuffer(self.take(num_bytes, what), dtype="<f4").reshape(shape)
        finite = np.isfinite(values)
        if not finite.all():
            self.fail(f"{what}: finite weights", start + 4 * int(np.argmin(finite.ravel())))
        return values

    def alias(self, what: str) -> tuple[int, int, int, int]:
        """An `alias_tensor`: the shape of a part of a parameter tensor, without data."""
        self.integer(f"{what}: the version of an alias", low=1, high=1)
        return self.shape(what)

    def end(self) -> None:
        """Check that nothing follows."""
        if self.remaining:
            self.fail(f"the end of the file, but {self.remaining} bytes follow")
