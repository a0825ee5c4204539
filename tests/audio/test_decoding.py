"""Recordings whose packets are damaged or missing, whose tags and tracks are odd: the sound is where the clock says it is."""

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from speech2face.audio import decoding
from speech2face.audio.reading import read_audio
from speech2face.pipeline.rejects import UnusableError
from tests.audio.test_reading import encode, pcm16, strength, tone, write_wav

pytestmark = pytest.mark.slow

RATE_HZ = 16_000
ENCODED = [
    ("a.m4a", "aac"), ("a.mov", "aac"), ("a.aac", "aac"), ("a.ts", "aac"), ("a.mkv", "aac"), ("a.flv", "aac"),
    ("a.webm", "libopus"), ("a.ogg", "libopus"), ("a.mp3", "libmp3lame"), ("b.mkv", "libmp3lame"), ("a.avi", "libmp3lame"),
    ("a.flac", "flac"),
]  # fmt: skip


def sweep(duration_s: float, rate_hz: int = 48_000) -> np.ndarray:
    """A tone that rises from 200 Hz by 100 Hz a second: what is heard says when it is."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return 0.5 * np.sin(2 * np.pi * (200 * t + 50 * t**2))


def second_of(waveform: np.ndarray, at_s: float) -> float:
    """The time of the sweep that is heard at `at_s`, by the frequency of the 0.2 s around it."""
    middle = waveform[round((at_s - 0.1) * RATE_HZ) : round((at_s + 0.1) * RATE_HZ)]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 16))
    return (spectrum.argmax() * RATE_HZ / (1 << 16) - 200) / 100


def remux(
    source: Path, target: Path, keep: Callable[[float], bool], shift_s: Callable[[float], float] | None = None
) -> Path:
    """The packets of a file whose time is kept, as they were encoded; `shift_s`: what is added to their time."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        track = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.size == 0 or packet.pts is None or not keep(float(packet.pts * packet.time_base)):
                continue
            packet.stream = track
            if shift_s:
                more = round(shift_s(float(packet.pts * packet.time_base)) / packet.time_base)
                packet.pts, packet.dts = packet.pts + more, packet.dts + more
            new.mux(packet)
    return target


def damage(path: Path, numbers: range | list[int], keep_bytes: int) -> Path:
    """Noise over packets of a file, their first `keep_bytes` excepted; returns the damaged copy."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for number in numbers:
        start = content.index(bytes(packets[number])) + keep_bytes
        end = start + packets[number].size - keep_bytes
        content[start:end] = noise.bytes(end - start)
    target = path.with_name(f"damaged_{path.name}")
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(("name", "codec"), ENCODED)
@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_a_start_gives_what_a_full_reading_has_there(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    if codec == "libopus" and rate_hz != 48_000:
        return  # Opus knows no other rate
    path = encode(tmp_path / name, codec, sweep(6, rate_hz), rate_hz)
    whole = read_audio(path)
    assert second_of(whole, 3) == pytest.approx(3, abs=0.06)
    for start_s in (0.5, 1.7, 4.3214):
        found = read_audio(path, start_s=start_s, max_duration_s=1)
        first = round(start_s * RATE_HZ)
        # AAC's substituted noise is drawn anew, 50 dB below the tone
        np.testing.assert_allclose(found, whole[first : first + RATE_HZ], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("name", "keep_bytes"), [("a.m4a", 0), ("a.mp4", 0), ("a.mkv", 0), ("a.aac", 7)])
@pytest.mark.parametrize("numbers", [[0], [1], [100], [100, 101, 102], [50, 100, 150]], ids=str)
def test_damaged_packets_are_silence_of_their_length(
    tmp_path: Path, name: str, keep_bytes: int, numbers: list[int]
) -> None:
    whole = encode(tmp_path / name, "aac", sweep(6), video=name.endswith("mp4"))
    clean, found = read_audio(whole), read_audio(damage(whole, numbers, keep_bytes))
    assert len(found) == pytest.approx(len(clean), abs=2 * 1024 / 3)
    for at_s in (0.5, 1.5, 2.9, 5.5):
        assert second_of(found, at_s) == pytest.approx(second_of(clean, at_s), abs=0.02)
    changed = np.flatnonzero(np.abs(found - clean[: len(found)]) > 0.02) / RATE_HZ
    packet_s = 1024 / 48_000
    allowed = [abs(changed - number * packet_s) < 3 * packet_s for number in numbers]
    assert np.any(allowed, axis=0).all()


@pytest.mark.parametrize("numbers", [range(60, 120), range(200, 282)], ids=["middle", "end"])
def test_more_than_a_small_part_that_is_damaged_is_no_recording(tmp_path: Path, numbers: range) -> None:
    path = damage(encode(tmp_path / "a.m4a", "aac", sweep(6)), numbers, 0)
    with pytest.raises(UnusableError, match=r"a\.m4a: .+ s are damaged or missing, 5% are passed over") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


def spoil(path: Path, part: float, zeros: bool) -> Path:
    """Overwrite a part of a file's bytes, from its middle on."""
    content = bytearray(path.read_bytes())
    begin, size = len(content) // 2, round(len(content) * part)
    content[begin : begin + size] = bytes(size) if zeros else np.random.default_rng(1).bytes(size)
    target = path.with_name(f"spoiled_{path.name}")
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("b.mkv", "libmp3lame"), ("a.aac", "aac"), ("a.flac", "flac")]
)
@pytest.mark.parametrize("numbers", [[0], [40], [60, 61, 62], [20, 40, 41, 60]], ids=str)
def test_frames_that_are_damaged_with_their_headers_are_silence_of_their_length(
    tmp_path: Path, name: str, codec: str, numbers: list[int]
) -> None:
    whole = encode(tmp_path / name, codec, sweep(9))
    clean, found = read_audio(whole), read_audio(damage(whole, numbers, 0))
    frame_s = {"libmp3lame": 1152, "aac": 1024, "flac": 4096}[codec] / 48_000
    assert len(found) == pytest.approx(len(clean), abs=frame_s * RATE_HZ + 500)
    # What lies before the first whole frame of an mp3 may be a tag of any kind, and counts for nothing.
    allowed_s = frame_s + 0.005 if name == "a.mp3" and 0 in numbers else 0.02
    for at_s in (0.3, 7.5):
        assert second_of(found, at_s) == pytest.approx(second_of(clean, at_s), abs=allowed_s)
    if 0 not in numbers:  # to the sample; ffmpeg's FLAC parser passes over a few frames more
        after = slice(round((numbers[-1] + (16 if codec == "flac" else 8)) * frame_s * RATE_HZ), -RATE_HZ)
        np.testing.assert_allclose(
            found[after], clean[after.start : len(found)][: len(found[after])], rtol=0, atol=2e-3
        )


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize(("name", "codec"), ENCODED)
def test_a_damaged_stretch_moves_nothing_and_a_long_one_is_a_reject(
    tmp_path: Path, name: str, codec: str, zeros: bool
) -> None:
    whole = encode(tmp_path / name, codec, sweep(20))
    for part in (0.01, 0.3):
        path = spoil(whole, part, zeros)
        try:
            found = read_audio(path)
        except UnusableError as error:
            assert error.reason == "unreadable" and "are damaged or missing, 5% are passed over" in str(error)
            continue
        assert part == 0.01
        if name != "a.avi":  # which counts its packets, and does not see that one is lost
            assert second_of(found, 17) == pytest.approx(second_of(read_audio(whole), 17), abs=0.06)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.ogg", "libopus"), ("a.ts", "aac"), ("a.aac", "aac"), ("a.mp3", "libmp3lame"), ("a.flac", "flac")],
)
def test_what_follows_a_damaged_stretch_can_be_read_by_itself(tmp_path: Path, name: str, codec: str) -> None:
    whole = encode(tmp_path / name, codec, sweep(20))
    found = read_audio(spoil(whole, 0.2, zeros=True), start_s=16.5, max_duration_s=2)
    # How long the stretch was is an estimate where frames differ in size.
    assert second_of(found, 1) == pytest.approx(
        second_of(read_audio(whole), 17.5), abs=0.5 if name == "a.aac" else 0.03
    )


def test_all_packets_damaged(tmp_path: Path) -> None:
    path = damage(encode(tmp_path / "a.m4a", "aac", sweep(2)), range(90), 0)
    with pytest.raises(UnusableError, match=r"a\.m4a: ") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("name", "codec"), [("webm", "libopus"), ("mkv", "aac"), ("ts", "aac"), ("ogg", "libopus"), ("mp4", "aac")]
)
def test_missing_packets_are_silence(tmp_path: Path, name: str, codec: str) -> None:
    whole = encode(tmp_path / f"a.{name}", codec, sweep(9))
    path = remux(whole, tmp_path / f"gap.{name}", lambda time: not 3 <= time < 5)
    found = read_audio(path)
    assert len(found) == pytest.approx(9 * RATE_HZ, abs=800)
    for at_s in (1, 2.5, 5.5, 8):
        assert second_of(found, at_s) == pytest.approx(second_of(read_audio(whole), at_s), abs=0.02)
    assert not found[round(3.2 * RATE_HZ) : round(4.8 * RATE_HZ)].any()
    later = read_audio(path, start_s=6, max_duration_s=1)
    np.testing.assert_allclose(later, found[6 * RATE_HZ : 7 * RATE_HZ], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("name", "codec"), [("webm", "libopus"), ("mkv", "aac"), ("ts", "aac")])
def test_single_missing_packets_do_not_add_up(tmp_path: Path, name: str, codec: str) -> None:
    whole = encode(tmp_path / f"a.{name}", codec, sweep(9))
    path = remux(whole, tmp_path / f"gap.{name}", lambda time: int(time * 50) % 5 != 0 or not 1 < time < 6)
    assert second_of(read_audio(path), 8) == pytest.approx(second_of(read_audio(whole), 8), abs=0.02)


def test_jitter_of_time_stamps_adds_nothing(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.webm", "libopus", sweep(6))
    jitter = np.random.default_rng(0).uniform(-0.005, 0.005, 10_000)
    path = remux(
        whole, tmp_path / "b.webm", lambda _: True, lambda time: float(jitter[round(time * 1000)]) if time > 0 else 0.0
    )
    np.testing.assert_allclose(read_audio(path)[: 5 * RATE_HZ], read_audio(whole)[: 5 * RATE_HZ], rtol=0, atol=1e-6)


def with_one_time_stamp(path: Path, number: int, change: Callable[[int], int]) -> Path:
    """A webm in which one block says another time."""
    content = bytearray(path.read_bytes())
    blocks = []
    for at in range(len(content) - 8):  # SimpleBlock, its size in one or two bytes, track 1, time as int16
        size_bytes = 1 if content[at + 1] & 0x80 else 2
        if content[at] == 0xA3 and content[at + 1] >= 0x40 and content[at + 1 + size_bytes] == 0x81:
            blocks.append(at + 2 + size_bytes)
    at = blocks[number]
    (time,) = struct.unpack(">h", content[at : at + 2])
    content[at : at + 2] = struct.pack(">h", change(time))
    target = path.with_name("odd.webm")
    target.write_bytes(content)
    return target


@pytest.mark.parametrize("number", [0, 1, 2, 100, 150, 297, 298, 299])
@pytest.mark.parametrize("more_ms", [18, 40, 1500, 16_384, -30, -1500, -16_384])
def test_one_wrong_time_stamp_moves_nothing(tmp_path: Path, number: int, more_ms: int) -> None:
    whole = encode(tmp_path / "a.webm", "libopus", sweep(6))
    path = with_one_time_stamp(whole, number, lambda time: time + more_ms)
    clean, found = read_audio(whole), read_audio(path)
    assert len(found) == pytest.approx(len(clean), abs=700)
    for at_s in (0.5, 2.2, 5.5):
        assert second_of(found, at_s) == pytest.approx(second_of(clean, at_s), abs=0.03)
    later = read_audio(path, start_s=3.5, max_duration_s=1)
    np.testing.assert_allclose(later, found[round(3.5 * RATE_HZ) : round(4.5 * RATE_HZ)], rtol=0, atol=2e-3)


def test_time_stamps_that_run_slow_are_followed_up_to_a_small_part(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.webm", "libopus", sweep(20))
    path = remux(whole, tmp_path / "slow.webm", lambda _: True, lambda time: -0.02 * time)
    found = read_audio(path)
    assert len(found) == pytest.approx(0.98 * 20 * RATE_HZ, abs=800)
    later = read_audio(path, start_s=12, max_duration_s=1)
    assert second_of(found, 12.5) == pytest.approx(12.5 / 0.98, abs=0.06)
    assert second_of(later, 0.5) == pytest.approx(12.5 / 0.98, abs=0.06)
    path = remux(whole, tmp_path / "slower.webm", lambda _: True, lambda time: -0.2 * time)
    with pytest.raises(UnusableError, match="are damaged or missing") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


def test_time_stamps_that_leap_by_days_are_refused_and_no_memory_taken(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mkv", "aac", sweep(4))
    path = remux(whole, tmp_path / "b.mkv", lambda _: True, lambda time: 2e6 if time > 2 else 0.0)
    with pytest.raises(UnusableError, match=r"b\.mkv: time stamps leap from 2 to 2000002 s") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("name", "codec"),
    [("ogg", "libopus"), ("ts", "aac"), ("webm", "libopus"), ("flac", "flac"), ("mp3", "libmp3lame"), ("aac", "aac")],
)
def test_a_start_in_recordings_joined_end_to_end(tmp_path: Path, name: str, codec: str) -> None:
    parts = [encode(tmp_path / f"{second}.{name}", codec, sweep(second)).read_bytes() for second in (4, 7)]
    path = tmp_path / f"joined.{name}"
    path.write_bytes(parts[0] + parts[1])
    whole = read_audio(path)
    assert len(whole) == pytest.approx(11 * RATE_HZ, abs=3000)
    for start_s in (2.5, 4.5, 6, 9):  # 6 s are on the clock of the second part as well
        found = read_audio(path, start_s=start_s, max_duration_s=1)
        first = round(start_s * RATE_HZ)
        np.testing.assert_allclose(found, whole[first : first + RATE_HZ], rtol=0, atol=2e-3)


@pytest.mark.parametrize("durations", [("20", "60"), ("60", "20"), ("20", "5"), ("2.5", "40")])
def test_opus_whose_packets_change_their_length(tmp_path: Path, durations: tuple[str, str]) -> None:
    path, now = tmp_path / "a.webm", 0
    sources = [
        encode(tmp_path / f"{ms}.webm", "libopus", sweep(12), codec_options={"frame_duration": ms}) for ms in durations
    ]
    with av.open(str(path), "w") as new:
        track = None
        for source, keep in zip(sources, (lambda time: time < 6, lambda time: time >= 6), strict=True):
            with av.open(str(source)) as old:
                track = track or new.add_stream_from_template(old.streams.audio[0])
                for packet in old.demux(old.streams.audio[0]):
                    if packet.size and packet.pts >= now and keep(float(packet.pts * packet.time_base)):
                        now = packet.pts
                        packet.stream = track
                        new.mux(packet)
    whole = read_audio(path)
    assert len(whole) == pytest.approx(12 * RATE_HZ, abs=1000)
    for start_s in (3, 5.9, 6.7, 8, 10.345):
        assert second_of(whole, start_s + 0.5) == pytest.approx(start_s + 0.5, abs=0.06)
        found = read_audio(path, start_s=start_s, max_duration_s=1)
        first = round(start_s * RATE_HZ)
        np.testing.assert_allclose(found, whole[first : first + RATE_HZ], rtol=0, atol=2e-3)


def test_recordings_joined_end_to_end_are_read_on(tmp_path: Path) -> None:
    one = encode(tmp_path / "a.ts", "aac", sweep(3)).read_bytes()
    (tmp_path / "b.ts").write_bytes(one + one)
    found = read_audio(tmp_path / "b.ts")
    assert len(found) == pytest.approx(6 * RATE_HZ, abs=3000)
    assert second_of(found, 1) == pytest.approx(1, abs=0.06) and second_of(found, 5) == pytest.approx(2, abs=0.2)


def test_sound_that_begins_after_the_picture_is_where_the_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    whole = encode(tmp_path / "a.mkv", "aac", sweep(4))
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        pictures = new.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p")
        track = new.add_stream_from_template(old.streams.audio[0])
        new.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        new.mux(pictures.encode(None))
        for packet in old.demux(old.streams.audio[0]):
            if packet.size:
                packet.stream = track
                packet.pts, packet.dts = packet.pts + 2000, packet.dts + 2000
                new.mux(packet)
    found = read_audio(path)
    assert not found[: round(1.9 * RATE_HZ)].any()
    assert second_of(found, 4) == pytest.approx(2, abs=0.06)
    for start_s in (1, 4):
        later = read_audio(path, start_s=start_s, max_duration_s=2)
        np.testing.assert_allclose(later, found[start_s * RATE_HZ : (start_s + 2) * RATE_HZ], rtol=0, atol=2e-3)


TAGGED = [
    ("mp3", "libmp3lame"),
    ("avi", "libmp3lame"),
    ("mkv", "aac"),
    ("webm", "libopus"),
    ("flac", "flac"),
    ("mov", "aac"),
]
TITLE = "Xyzzy title"


@pytest.mark.parametrize(("name", "codec"), [*TAGGED, ("wav", None)])
def test_tags_in_another_encoding_are_ignored(tmp_path: Path, name: str, codec: str | None) -> None:
    path = tmp_path / f"a.{name}"
    if codec is None:
        write_wav(path, pcm16(tone(440, 2, 48_000)), 48_000)
    else:
        encode(path, codec, tone(440, 2, 48_000))
    with av.open(str(path)) as old, av.open(str(tmp_path / f"b.{name}"), "w") as new:
        new.metadata["title"] = TITLE
        track = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.size:
                packet.stream = track
                new.mux(packet)
    content = (tmp_path / f"b.{name}").read_bytes()
    assert TITLE.encode() in content
    odd = tmp_path / f"c.{name}"
    odd.write_bytes(content.replace(TITLE.encode(), "Gülçin títle".encode("latin-1")[: len(TITLE)]))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(odd))
    assert strength(read_audio(odd), 440) == pytest.approx(0.5, rel=0.05)


def two_tracks(path: Path) -> Path:
    """The first track 300 Hz, the second 1,000 Hz."""
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("aac", rate=48_000, layout="mono") for _ in range(2)]
        for track, frequency_hz in zip(tracks, (300, 1000), strict=True):
            samples = tone(frequency_hz, 2, 48_000).astype(np.float32)
            for first in range(0, len(samples) - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48_000, first
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path


def test_of_two_tracks_the_one_that_can_be_decoded(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "a.mkv")
    assert strength(read_audio(path), 300) == pytest.approx(0.5, rel=0.05)
    content = path.read_bytes()
    unknown = tmp_path / "b.mkv"
    unknown.write_bytes(content.replace(b"A_AAC", b"A_ZZZ", 1))  # the first track's codec
    assert strength(read_audio(unknown), 1000) == pytest.approx(0.5, rel=0.05)
    neither = tmp_path / "c.mkv"
    neither.write_bytes(content.replace(b"A_AAC", b"A_ZZZ"))
    with pytest.raises(UnusableError, match=r"c\.mkv: no decoder for its sound") as caught:
        read_audio(neither)
    assert caught.value.reason == "unreadable"
    broken = damage(path, range(93), 0)  # a codec that is known, and nothing but noise in it
    assert strength(read_audio(broken), 1000) == pytest.approx(0.5, rel=0.05)


def stereo(path: Path, left: np.ndarray, right: np.ndarray) -> Path:
    wav = write_wav(path.with_suffix(".wav"), pcm16(np.stack([left, right], 1)))
    if path.suffix == ".flac":
        with av.open(str(path), "w") as container:
            track = container.add_stream("flac", rate=RATE_HZ, layout="stereo")
            for frame in av.open(str(wav)).decode(audio=0):
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_channels_that_cancel_are_named(tmp_path: Path, name: str) -> None:
    left = 0.5 * tone(440, 2)
    for right, cancel in (
        (-left, True),
        (-0.9999 * left, True),
        (-0.99 * left, False),
        (0 * left, False),
        (left[::-1] / 2, False),
    ):
        path = stereo(tmp_path / name, left, right)
        if not cancel:
            read_audio(path)
            continue
        with pytest.raises(UnusableError, match="its channels cancel each other") as caught:
            read_audio(path)
        assert caught.value.reason == "silent"


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_channels_are_judged_where_they_are_read(tmp_path: Path, name: str) -> None:
    """Hum that cancels, a second of it before sound: fine. Sound whose second half cancels: said where that is all there is."""
    hum, sound = 0.0005 * tone(50, 20), tone(440, 20)
    early = np.arange(20 * RATE_HZ) < RATE_HZ
    path = stereo(tmp_path / name, np.where(early, hum, sound), np.where(early, -hum, sound))
    assert strength(read_audio(path), 440) == pytest.approx(0.5, rel=0.01)
    late = np.arange(20 * RATE_HZ) >= 12 * RATE_HZ
    path = stereo(tmp_path / name, sound, np.where(late, -sound, sound))
    assert len(read_audio(path)) == 20 * RATE_HZ
    with pytest.raises(UnusableError, match="its channels cancel each other"):
        read_audio(path, start_s=12, max_duration_s=6)


def test_a_header_that_asks_for_more_memory_than_there_is_is_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(path: Path, limit_s: float) -> None:
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory", str(path))

    monkeypatch.setattr(decoding, "open_container", refuse)
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 100)
    with pytest.raises(UnusableError, match=r"a\.mp4: Cannot allocate memory; check that it is a recording$") as caught:
        read_audio(path)
    assert caught.value.reason == "unreadable"
