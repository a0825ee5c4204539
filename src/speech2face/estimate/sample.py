"""A generated corpus of a published one's kind: as many clips as are asked for, from the recordings of a few synthetic speakers.

Each clip has files of its own, by hard links, because what is equal is computed once.
"""

import io
import os
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from speech2face.estimate.corpora import CorpusSize, pictures_of
from speech2face.pipeline.atomic import link
from speech2face.synthetic.rendering import FaceRenderer
from speech2face.synthetic.speakers import draw_speaker, draw_video
from speech2face.synthetic.voices import synthesise

RATE_HZ, FRAMES_A_SECOND, RENDERED_PX = 16_000, 25, 256
SPLITS = ("train", "train", "val", "test")
"""Of the speakers in turn."""
LINKS_OF_A_FILE = 60_000
"""More names than this some file systems give no file."""
LIST = pa.schema(
    [
        ("clip_id", pa.string()),
        ("speaker_id", pa.string()),
        ("audio_path", pa.string()),
        ("video_path", pa.string()),
        ("image_paths", pa.list_(pa.string())),
        ("split", pa.string()),
    ]
)


@dataclass(frozen=True)
class Voice:
    """The files of one synthetic speaker: a recording, and a picture or a video; `face` is None where the recording is the video."""

    sound: Path
    face: Path | None


def make_voices(folder: Path, corpus: CorpusSize, count: int, seed: int = 0) -> Iterator[Voice]:
    """Write and give the files of `count` synthetic speakers, in the formats and sizes of a corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    renderer = FaceRenderer(RENDERED_PX)
    for index in range(count):
        speaker, video = draw_speaker(seed, index), draw_video(seed, index, 0)
        waveform = synthesise(speaker, video, corpus.clip_s, RATE_HZ)
        picture = on_canvas(renderer.render(speaker, video), *corpus.frame_px)
        sound, face = folder / f"{index}.{corpus.sound}", folder / f"{index}.{'jpg' if corpus.pictures else 'mp4'}"
        if corpus.pictures:
            face.write_bytes(jpeg(picture))
        else:
            write_video(face, picture, corpus.clip_s, waveform if corpus.sound == "mp4" else None)
        if corpus.sound == "wav":
            write_wav(sound, waveform)
        elif corpus.sound == "m4a":
            write_sound(sound, waveform)
        for path, num_bytes in ((face, corpus.face_bytes), (sound, corpus.sound_bytes)):
            if path.suffix in (".mp4", ".m4a") and num_bytes:
                pad(path, num_bytes)
        yield Voice(sound, None if sound == face else face)


def write_corpus(
    folder: Path,
    voices: list[Voice],
    pictures_per_video: int | None,
    speakers: int,
    videos: int = 2,
    clips: int = 1,
) -> Path:
    """Write the files and the list (`manifest.parquet`) of a corpus of some speakers with `videos` videos each, of `clips` clips; returns
    its folder. Speaker n is the same in a small and in a large corpus, and takes the files of voice n in turn."""
    with_pictures = voices[0].face is not None and voices[0].face.suffix == ".jpg"
    rows = []
    for number in range(speakers):
        voice, speaker = voices[number % len(voices)], speaker_name(number)
        for video in range(videos):
            base = f"{speaker}/v{video:04d}"
            pictures = [f"faces/{base}/{n:05d}.jpg" for n in range(pictures_of(pictures_per_video) * with_pictures)]
            for path in pictures:
                _name(voice.face, folder / path)
            for clip in range(clips):
                clip_id = f"{base}/{clip:05d}"
                sound = f"sound/{clip_id}{voice.sound.suffix}"
                face = sound if voice.face is None else f"faces/{clip_id}.mp4"
                _name(voice.sound, folder / sound)
                if voice.face is not None and not with_pictures:
                    _name(voice.face, folder / face)
                rows.append(
                    {
                        "clip_id": clip_id,
                        "speaker_id": speaker,
                        "audio_path": sound,
                        "video_path": None if with_pictures else face,
                        "image_paths": pictures,
                        "split": SPLITS[number % len(SPLITS)],
                    }
                )
    pq.write_table(pa.Table.from_pylist(rows, LIST), folder / "manifest.parquet")
    return folder


def speaker_name(number: int) -> str:
    """The id of speaker `number`."""
    return f"s{number:06d}"


def _name(source: Path | None, target: Path) -> None:
    """Give a file one more name, or a copy where it has all that it can."""
    assert source is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_nlink >= LINKS_OF_A_FILE:
        copied = source.with_name(f"{source.name}.{os.getpid()}")
        copied.write_bytes(source.read_bytes())
        copied.replace(source)
    try:
        target.hardlink_to(source)
    except OSError:
        link(source, target)


def on_canvas(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A square picture uint8 [S, S, 3] in the middle of a grey one of [height, width, 3], scaled down where it does not fit."""
    side = min(len(picture), width, height)
    canvas = np.full((height, width, 3), 96, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    scaled = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
    canvas[top : top + side, left : left + side] = np.asarray(scaled)
    return canvas


def jpeg(picture: np.ndarray) -> bytes:
    """A picture as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """A waveform float32 [T] in -1..1 as wav of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((waveform * 32767).astype("<i2").tobytes())


def write_sound(path: Path, waveform: np.ndarray) -> None:
    """A waveform as AAC in an m4a file."""
    with av.open(str(path), "w", format="ipod") as container:
        _encode_sound(container, container.add_stream("aac", rate=RATE_HZ, layout="mono"), waveform)


def write_video(path: Path, picture: np.ndarray, duration_s: float, waveform: np.ndarray | None) -> None:
    """A picture that moves a little, as H.264 in an mp4 file, with a waveform as AAC where there is one."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options={"preset": "ultrafast"})
        stream.height, stream.width, _ = picture.shape
        stream.pix_fmt = "yuv420p"
        sound = None if waveform is None else container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for number in range(round(duration_s * FRAMES_A_SECOND)):
            moved = np.roll(picture, (number // 5) % 4, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")))
        container.mux(stream.encode())
        if sound is not None and waveform is not None:
            _encode_sound(container, sound, waveform)


def _encode_sound(container: av.container.OutputContainer, stream: av.AudioStream, waveform: np.ndarray) -> None:
    frame = av.AudioFrame.from_ndarray(waveform[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def pad(path: Path, num_bytes: int) -> None:
    """Make an mp4 or m4a file so many bytes long, by a box that players pass over (ISO 14496-12, 8.1.2); a longer one stays as it is."""
    missing = num_bytes - path.stat().st_size
    if missing >= 8:
        with path.open("ab") as file:
            file.write(struct.pack(">I4s", missing, b"free") + bytes(missing - 8))
