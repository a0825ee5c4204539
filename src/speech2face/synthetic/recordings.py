"""The embedded corpus: synthetic speakers, rendered and synthesised, written in VoxCeleb1's layout.

Nobody's face and nobody's voice. Since the truth about every speaker is known, it measures what no real corpus can: how much of the
knowable was learned, and whether anything unknowable leaked.
"""

import io
import json
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from speech2face.corpus.voxceleb_layout import ATTRIBUTES_NAME, FACE_FOLDER, META_NAME
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.params import Synthetic
from speech2face.pipeline.provenance import chunk
from speech2face.pipeline.shards import iterate_rows
from speech2face.synthetic.rendering import FaceRenderer
from speech2face.synthetic.speakers import CONTROLS, LINKED, NUM_TEXTS, Speaker, Video, draw_speaker, draw_video
from speech2face.synthetic.voices import synthesise

SAMPLE_RATE_HZ = 16000
SPEAKERS_PER_SHARD = 4
FILES = pa.schema([pa.field("path", pa.string(), nullable=False), pa.field("content", pa.binary(), nullable=False)])
"""A shard of the corpus: the files of some speakers."""
UNREAD = frozenset({"num_speakers"})
"""Settings that change no shard: a speaker's files do not depend on the number of speakers."""
RECORD_NAME = "shards.json"
"""Beside the recordings: which files belong to which shard, so that shards can be made from them again."""
ROLES = dict.fromkeys(LINKED, "linked") | dict.fromkeys(CONTROLS, "control")


def plan(settings: Synthetic) -> Iterator[list[dict[str, Any]]]:
    """The speakers of the corpus, in shards."""
    for run in chunk((f"{i:04d}" for i in range(settings.num_speakers)), SPEAKERS_PER_SHARD):
        yield [{"index": int(i)} for i in run]


def render_shard(
    rows: Sequence[dict[str, Any]], settings: Synthetic, context: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The pictures and recordings of a shard's speakers, as rows of `FILES`."""
    renderer = _renderer(settings.size_px, settings.samples_per_pixel)
    for row in rows:
        speaker = draw_speaker(settings.seed, row["index"])
        for number in range(settings.videos_per_speaker):
            video = draw_video(settings.seed, row["index"], number)
            face = f"unzippedFaces/{speaker.name}/{FACE_FOLDER}/{video.video}/0000001.jpg"
            yield {"path": face, "content": _jpeg(renderer.render(speaker, video))}
            for utterance in range(settings.clips_per_video):
                waveform = synthesise(speaker, _spoken(video, utterance), settings.clip_s, SAMPLE_RATE_HZ)
                yield {"path": f"wav/{_clip_id(speaker, video, utterance)}.wav", "content": _wav(waveform)}


def export(shards: Sequence[Path], root: Path, settings: Synthetic) -> None:
    """Write the files of finished shards below `root`, with the metafile, the drawn values of every clip, and the record of shards."""
    record: dict[str, list[str]] = {}
    for path in shards:
        record[path.stem] = []
        for row in iterate_rows(path):
            target = root / row["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(row["content"])
            record[path.stem].append(row["path"])
    write_json(root / RECORD_NAME, record)
    meta, attributes = [], []
    for index in range(settings.num_speakers):
        speaker = draw_speaker(settings.seed, index)
        meta.append((speaker.speaker_id, speaker.name, speaker.sex, "", "dev"))
        for number in range(settings.videos_per_speaker):
            for utterance in range(settings.clips_per_video):
                video = _spoken(draw_video(settings.seed, index, number), utterance)
                attributes.append({"clip_id": _clip_id(speaker, video, utterance), **attributes_of(speaker, video)})
    header = ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    pd.DataFrame(meta, columns=header).to_csv(root / META_NAME, sep="\t", index=False)
    pd.DataFrame(attributes).to_csv(root / ATTRIBUTES_NAME, index=False)


def restorer(exported: Callable[[], Mapping[str, Path]]) -> Callable[[str], Iterator[dict[str, Any]] | None]:
    """A function that gives the rows of a shard by its fingerprint, read from files that `export` wrote; None where they are not all there.

    `exported` says where each of those files lies now, by its path below the exported folder; it is asked once, when it is needed.
    """

    @cache
    def known() -> tuple[Mapping[str, Path], dict[str, list[str]]]:
        files = exported()
        return files, json.loads(files[RECORD_NAME].read_text("utf-8")) if RECORD_NAME in files else {}

    def restore(fingerprint: str) -> Iterator[dict[str, Any]] | None:
        files, record = known()
        paths = record.get(fingerprint)
        if paths is None or not all(path in files for path in paths):
            return None
        return ({"path": path, "content": files[path].read_bytes()} for path in paths)

    return restore


def attributes_of(speaker: Speaker, video: Video) -> dict[str, Any]:
    """Every drawn value of a clip; tuples are spread over one column a number, and category numbers are names."""
    drawn = {**vars(speaker), **vars(video), "pose": video.pose, "words": f"text{video.words:02d}"}
    for name in ("speaker_id", "name", "video"):
        del drawn[name]
    for name, parts in (("ancestry", ("african", "asian", "caucasian")), ("background", "rgb"), ("shirt", "rgb")):
        drawn |= {f"{name}_{part}": value for part, value in zip(parts, drawn.pop(name), strict=True)}
    for name in ("hair_cut", "eye_colour"):
        drawn[name] = f"{name}{drawn[name]}"
    return drawn


@cache
def _renderer(size_px: int, samples_per_pixel: int) -> FaceRenderer:
    return FaceRenderer(size_px, samples_per_pixel)


def _clip_id(speaker: Speaker, video: Video, utterance: int) -> str:
    return f"{speaker.speaker_id}/{video.video}/{utterance + 1:05d}"


def _spoken(video: Video, utterance: int) -> Video:
    return replace(video, words=(video.words + utterance) % NUM_TEXTS)


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _wav(waveform: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
