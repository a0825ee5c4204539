"""HQ-VoxCeleb: chosen, frontal faces of VoxCeleb's speakers (Bai et al. 2022), with VoxCeleb's recordings.

`vox1|vox2/{masked_faces,origin_faces}/<name>/*.jpg`, the metafiles `vox1/vox1_meta.csv` and `vox2/full_vox2_meta.csv`, and the
recordings as VoxCeleb lays them out, in the same folders or beside them: `vox1/wav/...` or `wav/...`, `vox2/aac/...` or `aac/...`.

The faces belong to a speaker and to no video. They are listed as a video of their own, `<speaker>/hq/faces`, without sound, and
voices without pictures; pair them with `encoder.target: speaker`.
"""

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
    name_key,
)
from speech2face.corpus.readers.voxceleb import (
    identities1,
    identities2,
    known_attributes,
    merge,
    read_meta,
    read_meta2,
    recordings,
    speaker_folders,
)
from speech2face.corpus.voxceleb_layout import META_NAME
from speech2face.pipeline.rejects import Reject

FACE_FOLDERS = ("masked_faces", "origin_faces")
SUFFIXES = (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES)


def list_hq_voxceleb(root: Path, pictures_per_video: int | None = None) -> Listing:
    """The faces of HQ-VoxCeleb and the recordings of the same speakers. Raises ValueError if there are no faces or no recordings."""
    listings = []
    if (root / "vox1").is_dir():
        meta = read_meta(_first(root / "vox1" / META_NAME, root / META_NAME))
        names = {speaker: row["VGGFace1 ID"] for speaker, row in meta.items()}
        places = speaker_folders(root, "", ("wav",)) | speaker_folders(root, "vox1", ("wav",))
        listings.append(_list_part(root, "vox1", pictures_per_video, meta, names, identities1(meta), places))
    if (root / "vox2").is_dir():
        meta = read_meta2(root / "vox2") or read_meta2(root)
        names = {speaker: row["Name"] for speaker, row in meta.items() if row.get("Name")}
        if not names:
            raise ValueError(
                f"{root / 'vox2'} has no full_vox2_meta.csv; it comes with HQ-VoxCeleb and names the speakers"
            )
        kinds = ("aac", "m4a", "mp4")
        places = speaker_folders(root, "", kinds) | speaker_folders(root, "vox2", (*kinds, "wav"))
        listings.append(_list_part(root, "vox2", pictures_per_video, meta, names, identities2(meta), places))
    if not any(listing.clips for listing in listings):
        raise ValueError(
            f"corpus.root {root} has no speaker with both faces (vox1|vox2/masked_faces/<name>/*.jpg) and recordings "
            "(vox1/wav/<id>, vox2/aac/<id>)"
        )
    return listings[0] if len(listings) == 1 else merge(listings[0], listings[1], "vox2")


def _list_part(
    root: Path,
    part: str,
    pictures_per_video: int | None,
    meta: dict[str, dict[str, str]],
    names: dict[str, str],
    identities: dict[str, Identity],
    places: dict[str, list[str]],
) -> Listing:
    listing = Listing(identities=identities)
    faces = {name_key(n): f"{part}/{kind}/{n}" for kind in reversed(FACE_FOLDERS) for n in folders(root / part / kind)}
    known = {name_key(name) for name in names.values()}
    for key, folder in faces.items():
        if key not in known:
            listing.missing.append(
                Reject(folder, "missing_file", f"{folder}: the name is not in the list of {part}'s speakers")
            )
    for speaker, name in names.items():
        place = faces.get(name_key(name))
        pictures = evenly(files(root / place, PICTURE_SUFFIXES), pictures_per_video) if place else ()
        sound = recordings(root, places.get(speaker, []), SUFFIXES)
        if sound and pictures:
            images = tuple(f"{place}/{picture}" for picture in pictures)
            attributes = known_attributes(meta[speaker])
            listing.clips.append(Clip(f"{speaker}/hq/faces", speaker, None, images, attributes=attributes))
            for utterance, path in sound.items():
                listing.clips.append(Clip("/".join((speaker, *utterance)), speaker, path, attributes=attributes))
        elif pictures:
            listing.missing.append(
                Reject(speaker, "missing_file", f"no recordings of {name}, whose faces are in {place}")
            )
        elif sound:
            listing.missing.append(Reject(speaker, "no_image", f"no faces of {name} in {part}/{FACE_FOLDERS[0]}"))
    return listing


def _first(*paths: Path) -> Path:
    return next((path for path in paths if path.exists()), paths[0])
