"""Which test speakers the report shows, and their pictures."""

import numpy as np
import pandas as pd

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.measures.aligned import Aligned
from speech2face.measures.distances import distances
from speech2face.measures.inputs import Inputs
from speech2face.measures.measure import Measured
from speech2face.measures.retrieval import middle_rank
from speech2face.report.figures import choose_spread
from speech2face.report.pages import STRETCHED, Shown


def choose_people(inputs: Inputs, aligned: Aligned, measured: Measured, count: int) -> list[Shown]:
    """Pictures of `count` test speakers' first clips, from the best speaker to the worst by the mean rank of their clips; none without a
    decoder or crops."""
    if inputs.decode is None or inputs.pictures is None:
        return []
    ranks, voice = middle_rank(measured.ranks), measured.systems["voice"].features
    first = aligned.clips.drop_duplicates("speaker_id").index.to_numpy()
    of_speaker = pd.Series(ranks).groupby(aligned.clips["speaker_id"]).mean()
    mean_ranks = of_speaker[aligned.clips["speaker_id"].iloc[first]].to_numpy()
    chosen, labels = zip(*choose_spread(mean_ranks, count), strict=True)
    rows = first[list(chosen)]
    face_of = {video_of(face): face for face in sorted(inputs.faces.face_ids, reverse=True)}
    found = distances(aligned.centred(voice[rows]), aligned.centred(aligned.gallery)).argmin(1)
    neighbours = [aligned.speakers[column] for column in found]
    first_video = {speaker_of(video): video for video in reversed(aligned.videos)}
    asked = aligned.clips.iloc[rows]
    own = [face_of.get(v, face_of[first_video[s]]) for s, v in zip(asked["speaker_id"], asked["video"], strict=True)]
    true = inputs.pictures(own)
    of_neighbours = inputs.pictures([face_of[first_video[speaker]] for speaker in neighbours])
    drawn = {
        "from its feature": aligned.true[rows],
        "from the voice": voice[rows],
        STRETCHED: aligned.stretched(voice[rows], inputs.stretch),
    }
    decoded = {name: inputs.decode(features.astype(np.float32))[0] for name, features in drawn.items()}
    shown = []
    for place, row in enumerate(rows):
        pictures = {
            "true face": true[place],
            **{name: images[place] for name, images in decoded.items()},
            "nearest in gallery": of_neighbours[place],
        }
        speaker = str(aligned.clips["speaker_id"].iloc[row])
        shown.append(Shown(speaker, float(of_speaker[speaker]), labels[place], neighbours[place], pictures))
    return shown
