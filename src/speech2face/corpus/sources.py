"""From `corpus.source` and `corpus.root` to a manifest and the splits: reads the corpus, and says what is missing."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from speech2face.corpus.digests import digest_files
from speech2face.corpus.listing import Listing, without_unwritable
from speech2face.corpus.manifest import CORPUS, MANIFEST_NAME, build_manifest, usable, write_manifest
from speech2face.corpus.paths import corpus_root, dvc_caches
from speech2face.corpus.readers import avspeech, hq_voxceleb, own_list, videos, voxceleb
from speech2face.corpus.splits import SPEAKERS_PATH, assign_splits, speaker_counts, write_splits
from speech2face.pipeline.params import Corpus
from speech2face.pipeline.rejects import Reject, escaped

NAMED = 3  # missing things that the summary names; the table of rejects names all


def list_corpus(corpus: Corpus, memory: Path, roles: Mapping[str, str]) -> tuple[pa.Table, dict[str, str], Listing]:
    """The manifest of a corpus, the split of each of its speakers, and what was left out; `memory` is the file that remembers digests.

    Raises ValueError, its message one line whatever names and lists hold, if nothing usable is there.
    """
    try:
        return _list_corpus(corpus, memory, roles)
    except ValueError as error:
        raise ValueError(escaped(str(error))) from error


def _list_corpus(corpus: Corpus, memory: Path, roles: Mapping[str, str]) -> tuple[pa.Table, dict[str, str], Listing]:
    root = corpus_root(corpus.root)
    if not root.is_dir():
        raise ValueError(f"corpus.root {corpus.root} does not exist; it must name the folder of the recordings")
    listing = without_unwritable(_read(corpus, root))
    paths = [p for c in listing.clips for p in (c.audio_path, c.video_path, *c.image_paths) if p is not None]
    digests = digest_files(root, paths, memory, dvc_caches(root))
    listing.clips, rejects = usable(listing.clips, digests)
    listing.rejects += rejects
    if not listing.clips:
        raise ValueError(
            f"corpus.root {root} has no clip that can be used; {_commonest(listing.rejects + listing.missing)}"
        )
    by = "column" if any(i.split for i in listing.identities.values()) else corpus.splits.by
    splits = assign_splits(listing.identities, by, corpus.splits.val, corpus.splits.test)
    speakers = sorted({clip.speaker_id for clip in listing.clips})
    table = build_manifest(listing.clips, digests, corpus.source, roles)
    return table, {speaker: splits[speaker] for speaker in speakers}, listing


def _read(corpus: Corpus, root: Path) -> Listing:
    match corpus.source:
        case "synthetic" | "voxceleb1":
            return voxceleb.list_voxceleb1(root, corpus.pictures_per_video)
        case "voxceleb2":
            return voxceleb.list_voxceleb2(root)
        case "voxceleb1+2":
            return voxceleb.list_both(root, corpus.pictures_per_video)
        case "hq_voxceleb":
            return hq_voxceleb.list_hq_voxceleb(root, corpus.pictures_per_video)
        case "avspeech":
            return avspeech.list_avspeech(root)
        case "videos":
            return videos.list_videos(root)
        case "manifest":
            return own_list.list_own(str(corpus.root), corpus.splits.column, corpus.splits.by == "column")


def write_corpus(table: pa.Table, splits: Mapping[str, str]) -> None:
    """Write the manifest and the table of speakers, each where the stages look for it."""
    write_manifest(CORPUS / MANIFEST_NAME, table)
    write_splits(SPEAKERS_PATH, splits)


def missing_line(missing: list[Reject]) -> str:
    """What a complete copy would have besides, counted, the first of each kind named; empty if nothing is missing."""
    if not missing:
        return ""
    kinds = {"missing_file": "without recordings", "no_image": "without faces"}
    parts = []
    for reason, count in sorted(Counter(r.reason for r in missing).items()):
        items = [r.item for r in missing if r.reason == reason]
        parts.append(f"{count} {kinds[reason]} ({', '.join(items[:NAMED])}{', ...' if count > NAMED else ''})")
    return f"\nmissing from a complete copy: {'; '.join(parts)}; `speech2face rejects` lists all"


def tally(table: pa.Table, listing: Listing) -> dict[str, Any]:
    """What the stage's summary says of a listing; what is missing counts as neither read nor rejected."""
    return {"rows_in": table.num_rows + len(listing.rejects), "rows_out": table.num_rows, "rejects": listing.rejects}


def counts(splits: Mapping[str, str], listing: Listing) -> dict[str, dict[str, int]]:
    """Counts of what is missing and of the speakers, for the metrics."""
    reasons = Counter(r.reason for r in listing.missing)
    missing = {"total": len(listing.missing), **dict(sorted(reasons.items()))}
    return {"missing": missing, "speakers": speaker_counts(splits)}


def _commonest(rejects: list[Reject]) -> str:
    reasons = Counter(r.reason for r in rejects).most_common(3)
    examples = [(n, next(r for r in rejects if r.reason == reason)) for reason, n in reasons]
    return "; ".join(f"{n} x {r.reason}, for example {r.item}: {r.message}" for n, r in examples)
