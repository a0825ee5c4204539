"""Which row belongs to whom, means over videos and speakers, and inputs that do not fit."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.measures.aligned import align
from tests.simulated import simulate


def test_means_are_over_videos_then_over_speakers():
    inputs = simulate(20, videos=2)
    faces = inputs.faces
    extra = replace(  # a third face, in the first speaker's first video
        faces,
        face_ids=["id00000/video0/0000002", *faces.face_ids],
        speaker_ids=["id00000", *faces.speaker_ids],
        splits=["test", *faces.splits],
        features=np.concatenate([faces.features[:1] + 2, faces.features]),
    )
    aligned = align(replace(inputs, faces=extra))
    first, second = faces.features[0].astype(float), faces.features[1].astype(float)
    assert np.allclose(aligned.true[0], first + 1)
    assert np.allclose(aligned.gallery[0], (first + 1 + second) / 2)
    assert aligned.speakers == [f"id{i:05d}" for i in range(8)]
    assert aligned.clips["speaker"].tolist() == np.arange(8).repeat(2).tolist()


def test_features_are_centred_on_the_mean_face_of_training_videos():
    inputs = simulate(20)
    training = [split == "train" for split in inputs.faces.splits]
    middle = inputs.faces.features[training].astype(float).mean(0)
    aligned = align(inputs)
    assert np.allclose(aligned.centred(aligned.gallery), aligned.gallery - middle)
    nobody = replace(inputs.faces, splits=[split.replace("train", "val") for split in inputs.faces.splits])
    assert np.array_equal(align(replace(inputs, faces=nobody)).centred(aligned.gallery), aligned.gallery)


def test_stretched_features_are_so_many_times_as_far_from_the_mean_training_face():
    aligned = align(simulate(6))
    for factor in (0.0, 1.0, 2.5):
        stretched = aligned.stretched(aligned.gallery, factor)
        assert np.allclose(aligned.centred(stretched), factor * aligned.centred(aligned.gallery))


def test_training_rows_are_of_training_speakers_with_a_face():
    inputs = simulate(20)
    aligned = align(inputs)
    assert set(aligned.training["speaker_id"]) == {f"id{i:05d}" for i in range(13, 20)}
    assert np.array_equal(aligned.training_true, aligned.means[aligned.training["video_row"]])


def test_a_clip_whose_video_has_no_face_is_set_beside_its_speakers_mean():
    inputs = simulate(20, videos=3)
    features = inputs.faces.features.astype(float)
    lost = [0, 59]  # the first video of the first test speaker, the last of the last training speaker
    kept = [row for row in range(60) if row not in lost]
    faces = inputs.faces
    columns = {n: [getattr(faces, n)[row] for row in kept] for n in ("face_ids", "speaker_ids", "splits")}
    aligned = align(replace(inputs, faces=replace(faces, features=faces.features[kept], **columns)))
    assert aligned.clips["video_row"].tolist() == [-1, *range(23)]
    assert np.allclose(aligned.true[0], features[1:3].mean(0))
    assert np.allclose(aligned.true[1:], features[1:24])
    assert aligned.training["video_row"].tolist() == [*range(38, 58), -1]
    assert np.allclose(aligned.training_true[-1], features[57:59].mean(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: replace(i, clip_ids=["id99999/video0/1", *i.clip_ids[1:]]), "its speaker has no face"),
        (lambda i: replace(i, clip_ids=["id00019/video0/1", *i.clip_ids[1:]]), "its speaker is in the train split"),
        (lambda i: replace(i, predicted={"3 s": i.predicted["6 s"][:, 1:]}), r"at 3 s must be \[16, 32\]"),
        (lambda i: replace(i, predicted={"6 s": i.predicted["6 s"] * np.nan}), "NaN or infinity"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        align(change(simulate(20)))
