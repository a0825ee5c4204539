"""Predictions and truth side by side: which row of which array belongs to which clip, video and speaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from speech2face.corpus.ids import speaker_of, video_of
from speech2face.corpus.splits import check_disjoint
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.views import View, blocks, picked


@dataclass(frozen=True)
class Aligned:
    """The inputs side by side.

    clips: test rows [N], columns clip_id, speaker_id, video, and `speaker` and `video_row`, rows of `gallery` and `means`; `video_row` is
    -1 for a clip whose own video has no face, as where faces belong to speakers and to no clip's video.
    true: feature [N, D] of each test row's own video, of its speaker (the row of `gallery`) where that has no face; gallery: mean
    feature [S, D] of each test speaker, named by `speakers`; means: feature [V, D] of every video that has a face, of any split, named
    by `videos`, of `video_splits`; training_mean: that of the training ones [D], 0 where there are none.
    training: one row a clip of a training speaker who has a face, columns clip_id, speaker_id, and video_row as in `clips`;
    training_true: feature [T, D] of each, as `true`.
    """

    clips: pd.DataFrame
    true: View
    speakers: list[str]
    gallery: np.ndarray
    videos: list[str]
    video_splits: list[str]
    means: np.ndarray
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
    """Mean features [V + S, D] of the videos and then of the speakers that have faces, and the row of each by its name, sorted."""

    features: np.ndarray
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
    means = _mean_features(inputs.faces)
    speakers = [speaker for speaker in means.speaker_rows if splits[speaker] == "test"]
    gallery_rows = {speaker: row for row, speaker in enumerate(speakers)}
    clips, true = means.rows(inputs.clip_ids)
    clips["video"] = [video_of(clip) for clip in inputs.clip_ids]
    clips["speaker"] = [gallery_rows[speaker] for speaker in clips["speaker_id"]]
    trained_on = [clip for clip in inputs.attributes.index if splits.get(speaker_of(clip)) == "train"]
    training, training_true = means.rows(trained_on)
    video_splits = [splits[speaker_of(video)] for video in means.video_rows]
    of_videos = means.features[: len(means.video_rows)]
    is_training = np.array([split == "train" for split in video_splits])
    return Aligned(
        clips,
        true,
        speakers,
        means.features[[means.speaker_rows[speaker] for speaker in speakers]],
        list(means.video_rows),
        video_splits,
        of_videos,
        training,
        training_true,
        of_videos.mean(0, where=is_training[:, None]) if is_training.any() else np.zeros(of_videos.shape[1]),
    )


def _check_predictions(inputs: Inputs) -> None:
    expected = (len(inputs.clip_ids), inputs.faces.features.shape[1])
    for name, predicted in inputs.predicted.items():
        if predicted.shape != expected:
            raise ValueError(
                f"features predicted at {name} must be {list(expected)}, a row a test clip (got {list(predicted.shape)})"
            )
        if not np.isfinite(predicted).all():
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


def _mean_features(faces: Faces) -> _Means:
    """Means over each video's faces, and over each speaker's videos."""
    videos, of_face = np.unique([video_of(face) for face in faces.face_ids], return_inverse=True)
    speakers, of_video = np.unique([speaker_of(video) for video in videos.tolist()], return_inverse=True)
    means = np.zeros((len(videos) + len(speakers), faces.features.shape[1]))
    of_videos, of_speakers = means[: len(videos)], means[len(videos) :]
    _average(faces.features, of_face, of_videos)
    _average(of_videos, of_video, of_speakers)
    video_rows, speaker_rows = ({str(name): row for row, name in enumerate(names)} for names in (videos, speakers))
    return _Means(means, video_rows, {name: len(videos) + row for name, row in speaker_rows.items()})


def _average(values: np.ndarray, group: np.ndarray, means: np.ndarray) -> None:
    """Fill `means`, float64 [G, D] of zeros, with the mean over each group's rows of values [N, D]; group: of each row, int [N]."""
    for rows in blocks(values):
        np.add.at(means, group[rows], values[rows])
    means /= np.bincount(group, minlength=len(means))[:, None]
