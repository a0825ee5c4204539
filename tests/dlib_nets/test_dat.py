"""The primitive types: known bytes, everything the format can say, and everything it must not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech2face.dlib_nets.dat import DatReader
from tests.dlib_nets import dat_files

pytestmark = pytest.mark.slow


def test_known_bytes():
    assert DatReader(b"\x01\x00").integer("x") == 0
    assert DatReader(b"\x02\x00\x01").integer("x") == 256
    assert DatReader(b"\x81\x05").integer("x", low=-10) == -5
    assert DatReader(b"\x01\x10\x81\x04").real("x") == 1.0  # 16 * 2^-4
    assert DatReader(b"1").boolean("x") is True
    assert DatReader(b"0").boolean("x") is False
    assert DatReader(b"\x01\x05relu_").string("x") == "relu_"


@given(st.integers(-(2**63), 2**63))
def test_integers_of_all_sizes(value):
    assert DatReader(dat_files.integer(value)).integer("x", low=-(2**63), high=2**63) == value


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_reals_are_exact(value):
    assert DatReader(dat_files.real(value)).real("x") == value


def test_tensor_keeps_shape_and_order():
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    reader = DatReader(dat_files.tensor(values))
    np.testing.assert_array_equal(reader.tensor("x"), values)
    reader.end()


def read_integer(reader):
    return reader.integer("x")


def read_string(reader):
    return reader.string("x")


def read_tensor(reader):
    return reader.tensor("x")


def read_real(reader):
    return reader.real("x")


@pytest.mark.parametrize(
    ("read", "data", "offset", "expected"),
    [
        (read_integer, b"", 0, "has 0 left"),
        (read_integer, b"\x04\x01", 1, "4 bytes"),
        (read_integer, b"\x00", 0, "control byte of 0x00"),
        (read_integer, b"\x09" + b"\x01" * 9, 0, "control byte of 0x09"),
        (read_integer, b"\x41\x01", 0, "control byte of 0x41"),
        (read_integer, b"\x81\x01", 0, "not -1"),
        (read_integer, dat_files.integer(2**62), 0, f"not {2**62}"),
        (read_string, dat_files.integer(2**62) + b"input", 0, f"not {2**62}"),
        (read_string, dat_files.integer(-3) + b"abc", 0, "not -3"),
        (read_string, dat_files.integer(300) + b"a" * 300, 0, "in 0..256, not 300"),
        (read_string, b"\x01\x02\xff\xfe", 0, "ASCII"),
        (read_tensor, b"\x01\x03" + b"\x01\x01" * 4 + b"\x00" * 4, 0, "not 3"),
        (read_tensor, b"\x01\x02" + dat_files.integer(2**31 - 1) * 4, 2, "fits the 0 bytes"),
        (read_tensor, b"\x01\x02" + b"\x01\x01" * 4 + b"\x00" * 3, 2, "fits the 3 bytes"),
        (read_tensor, dat_files.tensor(np.array([1.0, 2.0, math.nan, 3.0])), 18, "finite weights"),
        (read_real, dat_files.real(math.inf), 0, "finite number"),
        (read_real, dat_files.real(math.nan), 0, "finite number"),
        (read_real, dat_files.integer(2**60) + dat_files.integer(31000), 0, "range of a double"),
        (lambda reader: reader.boolean("x"), b"\x01", 0, "0x01"),
        (lambda reader: reader.end(), b"abc", 0, "3 bytes follow"),
    ],
)
def test_bad_bytes_name_the_offset_and_what_was_expected(read, data, offset, expected):
    with pytest.raises(ValueError, match="dlib model file") as error:
        read(DatReader(data))
    assert f"byte {offset}:" in str(error.value)
    assert expected in str(error.value)


@given(st.binary(max_size=40), st.sampled_from(["integer", "real", "boolean", "string", "tensor", "alias"]))
def test_random_bytes_give_a_value_or_a_value_error(data, name):
    reader = DatReader(data)
    try:
        getattr(reader, name)("x")
    except ValueError as error:
        assert "byte " in str(error)
    assert 0 <= reader.offset <= len(data)
