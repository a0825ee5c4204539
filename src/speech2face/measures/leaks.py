"""Signs that test speakers were seen in training: files, faces or whole people in both."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.distances import distances, unit
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.views import Features, map_blocks, picked

OTHERS_PER_BLOCK = 8192
MOST_VIDEOS = 4096  # of training speakers, from which the usual distances are taken
VIDEOS_OF_A_SPEAKER = 8  # that are compared with those of others; the time grows with its square
MARGIN = 0.2  # of the distance from a training speaker to the nearest other; by chance few test speakers come as near
SAME = 1e-9  # cosine distance of features that come from one picture
DIRECTIONS = 8  # in which faces that come from one picture are looked for
NAMED = 20


def find_leaks(inputs: Inputs, aligned: Aligned) -> dict[str, Any]:
    """Counts, with some names, of what test speakers share with others. (A speaker's id in two splits is refused before.)

    shared_files: test clips with a file that is also one of another split; identical_faces: test videos of which one face or more
    has the feature of another split's face; look_alikes: test speakers who are perhaps one person with a speaker of another split
    under two names, nearer than a fifth of what the median training speaker is from the nearest other, and nearer than the
    median speaker's first two videos are, as far as the first `VIDEOS_OF_A_SPEAKER` of each tell; None where the training
    speakers have one video each, which give no such distance.
    Speakers without a face count as in no split. Faces are compared by the cosine of their features' differences from the mean
    training face, videos by their mean features.
    """
    files = _shared_files(inputs)
    same = _identical_faces(inputs.faces, aligned.training_mean)
    alike = _look_alikes(aligned)
    return {
        "shared_files": len(files),
        "identical_faces": len(same),
        "look_alikes": None if alike is None else len(alike),
        "names": ", ".join([*files, *same, *(alike or [])][:NAMED]) or "none",
    }


def is_certain(leaks: Mapping[str, Any]) -> bool:
    """Whether what `find_leaks` found proves a leak; people who look alike may be two."""
    return bool(leaks["shared_files"] or leaks["identical_faces"])


def _shared_files(inputs: Inputs) -> list[str]:
    """Test clips with a file of another split's clip."""
    splits = dict(zip(inputs.faces.speaker_ids, inputs.faces.splits, strict=True))
    split_of = {clip: splits.get(speaker_of(clip)) for clip in inputs.digests}
    elsewhere = {d for clip, digests in inputs.digests.items() if split_of[clip] not in ("test", None) for d in digests}
    return [clip for clip, d in inputs.digests.items() if split_of[clip] == "test" and elsewhere.intersection(d)]


def _identical_faces(faces: Faces, centre: np.ndarray) -> list[str]:
    """Test videos with a face whose feature is that of another split's face.

    Faces as near as that are near in any few directions too, so only each one's nearest in these is compared in full: the
    time and memory of comparing all with all would grow with the square of the corpus.
    """
    is_test = np.array(faces.splits) == "test"
    test, rest = np.flatnonzero(is_test), np.flatnonzero(~is_test)
    if not len(test) or not len(rest):
        return []
    shadows = _shadows(faces.features, centre)
    reach = np.sqrt(2 * SAME)  # the distance of unit vectors whose cosine is 1 - SAME
    _, nearest = cKDTree(shadows[rest]).query(shadows[test], distance_upper_bound=reach)
    found = nearest < len(rest)  # where nothing is within reach, the index is one beyond the last
    pairs = zip(test[found], rest[nearest[found]], strict=True)
    features = faces.features
    same = [t for t, r in pairs if distances(features[[t]] - centre, features[[r]] - centre)[0, 0] <= SAME]
    return sorted({video_of(faces.face_ids[row]) for row in same})


def _shadows(features: Features, centre: np.ndarray) -> np.ndarray:
    """Centred unit features [F, D] in a few directions drawn from a fixed seed, [F, at most 8]."""
    dim = features.shape[1]
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, min(DIRECTIONS, dim))))

    def shadow(rows: slice) -> np.ndarray:
        block = features[rows] - centre
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        found: np.ndarray = np.divide(
            block @ directions, lengths, out=np.zeros((len(block), directions.shape[1])), where=lengths > 0
        )
        return found

    return np.concatenate(map_blocks(shadow, features))


def _look_alikes(aligned: Aligned) -> list[str] | None:
    """Test speakers who resemble one of another split as one person resembles himself; None where that cannot be known."""
    split = np.array(aligned.video_splits)
    names = np.array([speaker_of(video) for video in aligned.videos])
    owners = np.unique(names, return_inverse=True)[1]
    is_compared = pd.Series(owners).groupby(owners).cumcount().to_numpy() < VIDEOS_OF_A_SPEAKER
    train = np.flatnonzero((split == "train") & is_compared)[:MOST_VIDEOS]
    within = _within(aligned, train, owners)
    to_others = _nearest(aligned, train, train, owners)
    of_speaker = [to_others[owners[train] == owner].min() for owner in np.unique(owners[train])]
    # The median, because training speakers may be in the corpus under two names themselves.
    between = float(np.median(of_speaker)) if of_speaker else np.inf
    if not within or not 0 < between < np.inf:
        return None
    test, rest = (np.flatnonzero(((split == "test") == is_test) & is_compared) for is_test in (True, False))
    nearest = _nearest(aligned, test, rest, owners)
    return sorted(set(names[test][nearest < min(MARGIN * between, within)].tolist()))


def _nearest(aligned: Aligned, asked: np.ndarray, others: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Distance from each of the videos `asked` to the nearest of the videos `others` that is another speaker's; infinite where
    there is none."""
    likeness = np.full(len(asked), -np.inf)
    queries = picked(aligned.means, asked)
    for start in range(0, len(others), OTHERS_PER_BLOCK):
        columns = others[start : start + OTHERS_PER_BLOCK]
        held = _units(aligned, columns)

        def compare(rows: slice, columns: np.ndarray = columns, held: np.ndarray = held) -> None:
            found = _units(aligned, asked[rows]) @ held.T
            found[owners[asked[rows]][:, None] == owners[columns]] = -np.inf
            likeness[rows] = np.maximum(likeness[rows], found.max(1))

        map_blocks(compare, queries)
    return 1 - likeness


def _units(aligned: Aligned, videos: np.ndarray) -> np.ndarray:
    """Unit vectors [V, D] of videos' centred features: in single precision, because all pairs of a corpus are many."""
    centred = torch.from_numpy(aligned.centred(aligned.means[videos]))
    return unit(centred).float().numpy()


def _within(aligned: Aligned, train: np.ndarray, owners: np.ndarray) -> float | None:
    """Median distance between the first two of a speaker's videos `train`; None where nobody has two."""
    pairs = [rows[:2] for owner in np.unique(owners[train]) if len(rows := train[owners[train] == owner]) > 1]
    faces = [aligned.centred(aligned.means[list(pair)]) for pair in pairs]
    return float(np.median([distances(first[None], second[None])[0, 0] for first, second in faces])) if faces else None
