"""Predictions and truth side by side: which row of which array belongs to which clip, video and speaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.corpus.splits import check_disjoint
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.stored import StoredFeatures
from speech2face.measures.views import Features, View, blocks, group_means, picked


@dataclass(frozen=True)
class Aligned:
    """The inputs side by side.

    clips: test rows [N], columns clip_id, speaker_id, video, and `speaker` and `video_row`, rows of `gallery` and `means`; `video_row` is
    -1 for a clip whose own video has no face, as where faces belong to speakers and to no clip's video.
    true: feature [N, D] of each test row's own video, of its speaker (the row of `gallery`) where that has no face; gallery: mean
    feature [S, D] of each test speaker, named by `speakers`; means: feature float32 [V, D] of every video that has a face, of any split,
    in a file, named by `videos`, of `video_splits`; training_mean: that of the training ones [D], 0 where there are none.
    training: one row a clip of a training speaker who has a face, columns clip_id, speaker_id, and video_row as in `clips`;
    training_true: feature [T, D] of each, as `true`.
    """

    clips: pd.DataFrame
    true: View
    speakers: list[str]
    gallery: np.ndarray
    videos: list[str]
    video_splits: list[str]
    means: Features
    training: pd.DataFrame
    training_true: View
    training_mean: np.ndarray

    def centred(self, features: np.ndarray) -> np.ndarray:
        """Differences [N, D] of features [N, D], predicted or true, from the mean training face: what faces are ranked by.

        All faces share most of a feature. By the raw cosine a few faces, hubs, are therefore near to everyone; by the cosine of these
        differences far fewer are (Suzuki et al. 2013). Where there is no training face, that is the raw cosine.
        """
        return features - self.training_mean

    def stretched(self, features: np.ndarray, factor: float) -> np.ndarray:
        """Features [N, D] `factor` times as far from the mean training face: predictions lie nearer to it than real faces do, because what
        cannot be heard is left out of them, and the faces drawn of them are therefore hard to tell apart."""
        return self.training_mean + factor * self.centred(features)


@dataclass(frozen=True)
class _Means:
    """Mean features float32 [V + S, D] of the videos and then of the speakers that have faces, in a file, and the row of each by its name,
    sorted; of_speakers: those of the speakers, float64 [S, D]; training: of all training videos [D], 0 where there are none."""

    features: View
    of_speakers: np.ndarray
    training: np.ndarray
    video_rows: dict[str, int]
    speaker_rows: dict[str, int]

    def rows(self, clip_ids: Sequence[str]) -> tuple[pd.DataFrame, View]:
        """clip_id, speaker_id and video_row of each clip (-1 where its video has no face), and the feature [N, D] of its face."""
        table = pd.DataFrame({"clip_id": clip_ids, "speaker_id": [speaker_of(clip) for clip in clip_ids]})
        table["video_row"] = np.array([self.video_rows.get(video_of(clip), -1) for clip in clip_ids], np.int64)
        of_speaker = np.array([self.speaker_rows[speaker] for speaker in table["speaker_id"]], np.int64)
        own = table["video_row"].to_numpy()
        return table, picked(self.features, np.where(own >= 0, own, of_speaker))


def align(inputs: Inputs) -> Aligned:
    """Check the inputs and bring them together.

    Raises ValueError if a speaker is in two splits, a tested clip's speaker is not a test speaker or has no face, or shapes differ.
    """
    check_disjoint(zip(inputs.faces.speaker_ids, inputs.faces.splits, strict=True))
    splits = dict(zip(inputs.faces.speaker_ids, inputs.faces.splits, strict=True))
    _check_predictions(inputs)
    _check_clips(inputs.clip_ids, splits)
    means = _mean_features(inputs.faces, splits)
    speakers = [speaker for speaker in means.speaker_rows if splits[speaker] == "test"]
    gallery_rows = {speaker: row for row, speaker in enumerate(speakers)}
    clips, true = means.rows(inputs.clip_ids)
    clips["video"] = [video_of(clip) for clip in inputs.clip_ids]
    clips["speaker"] = [gallery_rows[speaker] for speaker in clips["speaker_id"]]
    trained_on = [clip for clip in inputs.attributes.index if splits.get(speaker_of(clip)) == "train"]
    training, training_true = means.rows(trained_on)
    video_splits = [splits[speaker_of(video)] for video in means.video_rows]
    first_speaker = len(means.video_rows)
    return Aligned(
        clips,
        true,
        speakers,
        means.of_speakers[[means.speaker_rows[speaker] - first_speaker for speaker in speakers]],
        list(means.video_rows),
        video_splits,
        picked(means.features, np.arange(first_speaker)),
        training,
        training_true,
        means.training,
    )


def _check_predictions(inputs: Inputs) -> None:
    expected = (len(inputs.clip_ids), inputs.faces.features.shape[1])
    for name, predicted in inputs.predicted.items():
        if predicted.shape != expected:
            raise ValueError(
                f"features predicted at {name} must be {list(expected)}, a row a test clip (got {list(predicted.shape)})"
            )
        if not all(np.isfinite(predicted[rows]).all() for rows in blocks(predicted)):
            raise ValueError(
                f"features predicted at {name} hold NaN or infinity; the encoder has diverged, train it again"
            )


def _check_clips(clip_ids: Sequence[str], splits: Mapping[str, str]) -> None:
    for clip in clip_ids:
        if (split := splits.get(speaker_of(clip))) is None:
            raise ValueError(f"clip {clip} is evaluated but its speaker has no face; leave it out")
        if split != "test":
            raise ValueError(
                f"clip {clip} is evaluated but its speaker is in the {split} split; only test speakers may be"
            )


def _mean_features(faces: Faces, splits: Mapping[str, str]) -> _Means:
    """Means over each video's faces, and over each speaker's videos."""
    videos, of_face = np.unique([video_of(face) for face in faces.face_ids], return_inverse=True)
    speakers, of_video = np.unique([speaker_of(video) for video in videos.tolist()], return_inverse=True)
    is_training = np.array([splits[speaker] == "train" for speaker in speakers.tolist()])[of_video]
    dim = faces.features.shape[1]
    means, of_speakers, training = StoredFeatures(dim), np.zeros((len(speakers), dim)), np.zeros(dim)
    for rows, of_videos in group_means(faces.features, of_face):
        means.append(of_videos)
        np.add.at(of_speakers, of_video[rows], of_videos)
        training += of_videos[is_training[rows]].sum(0)
    of_speakers /= np.bincount(of_video)[:, None]
    means.append(of_speakers)
    video_rows, speaker_rows = ({str(name): row for row, name in enumerate(names)} for names in (videos, speakers))
    by_speaker = {name: len(videos) + row for name, row in speaker_rows.items()}
    return _Means(means.view(), of_speakers, training / max(1, is_training.sum()), video_rows, by_speaker)
