"""What the stages do with one file, and what became of it: the project's own functions, up to the rows of their tables."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from speech2face.audio.extraction import segment_frames, spectrogram_shard
from speech2face.audio.table import spectrograms_schema
from speech2face.corpus.sources import list_corpus
from speech2face.faces.extraction import face_shard
from speech2face.faces.table import FACES
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import to_batch
from tests.fuzzing import mutations, seeds
from tests.fuzzing.odd_lists import odd_list

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
LIMIT_S = 10.0
AUDIO = PARAMS.audio.model_copy(update={"segment_s": 3.0, "decode_limit_s": LIMIT_S})
ALL_SEGMENTS = {"segments": "all", "segment_s": 0.5, "stride_s": 0.25, "min_clip_s": 0.1}
PICTURES = PARAMS.faces.model_copy(update={"decode_limit_s": LIMIT_S, "frame_at": [0.1, 0.8]})


@dataclass(frozen=True)
class Outcome:
    """What became of an input: the number of rows, rejects by reason, and what should not have been, each in a line."""

    rows: int
    reasons: dict[str, int]
    faults: tuple[str, ...] = ()


def sound(path: Path, seed: int) -> Outcome:
    """A recording, whole or a part of it, its first segment or all."""
    rng = random.Random(f"sound {seed}")
    settings = AUDIO if rng.random() < 0.6 else AUDIO.model_copy(update=ALL_SEGMENTS)
    row = {"clip_id": "s/v/1", "speaker_id": "s", "audio_path": path.name, "audio_bytes": None, **_part(seed)}
    found = spectrogram_shard([row], settings, {"root": str(path.parent)})
    return _outcome(found, spectrograms_schema(segment_frames(settings.segment_s)))


def picture(path: Path, seed: int) -> Outcome:
    row = {"clip_id": "s/v/1", "speaker_id": "s", "pictures": [[path.name, "", None]]}
    return _outcome(face_shard([row], PICTURES, _faces_context(path)), FACES)


def video(path: Path, seed: int) -> Outcome:
    """A video's faces and its sound, whole or a part of it."""
    row = {"clip_id": "s/v/1", "speaker_id": "s", "video_path": path.name, "video_bytes": None, **_part(seed)}
    row |= {"face_x": None, "face_y": None}
    faces, heard = _outcome(face_shard([row], PICTURES, _faces_context(path)), FACES), sound(path, seed)
    reasons = Counter(faces.reasons) + Counter(heard.reasons)
    return Outcome(faces.rows + heard.rows, dict(reasons), faces.faults + heard.faults)


def own_list(path: Path, seed: int) -> Outcome:
    """A list is taken or refused as a whole, by a ValueError of one line that names it."""
    corpus = PARAMS.corpus.model_copy(update={"source": "manifest", "root": str(path)})
    try:
        _, found = list_corpus(corpus, path.parent / "memory", {}, path.parent / "listed")
    except ValueError as error:
        named = path.name in str(error) or "corpus root" in str(error) or str(path.parent) in str(error)
        plain = type(error) is ValueError and named and "\n" not in str(error)
        return Outcome(0, {"refused": 1}, () if plain else (f"{type(error).__name__}: {error}",))
    rows = pq.read_metadata(path.parent / "listed").num_rows
    return Outcome(rows, dict(Counter(reject.reason for reject in found.rejects)))


def _part(seed: int) -> dict[str, float | None]:
    """Which part of a file of 1.3 s (a video of 1 s) is the clip: all of it, a piece, or what lies beyond its end."""
    rng = random.Random(f"part {seed}")
    if rng.random() < 0.5:
        return {"start_s": None, "end_s": None}
    start_s = rng.choice((None, 0.0, 0.013, 0.25, 1.0, 7.0))
    length_s = rng.choice((None, 0.001, 0.3, 1.0, 1e5))
    return {"start_s": start_s, "end_s": None if length_s is None else (start_s or 0.0) + length_s}


def _faces_context(path: Path) -> dict[str, Any]:
    return {"root": str(path.parent), "device": torch.device("cpu")}


def _outcome(found: Iterable[dict[str, Any] | Reject], schema: pa.Schema) -> Outcome:
    items = list(found)
    rows = [item for item in items if isinstance(item, dict)]
    rejects = [item for item in items if isinstance(item, Reject)]
    if rows:
        to_batch(rows, schema)  # the table must be able to hold them
    faults = [r.message for r in rejects if r.reason == "failed" or "\n" in r.message]
    if not items:
        faults.append("neither a row nor a reject")
    return Outcome(len(rows), dict(Counter(r.reason for r in rejects)), tuple(faults))


KINDS: dict[str, Callable[[Path, int], Outcome]] = {
    "recordings": sound,
    "wav headers": sound,
    "pictures": picture,
    "videos": video,
    "lists": own_list,
}


@cache
def originals(kind: str, scratch: Path) -> dict[str, bytes]:
    """The files that are mutated, by name."""
    scratch.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], dict[str, bytes]]] = {
        "recordings": lambda: seeds.sounds(scratch),
        "pictures": seeds.pictures,
        "videos": lambda: seeds.videos(scratch),
        "lists": seeds.lists,
    }
    return makers[kind]()


def write_input(kind: str, seed: int, folder: Path) -> Path:
    """The input that a seed stands for, as a file in `folder`."""
    if kind == "wav headers":
        path, content = folder / "header.wav", mutations.mutated_wav(seed)
    else:
        files = originals(kind, folder / "originals")
        name = sorted(files)[seed % len(files)]
        path, content = folder / name, mutations.mutated(files[name], seed)
        if kind == "lists" and seed // len(files) % 3:  # flipped bytes alone hardly get beyond the reader
            content = odd_list(files[name], seed)
    if kind == "lists":
        (folder / "a.wav").write_bytes(b"x")
    path.write_bytes(content)
    return path


def examine(kind: str, path: Path, seed: int) -> Outcome:
    """What becomes of an input; an exception that would have ended the stage is a fault. The seed also decides which part is used."""
    try:
        return KINDS[kind](path, seed)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(0, {}, (f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})",))
