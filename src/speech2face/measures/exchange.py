"""Permutations of an attribute among speakers: what a test of it compares with.

Whole speakers exchange what they have. Predictions that only know who speaks agree with any one attribute by luck, and then with all
clips of the speaker at once. Within the exchange the values are given to videos and clips at random. So an attribute of the speaker
(sex), one that drifts from video to video (age), one of the video (room) and one of the clip (words) are all tested by the same rule,
and little depends on a speaker who has two values by mistake.
"""

import numpy as np
import pandas as pd


def exchanges(clips: pd.DataFrame, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Whose value each row is given: row numbers [permutations, N].

    clips: N rows, columns speaker_id, video, clip_id (rows of one clip have one value, and keep one between them). In every
    permutation each speaker is given the values of one speaker, each of its videos those of one of that speaker's videos, and each
    clip that of one of that video's clips, in random order. Where speakers differ in their number of videos, or videos in their
    clips, some are left out, or given again from the first on.
    """
    own = clips.drop_duplicates("clip_id")
    videos = own.drop_duplicates("video")
    speaker_of_video, speakers = pd.factorize(videos["speaker_id"])
    video_of_clip = pd.factorize(own["video"])[0]
    clip_of_row = pd.factorize(clips["clip_id"])[0]
    first_row = np.unique(clip_of_row, return_index=True)[1]
    sources = rng.permuted(np.tile(np.arange(len(speakers)), (permutations, 1)), axis=1)
    sources = _draw_members(speaker_of_video, sources, rng)
    sources = _draw_members(video_of_clip, sources, rng)
    return first_row[sources][:, clip_of_row]


def _draw_members(parents: np.ndarray, sources: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whose value each member is given [R, M]: one of the members of its parent's source; parents [M], their sources [R, P]."""
    sizes = np.bincount(parents)
    starts = np.cumsum(sizes) - sizes
    place = pd.Series(parents).groupby(parents).cumcount().to_numpy()
    shuffled = np.argsort(parents + rng.random((len(sources), len(parents))), axis=1)  # parent by parent
    of_parent = sources[:, parents]
    return np.take_along_axis(shuffled, starts[of_parent] + place % sizes[of_parent], axis=1)
