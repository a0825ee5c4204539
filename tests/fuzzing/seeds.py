"""Small sound files, pictures, videos and lists of many formats, to be mutated."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image

from tests.dlib_nets.pictures import rendered_faces
from tests.faces.exif import turned

RATE_HZ = 16_000
DURATION_S = 1.3
SOUNDS = {  # name: (codec, sample rate in Hz, sample format)
    "a.wav": ("pcm_s16le", RATE_HZ, "s16"),
    "b.wav": ("pcm_s24le", 44_100, "s32"),
    "c.flac": ("flac", RATE_HZ, "s16"),
    "d.mp3": ("libmp3lame", 24_000, "fltp"),
    "e.ogg": ("libopus", 48_000, "flt"),
    "f.aac": ("aac", 32_000, "fltp"),
    "g.m4a": ("aac", RATE_HZ, "fltp"),
    "h.webm": ("libopus", 48_000, "flt"),
    "i.mkv": ("pcm_f32le", RATE_HZ, "flt"),
    "j.aiff": ("pcm_s16be", 22_050, "s16"),
}
VIDEOS = {"a.mp4": "libx264", "b.mov": "libx264", "c.mkv": "mpeg4", "d.webm": "libvpx", "e.avi": "mpeg4"}
NUM_FRAMES, SIZE_PX = 10, 128


def sounds(folder: Path) -> dict[str, bytes]:
    """A tone in ten formats, by file name; `folder` is for scratch."""
    found = {}
    for name, (codec, rate_hz, sample_format) in SOUNDS.items():
        with av.open(str(folder / name), "w") as container:
            container.metadata["title"] = "A tone"
            _write_tone(container, codec, rate_hz, sample_format)
        found[name] = (folder / name).read_bytes()
    return found


def videos(folder: Path) -> dict[str, bytes]:
    """A face and a tone in five formats, by file name."""
    face = Image.fromarray(rendered_faces()[0]).resize((SIZE_PX, SIZE_PX))
    found = {}
    for name, codec in VIDEOS.items():
        sound = ("libopus", 48_000, "flt") if name.endswith("webm") else ("aac", 44_100, "fltp")
        with av.open(str(folder / name), "w") as container:
            pictures = container.add_stream(codec, rate=10)
            pictures.width, pictures.height, pictures.pix_fmt, pictures.gop_size = SIZE_PX, SIZE_PX, "yuv420p", 4
            _write_tone(container, *sound)
            for number in range(NUM_FRAMES):
                frame = av.VideoFrame.from_image(face)
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(pictures.encode(frame))
            container.mux(pictures.encode(None))
        found[name] = (folder / name).read_bytes()
    return found


def _write_tone(container: av.container.OutputContainer, codec: str, rate_hz: int, sample_format: str) -> None:
    stream = container.add_stream(codec, rate=rate_hz)
    stream.layout, stream.format = "mono", sample_format
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(DURATION_S * rate_hz)) / rate_hz)
    frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    resampler = av.AudioResampler(sample_format, "mono", rate_hz, frame_size=stream.codec_context.frame_size or 1024)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def pictures() -> dict[str, bytes]:
    """A face in ten formats, some of them turned as EXIF says, by file name."""
    face = Image.fromarray(rendered_faces()[0]).resize((SIZE_PX, SIZE_PX))
    grey16 = Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)
    odd = [(tag, 2, b"2\0\0\0") for tag in (0x0128, 0x011A)]  # the unit of the resolution and the resolution, as text
    quarter, half, mirrored = turned(6, *odd), turned(3), turned(2, *odd)
    kinds = {
        "a.jpg": (face.transpose(Image.Transpose.ROTATE_90), {"format": "JPEG", "exif": quarter}),
        "b.jpg": (face, {"format": "JPEG", "progressive": True}),
        "c.jpg": (face.convert("CMYK"), {"format": "JPEG"}),
        "d.png": (face.transpose(Image.Transpose.ROTATE_180), {"format": "PNG", "exif": half}),
        "e.png": (grey16, {"format": "PNG"}),
        "f.webp": (face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"format": "WEBP", "exif": mirrored}),
        "g.bmp": (face, {"format": "BMP"}),
        "h.tiff": (face, {"format": "TIFF", "compression": "tiff_lzw"}),
        "i.gif": (face, {"format": "GIF"}),
        "j.jp2": (face, {"format": "JPEG2000"}),
    }
    found = {}
    for name, (image, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, **options)
        found[name] = buffer.getvalue()
    return found


def lists() -> dict[str, bytes]:
    """A list of clips as csv, separated by tabs, and as Parquet, by file name."""
    rows = pd.DataFrame(
        {
            "clip_id": [f"{s}/v/{i}" for s in ("Ann", "Zo\u00eb") for i in range(3)],
            "speaker_id": ["Ann"] * 3 + ["Zo\u00eb"] * 3,
            "audio_path": ["a.wav"] * 6,
            "split": ["train"] * 3 + ["test"] * 3,
            "start_s": [0.0, 1.0, 2.0, None, 0.5, 1.5],
            "age": [31.0, 31.0, None, 20.0, 20.0, 20.0],
            "country": ["NA", "NA", "NA", "DE", "DE", None],
        }
    )
    buffer = io.BytesIO()
    rows.to_parquet(buffer)
    tabs = rows.to_csv(index=False, sep="\t").encode()
    return {"a.csv": rows.to_csv(index=False).encode(), "b.csv": tabs, "c.parquet": buffer.getvalue()}
