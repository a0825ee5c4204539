"""Signs that test speakers were seen in training: files, faces or whole people in both."""

from typing import Any

import numpy as np

from speech2face.evaluation.inputs import Aligned, Inputs
from speech2face.evaluation.retrieval import distances

VIDEOS_PER_BLOCK = 512
MOST_VIDEOS = 4096  # of training speakers, from which the usual distances are taken
MARGIN = 0.5  # the nearest of test speakers come about as near by chance as the nearest of training speakers
SAME = 1e-9  # cosine distance of features that come from one picture
NAMED = 20


def find_leaks(inputs: Inputs, aligned: Aligned) -> dict[str, Any]:
    """Counts, with some names, of what test speakers share with others. (A speaker's id in two splits is refused before.)

    shared_files: test clips with a file that is also one of another split; identical_faces: test videos whose mean feature is
    that of another split's video; look_alikes: test speakers who resemble one of another split clearly more than any two
    training speakers resemble each other, and more than one person usually resembles himself from video to video: perhaps one person
    under two names. Faces are compared by the cosine of their features' differences from the mean training face.
    """
    splits = dict(zip(inputs.faces.speaker_ids, inputs.faces.splits, strict=True))
    is_test = {clip: splits.get(clip.split("/")[0]) == "test" for clip in inputs.digests}
    elsewhere = {digest for clip, digests in inputs.digests.items() if not is_test[clip] for digest in digests}
    files = [clip for clip, digests in inputs.digests.items() if is_test[clip] and elsewhere.intersection(digests)]

    split = np.array(aligned.video_splits)
    owners = np.array([video.split("/")[0] for video in aligned.videos])
    centre = aligned.means[split == "train"].mean(0) if (split == "train").any() else 0.0
    faces = aligned.means - centre
    test, rest = np.flatnonzero(split == "test"), np.flatnonzero(split != "test")
    nearest = _nearest(faces[test], faces[rest], owners[test], owners[rest])
    same = [aligned.videos[row] for row in test[nearest <= SAME]]
    train = np.flatnonzero(split == "train")[:MOST_VIDEOS]
    between = _nearest(faces[train], faces[train], owners[train], owners[train]).min(initial=np.inf)
    usual = min(MARGIN * between, _within(faces[train], owners[train]))
    alike = sorted(set(owners[test][nearest < usual].tolist()))
    return {
        "shared_files": len(files),
        "identical_faces": len(same),
        "look_alikes": len(alike),
        "names": ", ".join([*files, *same, *alike][:NAMED]) or "none",
    }


def _nearest(queries: np.ndarray, others: np.ndarray, query_owners: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Distance of each query to the nearest video of another speaker; infinite where there is none."""
    nearest = np.full(len(queries), np.inf)
    for start in range(0, len(queries) if len(others) else 0, VIDEOS_PER_BLOCK):
        rows = slice(start, start + VIDEOS_PER_BLOCK)
        found = np.where(query_owners[rows, None] == owners, np.inf, distances(queries[rows], others))
        nearest[rows] = found.min(1)
    return nearest


def _within(faces: np.ndarray, owners: np.ndarray) -> float:
    """Median distance between the first two videos of a speaker; 0 where nobody has two."""
    pairs = [rows[:2] for owner in np.unique(owners) if len(rows := np.flatnonzero(owners == owner)) > 1]
    found = [distances(faces[[first]], faces[[second]])[0, 0] for first, second in pairs]
    return float(np.median(found)) if found else 0.0
