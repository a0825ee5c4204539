"""VoxCeleb1 and VoxCeleb2 as their authors laid them out, whole or in part, and the synthetic corpus in VoxCeleb1's layout.

VoxCeleb1: `wav/<id>/<video>/<utterance>.wav`, `unzippedFaces/<name>/1.6/<video>/*.jpg`, and `vox1_meta.csv`, which joins id and name.
VoxCeleb2: `aac/<id>/<video>/<utterance>.m4a`, `mp4/<id>/<video>/<utterance>.mp4`, and `vox2_meta.csv`.
Both also below `dev/` and `test/`, and one beside the other in folders `vox1` and `vox2`.
An optional `attributes.csv` (columns `clip_id` and one for each attribute) adds what is known of single clips of VoxCeleb1.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech2face.corpus.clips import Clip
from speech2face.corpus.listing import (
    AUDIO_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    Identity,
    Listing,
    evenly,
    files,
    folders,
    joined,
    name_key,
)
from speech2face.corpus.readers.text_tables import are_numbers, read_table, values_of
from speech2face.corpus.voxceleb_layout import ATTRIBUTES_NAME, FACE_FOLDER, META_NAME
from speech2face.pipeline.rejects import Reject

META2_NAME = "vox2_meta.csv"
NAMED_META2_NAME = "full_vox2_meta.csv"  # of HQ-VoxCeleb: with names
PARTS = ("", "dev", "test")
AUDIO1, AUDIO2, VIDEO2 = ("wav",), ("aac", "m4a", "wav"), ("mp4",)
SHARED_SPEAKERS = {"id03347": "Harry_Connick_Jr."}
"""Speakers of VoxCeleb2 who are known to be in VoxCeleb1 as well, for copies without the list of names."""


def read_meta(
    path: Path, id_column: str = "VoxCeleb1 ID", needed: Sequence[str] = ("VGGFace1 ID",)
) -> dict[str, dict[str, str]]:
    """The speakers of a metafile by id: their columns, without the blanks around headers and values.

    Tab-separated (as vox1_meta.csv is published, in spite of its name) or comma-separated (copies of it, and vox2_meta.csv): the
    header decides. Raises ValueError if it is missing, is not text or lacks the columns.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing; it comes with the dataset and says who the ids are")
    columns = read_table(path).columns
    if any(not columns.get(name) for name in (id_column, *needed)):
        got = ", ".join(columns)[:80]
        raise ValueError(f"{path} must have the columns {' and '.join((id_column, *needed))} (got {got!r})")
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return {row[id_column]: row for row in rows}


def list_voxceleb1(root: Path, pictures_per_video: int | None = None, base: str = "") -> Listing:
    """The clips of the VoxCeleb1 tree in `root`/`base`. Raises ValueError if it holds no recordings or no metafile."""
    speakers = speaker_folders(root, base, AUDIO1)
    if not speakers:
        raise ValueError(
            f"corpus.root {root / base} has no folder wav with speakers; it must hold wav/, unzippedFaces/ and {META_NAME}"
        )
    meta = read_meta(root / base / META_NAME)
    extra = _read_attributes(root / base / ATTRIBUTES_NAME, meta)
    faces = [joined(base, part, "unzippedFaces") for part in PARTS]
    by_name = {name_key(name): joined(folder, name) for folder in reversed(faces) for name in folders(root / folder)}
    listing = Listing(identities=identities1(meta))
    for speaker, places in speakers.items():
        name = meta[speaker]["VGGFace1 ID"] if speaker in meta else None
        folder = by_name.get(name_key(name)) if name else None
        images: dict[str, tuple[str, ...]] = {}
        for (video, utterance), path in recordings(root, places, AUDIO_SUFFIXES).items():
            clip_id = f"{speaker}/{video}/{utterance}"
            if video not in images:
                place = joined(folder, FACE_FOLDER, video) if folder else None
                found = evenly(files(root / place, PICTURE_SUFFIXES), pictures_per_video) if place else ()
                images[video] = tuple(f"{place}/{picture}" for picture in found)
            if images[video]:
                attributes = {**known_attributes(meta[speaker]), **extra.get(clip_id, {})}
                listing.clips.append(Clip(clip_id, speaker, path, images[video], attributes=attributes))
                continue
            where = f"no picture in unzippedFaces/{name}/{FACE_FOLDER}/{video}"
            unknown = f"{speaker} is not in {META_NAME}, so its faces cannot be found"
            listing.missing.append(Reject(clip_id, "no_image", where if name else unknown))
    listing.missing += absent_speakers(meta, speakers, "wav")
    return listing


def list_voxceleb2(root: Path, base: str = "") -> Listing:
    """The clips of the VoxCeleb2 tree in `root`/`base`: sound from `aac`, else from the video itself; faces from the video.

    Raises ValueError if it holds neither.
    """
    sounds, videos = speaker_folders(root, base, AUDIO2), speaker_folders(root, base, VIDEO2)
    if not sounds and not videos:
        raise ValueError(
            f"corpus.root {root / base} has no folder aac or mp4 with speakers, also not below dev/ or test/"
        )
    meta = read_meta2(root / base)
    listing = Listing(identities=identities2(meta))
    for speaker in sorted({*sounds, *videos}):
        sound = recordings(root, sounds.get(speaker, []), AUDIO_SUFFIXES)
        video = recordings(root, videos.get(speaker, []), VIDEO_SUFFIXES)
        if speaker not in meta:
            part = next((p for p in PARTS if p and f"/{p}/" in f"/{next(iter({**sound, **video}.values()), '')}"), None)
            listing.identities[speaker] = Identity(SHARED_SPEAKERS.get(speaker), official=part)
        for key in sorted({*sound, *video}):
            clip_id = "/".join((speaker, *key))
            if key in video:
                attributes = known_attributes(meta.get(speaker, {}))
                path = sound.get(key, video[key])
                listing.clips.append(Clip(clip_id, speaker, path, video_path=video[key], attributes=attributes))
            else:
                message = f"{sound[key]} has no video mp4/{clip_id}.mp4 to take a face from"
                listing.missing.append(Reject(clip_id, "no_image", message))
    listing.missing += absent_speakers(meta, {**sounds, **videos}, "aac or mp4")
    return listing


def list_both(root: Path, pictures_per_video: int | None = None) -> Listing:
    """VoxCeleb1 in `vox1` and VoxCeleb2 in `vox2`, as one corpus in which a speaker of both is one speaker."""
    return merge(list_voxceleb1(root, pictures_per_video, "vox1"), list_voxceleb2(root, "vox2"), "vox2")


def merge(first: Listing, second: Listing, mark: str) -> Listing:
    """Two listings as one, which takes over the clips of the first. A speaker of the second with the name of one of the first takes the
    first's id.

    Utterances of such a speaker get `mark` before their name. Where the datasets disagree on the official part, it is test.
    """
    by_name = {name_key(i.name).casefold(): s for s, i in first.identities.items() if i.name}
    same = {s: by_name.get(name_key(i.name).casefold()) for s, i in second.identities.items() if i.name}
    identities = dict(first.identities)
    for speaker, identity in second.identities.items():
        twin = same.get(speaker)
        if twin is None:
            identities[speaker] = identity
        elif identity.official == "test":
            identities[twin] = replace(identities[twin], official="test")

    for clip in second.clips:
        twin = same.get(clip.speaker_id)
        if twin is not None:
            video, utterance = clip.clip_id.split("/")[1:]
            clip = replace(clip, clip_id=f"{twin}/{video}/{mark}-{utterance}", speaker_id=twin)
        first.clips.append(clip)
    return Listing(first.clips, identities, first.rejects + second.rejects, first.missing + second.missing)


def speaker_folders(root: Path, base: str, kinds: Sequence[str]) -> dict[str, list[str]]:
    """Folders of each speaker in `base`, relative to the root, sorted by speaker; `kinds` are what their parents are called."""
    found: dict[str, list[str]] = {}
    for kind in kinds:
        for part in PARTS:
            place = joined(base, part, kind)
            for speaker in folders(root / place):
                found.setdefault(speaker, []).append(f"{place}/{speaker}")
    return dict(sorted(found.items()))


def recordings(root: Path, places: Sequence[str], suffixes: Sequence[str]) -> dict[tuple[str, str], str]:
    """Files `<video>/<utterance>.*` of the folders of one speaker by (video, utterance); the first place that has one wins."""
    found: dict[tuple[str, str], str] = {}
    for place in places:
        for video in folders(root / place):
            for name in files(root / place / video, suffixes):
                found.setdefault((video, name.rpartition(".")[0]), f"{place}/{video}/{name}")
    return found


def read_meta2(directory: Path) -> dict[str, dict[str, str]]:
    """The speakers of VoxCeleb2 by id, with names where HQ-VoxCeleb's list is there; empty where no list is."""
    named, plain = directory / NAMED_META2_NAME, directory / META2_NAME
    if named.exists():
        return read_meta(named, "VoxCeleb2 ID", ("Name",))
    return read_meta(plain, "VoxCeleb2 ID", ()) if plain.exists() else {}


def identities1(meta: dict[str, dict[str, str]]) -> dict[str, Identity]:
    """What VoxCeleb1's metafile says of its speakers."""
    return {
        speaker: Identity(row["VGGFace1 ID"], number, row.get("Set") or None)
        for number, (speaker, row) in enumerate(meta.items())
    }


def identities2(meta: dict[str, dict[str, str]]) -> dict[str, Identity]:
    """What VoxCeleb2's metafile says of its speakers."""
    return {
        speaker: Identity(row.get("Name") or SHARED_SPEAKERS.get(speaker), number, row.get("Set") or None)
        for number, (speaker, row) in enumerate(meta.items())
    }


def absent_speakers(meta: dict[str, dict[str, str]], present: dict[str, list[str]], where: str) -> list[Reject]:
    """A line for each speaker of the metafile who has no folder."""
    return [
        Reject(
            speaker,
            "missing_file",
            f"no recordings of {row.get('VGGFace1 ID') or row.get('Name') or speaker} in {where}",
        )
        for speaker, row in meta.items()
        if speaker not in present
    ]


def known_attributes(row: dict[str, str]) -> dict[str, str | float | None]:
    """Attributes of a speaker in a metafile's row."""
    return {"sex": row.get("Gender") or None, "nationality": row.get("Nationality") or None}


def _read_attributes(path: Path, meta: dict[str, dict[str, str]]) -> dict[str, dict[str, str | float | None]]:
    """Attributes of clips by clip_id, from a table if there is one. Raises ValueError where its numbers meet the metafile's words."""
    if not path.exists():
        return {}
    table = read_table(path)
    if "clip_id" not in table.columns:
        raise ValueError(f"{path} lacks the column clip_id; it has {', '.join(table.columns)}")
    ids = table.columns.pop("clip_id")
    values = {name: values_of(table, name, bool(are_numbers(texts))) for name, texts in table.columns.items()}
    for attributes in map(known_attributes, meta.values()):
        for name, word in attributes.items():
            number = next((value for value in values.get(name, ()) if isinstance(value, float)), None)
            if word is not None and number is not None:
                raise ValueError(
                    f"{path}, column {name}: holds numbers ({number:g}), and the metafile has words for it ({word}); "
                    "use the metafile's words, or call the column something else"
                )
    return {clip_id: {name: values[name][row] for name in values} for row, clip_id in enumerate(ids)}
