"""Small corpora in the layouts that the datasets' authors gave them, of tones and grey pictures."""

import wave
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from speech2face.corpus.clips import Clip, Clips
from speech2face.corpus.digests import Digests, FileDigest
from speech2face.corpus.manifest import manifest_rows, manifest_schema

VOX1_HEADER = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")


def write_wav(path: Path, frequency_hz: float = 200.0, duration_s: float = 1.5, rate_hz: int = 16_000) -> Path:
    """A 16-bit tone at a quarter of full scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 8000 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_picture(path: Path, level: int = 128) -> Path:
    """A grey picture without a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (96, 96), (level, level, level)).save(path)
    return path


def touch(path: Path, content: bytes = b"x") -> Path:
    """A file of some bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_meta(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]], delimiter: str = "\t") -> Path:
    """A metafile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(delimiter.join(row) + "\n" for row in (header, *rows)), "utf-8")
    return path


def voxceleb1(
    root: Path, num_speakers: int = 3, num_videos: int = 2, num_clips: int = 2, num_pictures: int = 2
) -> Path:
    """A complete VoxCeleb1 tree; speaker n is `id1000n`, called `Speaker_n`. Every file has content of its own."""
    rows = []
    for s in range(num_speakers):
        speaker, name = f"id{10001 + s}", f"Speaker_{s:03d}"
        rows.append((speaker, name, "mf"[s % 2], "Norway", "dev"))
        for v in range(num_videos):
            for c in range(num_clips):
                write_wav(root / f"wav/{speaker}/video{v}/{c + 1:05d}.wav", 100 + 40 * s + 7 * v + 3 * c)
            for p in range(num_pictures):
                write_picture(root / f"unzippedFaces/{name}/1.6/video{v}/{p:07d}.jpg", 10 + s + 20 * v + 40 * p)
    write_meta(root / "vox1_meta.csv", VOX1_HEADER, rows)
    return root


def digest_files(
    root: Path, relatives: Sequence[str], memory: Path, caches: Sequence[str] = ()
) -> dict[str, FileDigest]:
    """Digests of some files, as a listing takes them."""
    with Digests(root, memory, caches) as digests:
        return digests.of(relatives)


def manifest_of(clips: Iterable[Clip], digests: Mapping[str, FileDigest], roles: Mapping[str, str]) -> pa.Table:
    """A manifest of clips whose files are known."""
    packed = Clips(clips)
    return manifest_rows(list(packed), digests, "voxceleb1", manifest_schema(packed, roles))
