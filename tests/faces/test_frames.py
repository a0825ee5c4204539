"""Frames at chosen times: the right ones, upright, bounded, and cheap in a long video."""

import os
import resource
import struct
import time
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from speech2face.faces import frames
from speech2face.faces.frames import read_frames
from speech2face.pipeline import deadline
from speech2face.pipeline.rejects import UnusableError
from tests.audio.test_reading import encode, tone
from tests.faces.videos import RATE_HZ, number_of, numbered, write_video

LIMITS = {"max_px": 1280, "time_limit_s": 30.0}


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4")]
)
@pytest.mark.parametrize("gop", [1, 10, 250])
def test_the_frames_at_the_times_asked_for(tmp_path: Path, suffix: str, codec: str, gop: int):
    path = write_video(tmp_path / f"a.{suffix}", 100, gop, codec)
    found = list(read_frames(path, [0.9, 0.0, 0.33, 0.5], **LIMITS))
    for frame, expected in zip(found, (0, 33, 50, 90), strict=True):
        assert abs(number_of(frame.image) - expected) <= 1.2
        assert abs(frame.number - expected) <= 1 and frame.time_s == pytest.approx(
            expected / RATE_HZ, abs=1.1 / RATE_HZ
        )
        assert frame.image.dtype == np.uint8 and frame.image.shape == (48, 64, 3)


def test_a_stretch_of_a_video(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", 110)
    found = list(read_frames(path, [0.0, 0.5], start_s=2.0, end_s=4.0, **LIMITS))
    assert [round(number_of(frame.image)) for frame in found] == [50, 75]


def test_no_frame_comes_twice(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", 3)
    assert [frame.number for frame in read_frames(path, np.linspace(0, 1, 50).tolist(), **LIMITS)] == [0, 1, 2]
    assert len(list(read_frames(write_video(tmp_path / "b.mp4", 1), [0.1, 0.5, 0.9], **LIMITS))) == 1


def test_frames_that_come_in_bursts_have_numbers_of_their_own(tmp_path: Path):
    path = tmp_path / "burst.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "5", "bf": "0"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate([0, 2000, 2004, 2008, 2012, 4000]):
            frame = av.VideoFrame.from_ndarray(numbered(20 * number), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    times_s = [0.0, 1.999, 2.003, 2.007, 2.011]
    found = list(read_frames(path, times_s, start_s=0.0, end_s=1.0, **LIMITS))
    assert [round(number_of(frame.image) / 20) for frame in found] == [0, 1, 2, 3, 4]
    assert len({frame.number for frame in found}) == 5


def test_a_recording_that_does_not_know_its_length(tmp_path: Path):
    path = write_video(tmp_path / "a.webm", 100, 25, "libvpx", options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None  # as browsers record
    found = list(read_frames(path, [0.1, 0.6, 0.95], **LIMITS))
    assert [frame.number for frame in found] == pytest.approx([10, 60, 95], abs=1)


def marked(number: int) -> np.ndarray:
    """Red above, blue below, with a white top left corner."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :, 0], image[24:, :, 2] = 200, 200
    image[:16, :16] = 255
    return image


def shown(image: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Where the track header's matrix (ISO 14496-12, 8.3.2) shows each pixel: (x, y) at (a x + c y, b x + d y), moved into view."""
    y, x = np.indices(image.shape[:2])
    new_x, new_y = a * x + c * y, b * x + d * y
    new_x, new_y = new_x - new_x.min(), new_y - new_y.min()
    moved = np.zeros((new_y.max() + 1, new_x.max() + 1, 3), image.dtype)
    moved[new_y, new_x] = image
    return moved


def with_matrix(path: Path, *values: float) -> Path:
    """Write a matrix a, b, c, d into the header of an mp4's track."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 65536) for value in values)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1),
        (0, 1, -1, 0),
        (-1, 0, 0, -1),
        (0, -1, 1, 0),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ],
)
def test_a_video_is_turned_and_mirrored_as_its_matrix_says(tmp_path: Path, matrix: tuple[int, ...]):
    path = write_video(tmp_path / "a.mp4", 5, picture=marked)
    stored = next(read_frames(path, [0.0], **LIMITS)).image
    upright = next(read_frames(with_matrix(path, *matrix), [0.0], **LIMITS)).image
    np.testing.assert_array_equal(upright, shown(stored, *matrix))


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 1), (1, 1, 1, 1)])
def test_a_matrix_that_shows_nothing_is_ignored(tmp_path: Path, matrix: tuple[int, ...]):
    path = write_video(tmp_path / "a.mp4", 5, picture=marked)
    stored = next(read_frames(path, [0.0], **LIMITS)).image
    found = next(read_frames(with_matrix(path, *matrix), [0.0], **LIMITS)).image
    shown_again = np.asarray(Image.fromarray(found).resize(stored.shape[1::-1]))  # its pixels may have another shape
    assert np.abs(shown_again[4:12, 4:12].astype(int) - stored[4:12, 4:12]).max() < 8  # the white corner
    assert shown_again[40, 50].argmax() == 2  # blue below


def test_a_matrix_a_little_off_the_right_angle_is_the_nearest_one(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", 5, picture=marked)
    stored = next(read_frames(path, [0.0], **LIMITS)).image
    turned = next(read_frames(with_matrix(path, 0.02, 1, -1, 0.02), [0.0], **LIMITS)).image
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))


def test_tags_in_another_encoding_are_ignored(tmp_path: Path):
    for suffix, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx")):
        path = write_video(tmp_path / f"a.{suffix}", 100, codec=codec, tags={"title": "Cafe creme"})
        content = path.read_bytes()
        assert content.count(b"Cafe creme") == 1
        path.write_bytes(content.replace(b"Cafe creme", "Caf\xe9 cr\xe8me".encode("latin-1")))
        numbers = [number_of(frame.image) for frame in read_frames(path, [0.25, 0.5], **LIMITS)]
        assert numbers == pytest.approx([25, 50], abs=1.2)


def test_pictures_that_nothing_decodes(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", 5)
    assert path.read_bytes().count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    why, message = reason(path)
    assert why == "unreadable" and "no decoder knows its pictures; re-encode it" in message


def test_the_stream_that_can_be_decoded_is_taken(tmp_path: Path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=RATE_HZ) for codec in ("libx264", "mpeg4")]
        for stream, size in zip(
            streams, ((640, 480), (64, 48)), strict=True
        ):  # ffmpeg takes the larger one for the best
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(50):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24").reformat(
                    stream.width, stream.height
                )
                frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert next(read_frames(path, [0.5], **LIMITS)).image.shape == (480, 640, 3)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    found = next(read_frames(path, [0.5], **LIMITS))
    assert found.image.shape == (48, 64, 3) and abs(number_of(found.image) - 25) <= 1.2


def test_large_pictures_are_scaled_down(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", [np.zeros((360, 640, 3), np.uint8)] * 2)
    assert next(read_frames(path, [0.5], max_px=224, time_limit_s=30)).image.shape == (126, 224, 3)


@pytest.mark.slow
def test_a_three_hour_video_costs_what_its_frames_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    long = write_video(tmp_path / "long.mp4", 10_800, 10, "mpeg4", picture=lambda n: numbered(n % 100), rate_hz=1)
    decoded = []
    time_s = frames._Reader.time_s
    monkeypatch.setattr(frames._Reader, "time_s", lambda self, frame: decoded.append(frame.pts) or time_s(self, frame))
    started = time.perf_counter()
    found = list(read_frames(long, [0.1, 0.3, 0.5, 0.7, 0.9], **LIMITS))
    assert [frame.number for frame in found] == pytest.approx([1080, 3240, 5400, 7560, 9720], abs=1)
    assert len(set(decoded)) <= 5 * 11
    assert time.perf_counter() - started < 2


def reason(path: Path, **limits: float) -> tuple[str, str]:
    with pytest.raises(UnusableError) as caught:
        list(read_frames(path, [0.1, 0.5, 0.9], **(LIMITS | limits)))
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    return caught.value.reason, str(caught.value)


def test_bad_files(tmp_path: Path):
    good = write_video(tmp_path / "good.mp4", 50)
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "half.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("text", "empty", "half"):
        assert reason(tmp_path / f"{name}.mp4")[0] == "unreadable"
    assert reason(tmp_path / "none.mp4")[0] == "missing_file"
    assert reason(tmp_path / "pipe.mp4")[0] == "missing_file"
    assert reason(encode(tmp_path / "sound.m4a", "aac", tone()))[0] == "no_image"


def test_a_video_that_breaks_off_gives_what_is_there(tmp_path: Path):
    whole = write_video(
        tmp_path / "a.mkv", 100, picture=lambda n: np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8)
    )
    content = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) * 6 // 10])
    found = list(read_frames(cut, [0.1, 0.3, 0.8], **LIMITS))
    assert [frame.number for frame in found][:2] == pytest.approx([10, 30], abs=1)


def test_damage_in_the_middle_is_passed_over(tmp_path: Path):
    path = write_video(
        tmp_path / "a.mkv", 100, picture=lambda n: np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8)
    )
    content = bytearray(path.read_bytes())
    start = len(content) * 4 // 10
    content[start : start + len(content) // 10] = bytes(len(content) // 10)
    path.write_bytes(content)
    found = [frame.number for frame in read_frames(path, [0.1, 0.2, 0.8, 0.9], **LIMITS)]
    assert found[:2] == pytest.approx([10, 20], abs=1) and found[-1] == pytest.approx(90, abs=1)


def test_decoding_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "a.mp4", 50)
    assert reason(path, time_limit_s=1e-9)[0] in ("timeout", "unreadable")
    monkeypatch.setattr(deadline, "monotonic", count(0, 20).__next__)  # each look at the clock is 20 s later
    why, message = reason(path)
    assert why == "timeout" and "longer than 30 s; re-encode it or raise faces.decode_limit_s" in message


def test_a_fault_of_the_machine_is_no_reject(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", 5)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(path, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            list(read_frames(path, [0.5], **LIMITS))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_messages_say_what_to_do(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("this is no video")
    assert reason(tmp_path / "text.mp4")[1].endswith("; check that it plays, and copy it again or re-encode it")
    assert reason(tmp_path / "none.mp4")[1].endswith("none.mp4: no such file; run dvc repro -f make_corpus")
    (tmp_path / "folder.mp4").mkdir()
    assert reason(tmp_path / "folder.mp4") == (
        "missing_file",
        f"{tmp_path}/folder.mp4: not a file; run dvc repro -f make_corpus",
    )


def test_the_time_of_the_frames_user_does_not_count(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", 50)
    found = []
    for frame in read_frames(path, [0.1, 0.5, 0.9], max_px=640, time_limit_s=0.5):
        time.sleep(0.3)
        found.append(frame.number)
    assert len(found) == 3


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "MAX_PIXELS", 3000)
    assert reason(write_video(tmp_path / "a.mp4", 3))[0] == "too_large"
