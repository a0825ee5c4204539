"""Pictures of every kind become upright 8-bit RGB of bounded size, or have a reason."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from speech2face.faces import pictures
from speech2face.faces.pictures import decode_jpeg, encode_jpeg, read_picture
from speech2face.pipeline.rejects import UnusableError
from tests.faces.exif import COUNTS, ORIENTATION, exif_of, turned


def quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """Four colours: a picture that shows how it lies."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (250, 20, 20)
    image[: height // 2, width // 2 :] = (20, 250, 20)
    image[height // 2 :, : width // 2] = (20, 20, 250)
    image[height // 2 :, width // 2 :] = (240, 240, 240)
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_rgb_is_exact(tmp_path: Path, suffix: str):
    Image.fromarray(quarters()).save(tmp_path / f"a.{suffix}", lossless=True)
    read = read_picture(tmp_path / f"a.{suffix}", 1000)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, quarters())


def test_grey(tmp_path: Path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", 1000), np.stack([grey] * 3, axis=-1))


def test_16_bit(tmp_path: Path):
    grey = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    expected = np.round(grey / 257)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png", 1000)[..., 0], expected, atol=1)


def test_cmyk(tmp_path: Path):
    Image.fromarray(quarters()).convert("CMYK").save(tmp_path / "a.tiff")
    np.testing.assert_allclose(read_picture(tmp_path / "a.tiff", 1000), quarters().astype(int), atol=1)
    Image.fromarray(quarters()).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    middles = (slice(12, 48, 24), slice(16, 64, 32))
    read = read_picture(tmp_path / "a.jpg", 1000).astype(int)
    np.testing.assert_allclose(read[middles], quarters().astype(int)[middles], atol=6)


def test_palette_and_transparency(tmp_path: Path):
    Image.fromarray(quarters()).quantize(8).save(tmp_path / "a.gif")
    np.testing.assert_allclose(read_picture(tmp_path / "a.gif", 1000), quarters().astype(int), atol=2)
    alpha = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    alpha[:, :32, 3] = 0
    Image.fromarray(alpha).save(tmp_path / "b.png")
    read = read_picture(tmp_path / "b.png", 1000)
    assert (read[:, :32] == 255).all() and (read[:, 32:] == quarters()[:, 32:]).all()


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        # EXIF 2.32, 4.6.4: where the stored picture's first row and first column are in the picture as it is seen.
        (1, lambda seen: seen),
        (2, lambda seen: seen[:, ::-1]),  # row 0 is the top, column 0 the right
        (3, lambda seen: seen[::-1, ::-1]),  # bottom, right
        (4, lambda seen: seen[::-1]),  # bottom, left
        (5, lambda seen: seen.transpose(1, 0, 2)),  # left, top
        (6, lambda seen: seen[:, ::-1].transpose(1, 0, 2)),  # right, top
        (7, lambda seen: seen[::-1, ::-1].transpose(1, 0, 2)),  # right, bottom
        (8, lambda seen: seen[::-1].transpose(1, 0, 2)),  # left, bottom
    ],
)
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_pictures_are_turned_and_mirrored_as_exif_says(
    tmp_path: Path, suffix: str, orientation: int, stored: Callable[[np.ndarray], np.ndarray]
):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored(quarters()))).save(path, exif=exif, lossless=True)
    np.testing.assert_array_equal(read_picture(path, 1000), quarters())


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", sorted(COUNTS))
@pytest.mark.parametrize("tag", [0x0100, 0x010F, 0x0128, 0x0213, 0x011A, 0x0132, 0x8769, 0x9286, 0xC4A5])
@pytest.mark.parametrize(("order", "value"), [("<", b"\x08\0\0\0"), (">", b"\0\0\0\x08"), ("<", b"\xff" * 4)])
def test_an_odd_entry_beside_the_orientation_changes_nothing(
    tmp_path: Path, suffix: str, kind: int, tag: int, order: str, value: bytes
):
    """ImageWidth, Make, ResolutionUnit, YCbCrPositioning, XResolution, DateTime, the EXIF block, UserComment, PrintIM: of any type, and
    with their values beyond the end."""
    path = tmp_path / f"a.{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(quarters()[:, ::-1].transpose(1, 0, 2)))
    stored.save(path, exif=turned(6, (tag, kind, value), order=order), lossless=True)
    read = read_picture(path, 1000)
    assert read.shape == quarters().shape
    np.testing.assert_allclose(read[12::24, 16::32].astype(int), quarters()[12::24, 16::32], atol=12)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("entries", [b"", exif_of((0x0128, 2, b"2\0\0\0"))])
def test_the_orientation_in_xmp_is_taken_where_exif_has_none(tmp_path: Path, entries: bytes):
    stored = Image.fromarray(np.ascontiguousarray(quarters()[:, ::-1].transpose(1, 0, 2)))
    stored.save(tmp_path / "a.jpg", exif=entries, xmp=XMP)
    assert read_picture(tmp_path / "a.jpg", 1000).shape == quarters().shape


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "entries",
    [
        b"Exif\0\0",
        b"Exif\0\0no entries at all",
        exif_of((ORIENTATION, 2, b"six\0")),
        exif_of((ORIENTATION, 3, b"\x09\0\0\0")),
        exif_of((ORIENTATION, 5, b"\xff" * 4)),
        exif_of((ORIENTATION, 3, b"\1\0\0\0"))[:-12],
    ],
)
def test_a_damaged_orientation_is_ignored(tmp_path: Path, suffix: str, entries: bytes):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(quarters()).save(path, exif=entries, lossless=True)
    assert read_picture(path, 1000).shape == quarters().shape


def test_wide_pictures_are_scaled_down(tmp_path: Path):
    Image.fromarray(quarters(20_000, 400)).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png", 1280)
    assert read.shape == (26, 1280, 3)
    np.testing.assert_allclose(read[6, 300], (250, 20, 20), atol=2)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 3000)
    Image.fromarray(quarters()).save(tmp_path / "a.png")
    with pytest.raises(UnusableError, match="64 x 48 pixels, at most 3,000") as caught:
        read_picture(tmp_path / "a.png", 1000)
    assert caught.value.reason == "too_large"


def test_what_is_no_picture(tmp_path: Path):
    (tmp_path / "text.jpg").write_text("a picture is worth a thousand words")
    (tmp_path / "empty.jpg").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("whole.jpg", "whole.png"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(content[: len(content) // 2])
    for name in ("text.jpg", "empty.jpg", "half_whole.jpg", "half_whole.png"):
        with pytest.raises(UnusableError) as caught:
            read_picture(tmp_path / name, 1000)
        assert caught.value.reason == "unreadable" and name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UnusableError, match="No such file") as caught:
        read_picture(tmp_path / "none.jpg", 1000)
    assert caught.value.reason == "missing_file"


def test_a_fault_of_the_disk_is_not_held_against_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(UnusableError, match="Input/output error") as caught:
        read_picture(tmp_path / "a.jpg", 1000)
    assert caught.value.reason == "missing_file"  # which is tried again, where unreadable is not


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC])
def test_a_fault_of_the_machine_is_no_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        read_picture(tmp_path / "a.jpg", 1000)


def test_stored_crops():
    image = np.repeat(np.arange(0, 224, dtype=np.uint8)[None], 224, axis=0)
    image = np.dstack([image, image[::-1], 255 - image])
    assert np.abs(decode_jpeg(encode_jpeg(image, 95)).astype(int) - image).mean() < 2
