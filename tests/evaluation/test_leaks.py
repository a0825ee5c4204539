"""Planted leaks between test and training speakers."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.evaluation.inputs import align
from speech2face.evaluation.leaks import find_leaks
from tests.evaluation.simulated import simulate


def find(inputs):
    return find_leaks(inputs, align(inputs))


def add_training_speaker(inputs, features):
    """The corpus with one more training speaker who has these features."""
    faces = inputs.faces
    ids = [f"id99999/video{i}/0000001" for i in range(len(features))]
    return replace(
        inputs,
        faces=replace(
            faces,
            face_ids=faces.face_ids + ids,
            speaker_ids=faces.speaker_ids + ["id99999"] * len(ids),
            splits=faces.splits + ["train"] * len(ids),
            features=np.concatenate([faces.features, features]).astype(np.float32),
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


def test_other_photographs_of_a_test_speaker_are_found_as_a_look_alike():
    inputs = simulate(videos=4, dim=64, turn=0.2)
    # half of the first speaker's videos go to the training speakers, under another name
    own = inputs.faces.features[2:4]
    kept = [i for i in range(len(inputs.faces.face_ids)) if i not in (2, 3)]
    faces = inputs.faces
    faces = replace(
        faces,
        face_ids=[faces.face_ids[i] for i in kept],
        speaker_ids=[faces.speaker_ids[i] for i in kept],
        splits=[faces.splits[i] for i in kept],
        features=faces.features[kept],
    )
    rows = [i for i in range(len(inputs.clip_ids)) if i not in (2, 3)]
    smaller = replace(
        inputs,
        faces=faces,
        clip_ids=[inputs.clip_ids[i] for i in rows],
        predicted={"6 s": inputs.predicted["6 s"][rows]},
    )
    found = find(add_training_speaker(smaller, own))
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


def test_one_video_a_training_speaker_tells_nothing_of_look_alikes():
    assert find(simulate(videos=1))["look_alikes"] == 0
