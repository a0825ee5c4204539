"""VoxCeleb1 as its authors laid it out, and the synthetic corpus, which is written in the same layout.

`wav/<id>/<video>/<utterance>.wav`, `unzippedFaces/<name>/1.6/<video>/*.jpg`, and `vox1_meta.csv`, which joins id and name.
An optional `attributes.csv` (columns `clip_id` and one for each attribute) adds what is known of single clips.
"""

import csv
from pathlib import Path

import pandas as pd

from speech2face.corpus.manifest import Clip
from speech2face.shards import Reject

META_NAME = "vox1_meta.csv"
ATTRIBUTES_NAME = "attributes.csv"
FACE_FOLDER = "1.6"  # the scale at which the faces were cut; the same for all


def read_meta(path: Path) -> dict[str, dict[str, str]]:
    """The speakers of `vox1_meta.csv` by id: their columns, without the blanks around values.

    The published file is tab-separated; copies with commas circulate, so the header decides.
    Raises ValueError if it is missing or lacks the columns.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing; it comes with VoxCeleb1 and joins ids to the names of the face folders"
        ) from None
    lines = text.splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = [
        {k.strip(): (v or "").strip() for k, v in row.items() if k}
        for row in csv.DictReader(lines, delimiter=delimiter)
    ]
    needed = ("VoxCeleb1 ID", "VGGFace1 ID")
    if not rows or any(name not in rows[0] for name in needed):
        raise ValueError(
            f"{path} must have the columns {' and '.join(needed)} (got {lines[0][:80] if lines else 'an empty file'!r})"
        )
    return {row["VoxCeleb1 ID"]: row for row in rows}


def list_clips(root: Path) -> tuple[list[Clip], list[Reject]]:
    """The clips of a VoxCeleb1 tree, also of a partly copied one, and a reject for each clip without pictures of its video."""
    if not (root / "wav").is_dir():
        raise ValueError(f"corpus.root {root} has no folder wav; it must hold wav/, unzippedFaces/ and {META_NAME}")
    meta = read_meta(root / META_NAME)
    extra = _read_attributes(root / ATTRIBUTES_NAME)
    clips, rejects = [], []
    images: dict[str, tuple[str, ...]] = {}
    for audio in sorted((root / "wav").glob("*/*/*.wav")):
        speaker_id, video, utterance = audio.parent.parent.name, audio.parent.name, audio.stem
        clip_id = f"{speaker_id}/{video}/{utterance}"
        row = meta.get(speaker_id)
        if row is None:
            rejects.append(
                Reject(clip_id, "no_image", f"{speaker_id} is not in {META_NAME}, so its faces cannot be found")
            )
            continue
        if (key := f"{speaker_id}/{video}") not in images:
            images[key] = _images(root, row["VGGFace1 ID"], video)
        if not images[key]:
            rejects.append(
                Reject(clip_id, "no_image", f"no picture in unzippedFaces/{row['VGGFace1 ID']}/{FACE_FOLDER}/{video}")
            )
            continue
        known = {"sex": row.get("Gender") or None, "nationality": row.get("Nationality") or None}
        path = audio.relative_to(root).as_posix()
        clips.append(Clip(clip_id, speaker_id, path, images[key], attributes={**known, **extra.get(clip_id, {})}))
    return clips, rejects


def _images(root: Path, name: str, video: str) -> tuple[str, ...]:
    # Windows drops a name's last dot when it unpacks.
    for folder in (name, name.rstrip(".")):
        found = sorted((root / "unzippedFaces" / folder / FACE_FOLDER / video).glob("*.jpg"))
        if found:
            return tuple(path.relative_to(root).as_posix() for path in found)
    return ()


def _read_attributes(path: Path) -> dict[str, dict[str, str | float | None]]:
    if not path.exists():
        return {}
    table = pd.read_csv(path, index_col="clip_id", keep_default_na=False)
    numeric = {name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])}
    return {
        str(i): {str(k): float(v) if k in numeric else str(v) for k, v in row.items()}
        for i, row in table.to_dict("index").items()
    }
