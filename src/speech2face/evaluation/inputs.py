"""What an evaluation looks at: predictions for unseen speakers, and the truth beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.ids import video_of
from speech2face.corpus.splits import check_disjoint
from speech2face.evaluation.second_opinion import Judge
from speech2face.faces.pictures import decode_jpeg
from speech2face.pipeline.shards import read_columns, shard_paths, to_numpy

Decode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Features [B, D] to pictures uint8 RGB [B, H, W, 3] and landmarks [B, 68, 2] (x, y)."""
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures uint8 RGB [B, H, W, 3] and landmarks [B, 68, 2] to features [B, D]."""
Pictures = Callable[[Sequence[str]], list[np.ndarray]]
"""Face ids to their crops, uint8 RGB [H, W, 3] each."""


@dataclass(frozen=True)
class Faces:
    """True features float32 [F, D] of every face of the corpus, with its id, speaker and split."""

    face_ids: list[str]
    speaker_ids: list[str]
    splits: list[str]
    features: np.ndarray


@dataclass(frozen=True)
class Inputs:
    """An evaluation's inputs.

    clip_ids: the test clips that were predicted, [N]; a clip of several segments stands once for each.
    predicted: features [N, D] by the length heard (for example "6 s", "3 s"); the first is the model's own length.
    attributes: one row a clip, indexed by clip_id; numbers as floats, names as strings, null where unknown.
    roles: `linked` or `control` by attribute; empty where the corpus does not say.
    decode, embed, pictures, judge: None leaves out what needs them.
    voices: simpler descriptions of voices for the ridge baselines, by name; one row a clip of training and test speakers,
        indexed by clip_id.
    rejects: tables of `item`, `stage`, `reason`, `message` from the earlier stages.
    digests: SHA-256 of files by clip_id, to find a recording or picture that is in two splits.
    description: lines for the report and the model card, for example {"Face features": "dlib_resnet"}.
    num_without_face: test clips that are not among `clip_ids` because they have no face to be compared with.
    """

    clip_ids: list[str]
    predicted: Mapping[str, np.ndarray]
    faces: Faces
    attributes: pd.DataFrame
    roles: Mapping[str, str] = field(default_factory=dict)
    decode: Decode | None = None
    embed: Embed | None = None
    pictures: Pictures | None = None
    judge: Judge | None = None
    voices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rejects: pd.DataFrame | None = None
    digests: Mapping[str, Sequence[str]] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    num_without_face: int = 0


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
    true: np.ndarray
    speakers: list[str]
    gallery: np.ndarray
    videos: list[str]
    video_splits: list[str]
    means: np.ndarray
    training: pd.DataFrame
    training_true: np.ndarray
    training_mean: np.ndarray


def align(inputs: Inputs) -> Aligned:
    """Check the inputs and bring them together.

    Raises ValueError if a speaker is in two splits, a tested clip's speaker is not a test speaker or has no face, or shapes differ.
    """
    faces = inputs.faces
    check_disjoint(zip(faces.speaker_ids, faces.splits, strict=True))
    splits = dict(zip(faces.speaker_ids, faces.splits, strict=True))
    for name, predicted in inputs.predicted.items():
        if predicted.shape != (len(inputs.clip_ids), faces.features.shape[1]):
            raise ValueError(
                f"features predicted at {name} must be [{len(inputs.clip_ids)}, {faces.features.shape[1]}], a row a test clip "
                f"(got {list(predicted.shape)})"
            )
        if not np.isfinite(predicted).all():
            raise ValueError(
                f"features predicted at {name} hold NaN or infinity; the encoder has diverged, train it again"
            )
    videos, of_face = np.unique([video_of(face) for face in faces.face_ids], return_inverse=True)
    means = _means(faces.features, of_face, len(videos))
    row_of = {str(video): row for row, video in enumerate(videos)}
    owner = [video.split("/")[0] for video in row_of]

    for clip in inputs.clip_ids:
        if (split := splits.get(clip.split("/")[0])) is None:
            raise ValueError(f"clip {clip} is evaluated but its speaker has no face; leave it out")
        if split != "test":
            raise ValueError(
                f"clip {clip} is evaluated but its speaker is in the {split} split; only test speakers may be"
            )
    everyone, of_video = np.unique(owner, return_inverse=True)
    speaker_means = _means(means, of_video, len(everyone))
    row_of_speaker = {str(speaker): row for row, speaker in enumerate(everyone)}
    speakers = [speaker for speaker in row_of_speaker if splits[speaker] == "test"]
    index = {speaker: row for row, speaker in enumerate(speakers)}

    def table(clip_ids: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
        rows = pd.DataFrame({"clip_id": clip_ids, "speaker_id": [clip.split("/")[0] for clip in clip_ids]})
        rows["video_row"] = np.array([row_of.get(video_of(clip), -1) for clip in clip_ids], np.int64)
        of_speaker = speaker_means[[row_of_speaker[speaker] for speaker in rows["speaker_id"]]]
        has_own = (rows["video_row"] >= 0).to_numpy()[:, None]
        return rows, np.where(has_own, means[rows["video_row"]], of_speaker)

    clips, true = table(inputs.clip_ids)
    clips["video"] = [video_of(clip) for clip in inputs.clip_ids]
    clips["speaker"] = [index[speaker] for speaker in clips["speaker_id"]]
    training, training_true = table([c for c in inputs.attributes.index if splits.get(c.split("/")[0]) == "train"])
    video_splits = [splits[speaker] for speaker in owner]
    trained_on = means[[split == "train" for split in video_splits]]
    training_mean = trained_on.mean(0) if len(trained_on) else np.zeros(means.shape[1])
    return Aligned(
        clips,
        true,
        speakers,
        speaker_means[[row_of_speaker[speaker] for speaker in speakers]],
        list(row_of),
        video_splits,
        means,
        training,
        training_true,
        training_mean,
    )


def attribute_table(manifest: pa.Table) -> pd.DataFrame:
    """The attributes of a manifest, one row a clip, indexed by clip_id."""
    if "attributes" not in manifest.column_names:
        return pd.DataFrame(index=pd.Index(manifest["clip_id"].to_pylist()))
    return pd.DataFrame(manifest["attributes"].to_pylist(), index=pd.Index(manifest["clip_id"].to_pylist()))


def file_digests(manifest: pa.Table) -> dict[str, list[str]]:
    """SHA-256 of every file of each clip of a manifest, by clip_id."""
    columns = zip(
        *(manifest[name].to_pylist() for name in ("clip_id", "audio_sha256", "video_sha256", "image_sha256")),
        strict=True,
    )
    return {clip: [d for d in (audio, video, *images) if d] for clip, audio, video, images in columns}


def read_faces(directory: Path) -> Faces:
    """The face features of every split."""
    table = read_columns(directory, ["face_id", "speaker_id", "split", "feature"])
    ids, speakers, splits = (table[name].to_pylist() for name in ("face_id", "speaker_id", "split"))
    return Faces(ids, speakers, splits, to_numpy(table["feature"]))


def picture_reader(directory: Path) -> Pictures:
    """Reads face crops by id from the shards of `directory`; only the row groups that hold them are decoded."""

    def read(face_ids: Sequence[str]) -> list[np.ndarray]:
        wanted, found = set(face_ids), {}
        for path in shard_paths(directory):
            table = pq.read_table(path, columns=["face_id", "image"], filters=[("face_id", "in", wanted)])
            for face_id, image in zip(table["face_id"].to_pylist(), table["image"].to_pylist(), strict=True):
                found[face_id] = decode_jpeg(image)
        if missing := sorted(wanted - set(found)):
            raise ValueError(
                f"{directory} has no picture of face {missing[0]}; run the stage again: dvc repro crop_faces"
            )
        return [found[face_id] for face_id in face_ids]

    return read


def read_rejects(directories: Sequence[Path]) -> pd.DataFrame:
    """The rejects of the stages that wrote `directories`, those that have any."""
    tables = [pq.read_table(d / "rejects.parquet").to_pandas() for d in directories if (d / "rejects.parquet").exists()]
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["item", "stage", "reason", "message"])
    )


def _means(values: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    """Mean over each group's rows, float64 [num_groups, D]."""
    sums = np.zeros((num_groups, values.shape[1]))
    np.add.at(sums, group, values)
    return sums / np.bincount(group, minlength=num_groups)[:, None]
