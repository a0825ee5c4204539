"""Planted leaks between test and training speakers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from speech2face.measures import leaks, views
from speech2face.measures.aligned import align
from speech2face.measures.leaks import _identical_faces, find_leaks, is_certain
from tests.simulated import add_training_speaker, simulate


def find(inputs):
    return find_leaks(inputs, align(inputs))


def without_faces(inputs, left_out):
    """The corpus without these faces, and their clips, of the first test speakers, who have one face a clip."""
    faces = inputs.faces
    kept = [i for i in range(len(faces.face_ids)) if i not in left_out]
    faces = replace(
        faces,
        face_ids=[faces.face_ids[i] for i in kept],
        speaker_ids=[faces.speaker_ids[i] for i in kept],
        splits=[faces.splits[i] for i in kept],
        features=faces.features[kept],
    )
    rows = [i for i in range(len(inputs.clip_ids)) if i not in left_out]
    predicted = {"6 s": inputs.predicted["6 s"][rows]}
    return replace(inputs, faces=faces, clip_ids=[inputs.clip_ids[i] for i in rows], predicted=predicted)


def add_photographs(inputs):
    """The corpus with a second photograph of every video."""
    faces = inputs.faces
    others = faces.features + 0.3 * np.random.default_rng(3).normal(size=faces.features.shape).astype(np.float32)
    return replace(
        inputs,
        faces=replace(
            faces,
            face_ids=faces.face_ids + [face.removesuffix("1") + "2" for face in faces.face_ids],
            speaker_ids=faces.speaker_ids * 2,
            splits=faces.splits * 2,
            features=np.concatenate([faces.features, others]),
        ),
    )


def test_a_clean_corpus_has_none():
    assert find(simulate(dim=64)) == {"shared_files": 0, "identical_faces": 0, "look_alikes": 0, "names": "none"}


def test_a_speaker_in_two_splits_is_refused():
    inputs = simulate(dim=64)
    splits = list(inputs.faces.splits)
    splits[0] = "train"
    with pytest.raises(ValueError, match="speaker id00000 is in two splits"):
        align(replace(inputs, faces=replace(inputs.faces, splits=splits)))


def test_a_training_clip_among_the_tested_is_refused():
    inputs = simulate(dim=64)
    training = next(clip for clip in inputs.attributes.index if clip.startswith("id00119"))
    clips = [training, *inputs.clip_ids[1:]]
    with pytest.raises(ValueError, match="its speaker is in the train split"):
        align(replace(inputs, clip_ids=clips))


def test_a_test_speaker_under_another_name_in_training_is_found_by_face():
    inputs = simulate(dim=64)
    found = find(add_training_speaker(inputs, inputs.faces.features[:2]))
    assert found["identical_faces"] == 2
    assert found["look_alikes"] == 1
    assert "id00000" in found["names"]


@pytest.mark.parametrize("compared", [8, 2])
def test_other_photographs_of_a_test_speaker_are_found_as_a_look_alike(compared, monkeypatch):
    monkeypatch.setattr("speech2face.measures.leaks.VIDEOS_OF_A_SPEAKER", compared)
    inputs = simulate(videos=4, dim=64, turn=0.2)
    # half of the first speaker's videos go to the training speakers, under another name
    found = find(add_training_speaker(without_faces(inputs, (2, 3)), inputs.faces.features[2:4]))
    assert found["identical_faces"] == 0
    assert found["look_alikes"] == 1
    assert found["names"] == "id00000"


def test_a_file_in_two_splits_is_found():
    inputs = simulate(dim=64)
    digests = {clip: [f"audio {clip}", f"image {clip}"] for clip in inputs.attributes.index}
    assert find(replace(inputs, digests=digests))["shared_files"] == 0
    training = next(clip for clip in digests if clip.startswith("id00119"))
    digests[training] = [f"audio {training}", f"image {inputs.clip_ids[5]}"]
    found = find(replace(inputs, digests=digests))
    assert found["shared_files"] == 1
    assert found["names"] == inputs.clip_ids[5]


def test_look_alikes_are_not_known_where_training_speakers_have_one_video():
    assert find(simulate(videos=1))["look_alikes"] is None


@pytest.mark.parametrize(
    ("shared", "identical", "alike", "certain"),
    [(1, 0, 0, True), (0, 1, 0, True), (0, 0, 3, False), (0, 0, None, False)],
)
def test_files_and_faces_prove_a_leak_and_look_alikes_do_not(shared, identical, alike, certain):
    assert is_certain({"shared_files": shared, "identical_faces": identical, "look_alikes": alike}) == certain


def test_a_training_speaker_under_two_names_does_not_hide_a_test_speaker_under_another():
    inputs = simulate(videos=4, dim=64, turn=0.2)
    own = inputs.faces.features[2:4]
    planted = add_training_speaker(without_faces(inputs, (2, 3)), own)
    twin = add_training_speaker(planted, inputs.faces.features[-4:], "id99998")
    assert find(twin)["look_alikes"] == find(planted)["look_alikes"] == 1


def test_few_clean_corpora_raise_the_alarm_of_look_alikes():
    found = [find(simulate(60, videos=3, dim=32, turn=turn, seed=s)) for s in range(10) for turn in (0.2, 1.0)]
    assert sum(entry["look_alikes"] > 0 for entry in found) <= 2


def test_one_photograph_of_a_test_video_in_a_training_video_of_two_is_found():
    inputs = add_photographs(simulate(dim=64))
    other = np.random.default_rng(1).normal(size=64)
    mixed = np.stack([inputs.faces.features[0], 5 + 3 * other])
    planted = replace(
        inputs,
        faces=replace(
            inputs.faces,
            face_ids=[*inputs.faces.face_ids, "id99999/video0/0000001", "id99999/video0/0000002"],
            speaker_ids=[*inputs.faces.speaker_ids, "id99999", "id99999"],
            splits=[*inputs.faces.splits, "train", "train"],
            features=np.concatenate([inputs.faces.features, mixed]).astype(np.float32),
        ),
    )
    assert find(inputs)["identical_faces"] == 0
    found = find(planted)
    assert (found["identical_faces"], found["names"]) == (1, "id00000/video0")


def test_identical_faces_are_those_that_all_pairs_show_whatever_the_blocks(monkeypatch):
    monkeypatch.setattr(leaks, "OTHERS_PER_BLOCK", 7)
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 5)
    rng = np.random.default_rng(2)
    for dim in (3, 64):
        inputs = simulate(dim=dim)
        features = inputs.faces.features.copy()
        splits = np.array(inputs.faces.splits)
        test, rest = np.flatnonzero(splits == "test"), np.flatnonzero(splits != "test")
        chosen = rng.choice(test, 9, replace=False)
        features[rng.choice(rest, 9, replace=False)] = features[chosen] * (1 + 1e-7)
        inputs = replace(inputs, faces=replace(inputs.faces, features=features))
        aligned = align(inputs)
        centred = features - aligned.training_mean
        nearest = cdist(centred[test], centred[rest], "cosine").min(1)
        expected = {inputs.faces.face_ids[row].rsplit("/", 1)[0] for row in test[nearest < 1e-9]}
        assert len(expected) == 9
        assert set(_identical_faces(inputs.faces, aligned.training_mean)) == expected


def test_blocks_do_not_change_look_alikes(monkeypatch):
    inputs = simulate(videos=4, dim=64, turn=0.2)
    own = inputs.faces.features[2:4]
    planted = add_training_speaker(without_faces(inputs, (2, 3)), own, "a_name_in_the_first_block")
    monkeypatch.setattr(leaks, "OTHERS_PER_BLOCK", 7)
    monkeypatch.setattr(views, "ROWS_PER_BLOCK", 5)
    assert find(planted)["names"] == "id00000"


def test_files_of_speakers_without_a_face_are_of_no_split():
    """A test speaker's clip and that of somebody who was neither trained on nor tested."""
    inputs = simulate(dim=64)
    digests = {inputs.clip_ids[0]: ["shared"], "id77777/video0/00001": ["shared"]}
    assert find(replace(inputs, digests=digests))["shared_files"] == 0
