"""Plain wav with headers as recorders, editors and other machines write them: the samples are what was put in."""

import struct
from pathlib import Path

import numpy as np
import pytest

from speech2face.audio.reading import read_audio
from speech2face.audio.wav import open_wav
from speech2face.pipeline.rejects import UnusableError

RATE_HZ = 16_000
RAMP = np.arange(-8000, 8000) / 8192  # exact in 24 bits


def chunk(name: bytes, content: bytes, order: str = "<", size: int | None = None, pad: bool = True) -> bytes:
    padding = b"\0" * (len(content) % 2 if pad else 0)
    return name + struct.pack(f"{order}I", len(content) if size is None else size) + content + padding


def fmt(bits: int, order: str = "<", code: int = 1, channels: int = 1, sample_bytes: int | None = None) -> bytes:
    frame = channels * (sample_bytes or -(-bits // 8)) % 65_536
    values = struct.pack(f"{order}HHIIHH", code, channels, RATE_HZ, RATE_HZ * frame, frame, bits)
    return chunk(b"fmt ", values, order)


def extensible(used_bits: int, bits: int, order: str = "<", code: int = 1) -> bytes:
    values = struct.pack(f"{order}HHIIHH", 0xFFFE, 1, RATE_HZ, RATE_HZ * bits // 8, bits // 8, bits)
    subformat = struct.pack(f"{order}IHH", code, 0, 0x10) + bytes.fromhex("800000aa00389b71")
    return chunk(b"fmt ", values + struct.pack(f"{order}HHI", 22, used_bits, 4) + subformat, order)


def wav(path: Path, *chunks: bytes, riff: bytes = b"RIFF", size: int | None = None) -> Path:
    body = b"WAVE" + b"".join(chunks)
    order = ">" if riff == b"RIFX" else "<"
    path.write_bytes(riff + struct.pack(f"{order}I", len(body) if size is None else size) + body)
    return path


def integers(
    bits: int, order: str = "<", sample_bytes: int | None = None, shift: int = 0, ramp: np.ndarray = RAMP
) -> bytes:
    """The ramp as integers of `bits` bits, moved up by `shift`."""
    sample_bytes = sample_bytes or bits // 8
    values = np.round(ramp * 2.0 ** (bits - 1)).astype(np.int64) << shift
    wide = values.astype(f"{order}i8").view(np.uint8).reshape(-1, 8)
    return (wide[:, :sample_bytes] if order == "<" else wide[:, 8 - sample_bytes :]).tobytes()


def data16() -> bytes:
    return chunk(b"data", integers(16))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [16, 24, 32, 64])
def test_integers_of_either_byte_order(tmp_path: Path, bits: int, order: str) -> None:
    riff = b"RIFX" if order == ">" else b"RIFF"
    path = wav(tmp_path / "a.wav", fmt(bits, order), chunk(b"data", integers(bits, order), order), riff=riff)
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))
    path = wav(
        tmp_path / "b.wav", extensible(bits, bits, order), chunk(b"data", integers(bits, order), order), riff=riff
    )
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [4, 8])
def test_floats_of_either_byte_order(tmp_path: Path, size: int, order: str) -> None:
    content = chunk(b"data", RAMP.astype(f"{order}f{size}").tobytes(), order)
    riff = b"RIFX" if order == ">" else b"RIFF"
    path = wav(tmp_path / "a.wav", fmt(8 * size, order, code=3), content, riff=riff)
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


def test_8_bits_big_endian(tmp_path: Path) -> None:
    content = chunk(b"data", np.round(RAMP * 127 + 128).astype(np.uint8).tobytes(), ">")
    path = wav(tmp_path / "a.wav", fmt(8, ">"), content, riff=b"RIFX")
    np.testing.assert_allclose(read_audio(path), RAMP, rtol=0, atol=1 / 64)


@pytest.mark.parametrize("header", [extensible(24, 32), fmt(24, sample_bytes=4)], ids=["extensible", "plain"])
@pytest.mark.parametrize("shift", [0, 8], ids=["lower bits", "upper bits"])
def test_24_bits_in_32(tmp_path: Path, header: bytes, shift: int) -> None:
    silence = bytes(4 * 200_000)  # longer than what is read at once
    ramp = RAMP + 2**-23
    path = wav(tmp_path / "a.wav", header, chunk(b"data", silence + integers(24, "<", 4, shift, ramp)))
    np.testing.assert_array_equal(read_audio(path)[200_000:], ramp.astype(np.float32))


def test_24_bits_in_32_that_fill_all_32_are_refused(tmp_path: Path) -> None:
    floats = (np.sin(RAMP) * 2**23).astype("<f4").tobytes()  # Cool Edit's
    path = wav(tmp_path / "a.wav", fmt(24, sample_bytes=4), chunk(b"data", floats))
    with pytest.raises(UnusableError, match=r"a\.wav: integers of 24 bits in 32 that fill all of them") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("sample_bytes", [1, 2, 4, 8, 3])
@pytest.mark.parametrize(("bits", "code"), [(16, 1), (32, 1), (32, 3)])
def test_a_wrong_size_of_a_block_is_not_believed(tmp_path: Path, bits: int, code: int, sample_bytes: int) -> None:
    data = integers(bits) if code == 1 else RAMP.astype("<f4").tobytes()
    path = wav(tmp_path / "a.wav", fmt(bits, code=code, sample_bytes=sample_bytes), chunk(b"data", data))
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


def test_16_bits_in_32_by_the_extensible_header(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", extensible(16, 32), chunk(b"data", integers(16, "<", 4, 16)))
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


@pytest.mark.parametrize("size", [0, 36, 100, 5000, 0xFFFFFFFF])
@pytest.mark.parametrize("before", [b"", chunk(b"LIST", b"INFOISFT\5\0\0\0abcde\0")])
def test_the_size_of_the_whole_does_not_matter(tmp_path: Path, size: int, before: bytes) -> None:
    path = wav(tmp_path / "a.wav", fmt(16), before, data16(), size=size)
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


@pytest.mark.parametrize("riff_size", [None, 0, 36, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_size_of_the_samples_that_is_not_known(tmp_path: Path, size: int, riff_size: int | None) -> None:
    path = wav(tmp_path / "a.wav", fmt(16), chunk(b"data", integers(16), size=size), size=riff_size)
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


def test_a_file_that_is_whole_by_its_own_size_lacks_nothing(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", fmt(16), chunk(b"data", integers(16), size=40_000))
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


def test_what_follows_the_samples_is_not_sound(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", fmt(16), data16(), chunk(b"LIST", b"INFO" + b"x" * 400))
    assert len(read_audio(path)) == len(RAMP)
    path = wav(tmp_path / "none.wav", fmt(16), chunk(b"data", b""), chunk(b"LIST", b"INFO" + b"x" * 40_000))
    with pytest.raises(UnusableError, match="0 s of sound"):
        read_audio(path)


@pytest.mark.parametrize("pad", [True, False])
def test_a_chunk_of_odd_size_with_and_without_its_pad(tmp_path: Path, pad: bool) -> None:
    odd = chunk(b"LIST", b"INFOISFT\5\0\0\0abcde", pad=pad)
    path = wav(tmp_path / "a.wav", fmt(16), odd, data16())
    np.testing.assert_array_equal(read_audio(path), RAMP.astype(np.float32))


def test_chunks_that_overrun_the_file_or_each_other_are_refused(tmp_path: Path) -> None:
    for number, chunks in enumerate(
        [
            (fmt(16), chunk(b"LIST", b"INFO", size=10**9), data16()),
            (chunk(b"fmt ", b"\1\0\1\0"), data16()),
            (fmt(16)[:-4],),
            (fmt(16, channels=0), data16()),
            (fmt(0), data16()),
            (fmt(16, code=0x1234), data16()),
        ]
    ):
        with pytest.raises(UnusableError, match=rf"{number}\.wav: .+; check that it is a recording") as caught:
            read_audio(wav(tmp_path / f"{number}.wav", *chunks))
        assert caught.value.reason == "unreadable"


def test_samples_before_their_description(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_audio(wav(tmp_path / "a.wav", data16(), fmt(16))), RAMP.astype(np.float32))


def test_compressed_wav_goes_to_the_decoder(tmp_path: Path) -> None:
    mu_law = np.full(8000, 0xFF, np.uint8)
    mu_law[::2] = 0x80  # the largest value
    path = wav(tmp_path / "a.wav", fmt(8, code=7), chunk(b"data", mu_law.tobytes()), size=36)
    assert open_wav(path) is None
    np.testing.assert_allclose(read_audio(path), np.tile([32124 / 32768, 0], 4000), rtol=0, atol=1e-6)
    path = wav(tmp_path / "b.wav", fmt(8, ">", code=7), chunk(b"data", mu_law.tobytes(), ">"), riff=b"RIFX")
    with pytest.raises(UnusableError, match="RIFX"):
        read_audio(path)


@pytest.mark.parametrize("start_s", [0.25, 0.7])
def test_a_start_is_exact(tmp_path: Path, start_s: float) -> None:
    path = wav(tmp_path / "a.wav", fmt(24), chunk(b"data", integers(24)))
    np.testing.assert_array_equal(
        read_audio(path, start_s=start_s), RAMP[round(start_s * RATE_HZ) :].astype(np.float32)
    )


def test_thousands_of_channels_take_no_gigabytes(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", fmt(16, channels=65_535), chunk(b"data", bytes(65_535 * 2 * 4)))
    with pytest.raises(UnusableError, match="silent"):
        read_audio(path)
