"""From `corpus.source` and `corpus.root` to a manifest and the splits: reads the corpus, and says what is missing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.digests import Digests
from speech2face.corpus.listing import Listing, writable
from speech2face.corpus.manifest import CORPUS, MANIFEST_NAME, manifest_rows, manifest_schema, usable, write_manifest
from speech2face.corpus.paths import corpus_root, dvc_caches
from speech2face.corpus.readers import avspeech, hq_voxceleb, own_list, videos, voxceleb
from speech2face.corpus.splits import SPEAKERS_PATH, assign_splits, speaker_counts, write_splits
from speech2face.pipeline.atomic import replacing
from speech2face.pipeline.params import Corpus
from speech2face.pipeline.progress import progress
from speech2face.pipeline.rejects import Reject, escaped
from speech2face.pipeline.summary import Summary, check_rejects
from speech2face.pipeline.work import work_directory

CLIPS_AT_ONCE = 10_000
NAMED = 3  # missing things that the summary names; the table of rejects names all


def write_corpus(
    corpus: Corpus, roles: Mapping[str, str], summary: Summary, max_reject_fraction: float
) -> tuple[Summary, dict[str, str], Listing]:
    """List a corpus, and write its manifest and the table of speakers, each where the stages look for it. Returns `summary` with what was
    listed, and what `list_corpus` does.

    Raises ValueError, and leaves what was there, if nothing usable was found or too much was left out.
    """
    with replacing(CORPUS / MANIFEST_NAME) as manifest:
        splits, listing = list_corpus(corpus, work_directory() / "digests.sqlite", roles, manifest)
        num_rows = pq.read_metadata(manifest).num_rows
        # what is missing counts as neither read nor rejected
        rows_in = num_rows + len(listing.rejects)
        summary = replace(summary, rows_in=rows_in, rows_out=num_rows, rejects=listing.rejects)
        check_rejects(summary, max_reject_fraction)
    write_splits(SPEAKERS_PATH, splits)
    return summary, splits, listing


def list_corpus(
    corpus: Corpus, memory: Path, roles: Mapping[str, str], manifest: Path
) -> tuple[dict[str, str], Listing]:
    """Write the manifest of a corpus to `manifest`, for the caller to put in its place; the split of each of its speakers, and what was
    listed and left out. `memory` is the file that remembers digests.

    Raises ValueError, its message one line whatever names and lists hold, if nothing usable is there.
    """
    try:
        return _list_corpus(corpus, memory, roles, manifest)
    except ValueError as error:
        raise ValueError(escaped(str(error))) from error


def _list_corpus(
    corpus: Corpus, memory: Path, roles: Mapping[str, str], manifest: Path
) -> tuple[dict[str, str], Listing]:
    root = corpus_root(corpus.root)
    if not root.is_dir():
        raise ValueError(f"corpus.root {corpus.root} does not exist; it must name the folder of the recordings")
    listing = _read(corpus, root)
    schema = manifest_schema(listing.clips, roles)
    speakers: set[str] = set()
    with Digests(root, memory, dvc_caches(root)) as digests:
        with_rows = write_manifest(manifest, _rows(listing, digests, speakers, corpus.source, schema), schema)
    if not with_rows:
        raise ValueError(
            f"corpus.root {root} has no clip that can be used; {_commonest(listing.rejects + listing.missing)}"
        )
    identities = {speaker: identity for speaker, identity in listing.identities.items() if speaker in speakers}
    by = "column" if any(i.split for i in identities.values()) else corpus.splits.by
    splits = assign_splits(identities, by, corpus.splits.val, corpus.splits.test)
    return {speaker: splits[speaker] for speaker in sorted(with_rows)}, listing


def _rows(listing: Listing, digests: Digests, speakers: set[str], source: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The manifest of the clips that can be used, some at a time; the others become rejects of the listing. Notes in `speakers` those
    of all clips that a table can hold."""
    clips = iter(listing.clips)
    batches = iter(lambda: list(islice(clips, CLIPS_AT_ONCE)), [])
    lost: dict[str, Reject] = {}
    for batch in progress(
        batches, len(listing.clips) // CLIPS_AT_ONCE + 1, "make_corpus: reading files", f"x {CLIPS_AT_ONCE} clips"
    ):
        named = [clip for clip in batch if writable(clip)]
        speakers.update(clip.speaker_id for clip in named)
        message = "a file or folder name is not valid UTF-8; rename it"
        if len(named) < len(batch):
            listing.rejects += [Reject(clip.clip_id, "unreadable", message) for clip in batch if not writable(clip)]
        pictures = {clip.image_paths for clip in named}  # clips of one video share theirs
        files = (path for clip in named for path in (clip.audio_path, clip.video_path) if path is not None)
        found = digests.of(chain(files, *pictures))
        kept, rejects, unreadable = usable(named, found)
        listing.rejects += rejects
        lost |= unreadable
        yield manifest_rows(kept, found, source, schema)
    listing.rejects += [lost[path] for path in sorted(lost)]


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


def counts(splits: Mapping[str, str], listing: Listing) -> dict[str, dict[str, int]]:
    """Counts of what is missing and of the speakers, for the metrics."""
    reasons = Counter(r.reason for r in listing.missing)
    missing = {"total": len(listing.missing), **dict(sorted(reasons.items()))}
    return {"missing": missing, "speakers": speaker_counts(splits)}


def _commonest(rejects: list[Reject]) -> str:
    reasons = Counter(r.reason for r in rejects).most_common(3)
    examples = [(n, next(r for r in rejects if r.reason == reason)) for reason, n in reasons]
    return "; ".join(f"{n} x {r.reason}, for example {r.item}: {r.message}" for n, r in examples)
