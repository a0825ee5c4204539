"""Which galleries a corpus allows, and who is in them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from speech2face.measures.aligned import align
from speech2face.measures.distances import distances
from speech2face.measures.galleries import measure_galleries
from speech2face.measures.systems import System
from tests.simulated import QUICK, SETTINGS, simulate


def galleries_of(inputs, table=None):
    attributes = inputs.attributes if table is None else table
    aligned = align(inputs)
    return measure_galleries(aligned, System(aligned, inputs.predicted["6 s"]), attributes, QUICK, 0)


def test_speakers_of_unknown_sex_and_those_who_are_alone_take_no_part():
    inputs = simulate(60, noise=4.0)
    speakers = inputs.attributes.index.str.split("/").str[0]
    unknown = speakers.isin(sorted(set(speakers))[:10])
    sex = inputs.attributes["sex"].mask(unknown, None).mask(speakers == "id00011", "x")
    inputs = replace(inputs, attributes=inputs.attributes.assign(sex=sex))
    aligned = align(inputs)
    measured = measure_galleries(aligned, System(aligned, inputs.predicted["6 s"]), inputs.attributes, SETTINGS, 0)
    found = measured.results["verification"]["same_sex"]["area_under_curve"]
    of_speaker = sex.groupby(speakers).first().reindex(aligned.speakers).to_numpy()
    own = aligned.clips["speaker"].to_numpy()
    known = np.array([value in ("f", "m") for value in of_speaker])
    rows = known[own]
    middle = aligned.training_mean
    scores = 1 - distances(inputs.predicted["6 s"] - middle, aligned.gallery - middle)
    labels = own[:, None] == np.arange(len(of_speaker))
    kept = rows[:, None] & (of_speaker[own][:, None] == of_speaker)
    assert 0 < rows.sum() < len(rows) - 20
    assert found["value"] == pytest.approx(metrics.roc_auc_score(labels[kept], scores[kept]), abs=1e-12)


def test_the_raw_cosine_has_a_hub_and_the_centred_one_has_none():
    """Predictions are nearer to the mean face than faces are, as those of any regression. So a face near the mean is near to all."""
    inputs = simulate(60, noise=4.0)
    middle = inputs.faces.features.mean(0)
    faces = inputs.faces.features.copy()
    faces[:2] = middle + 0.2 * (faces[:2] - middle)
    predicted = middle + 0.2 * (inputs.predicted["6 s"] - middle)
    moved = replace(inputs, faces=replace(inputs.faces, features=faces), predicted={"6 s": predicted})
    found = galleries_of(moved).results
    aligned = align(moved)
    for name, middle in (("speaker_mean", aligned.training_mean), ("speaker_mean_raw_cosine", 0.0)):
        matrix = metrics.pairwise_distances(predicted - middle, aligned.gallery - middle, metric="cosine")
        counts = np.bincount(matrix.argmin(1), minlength=len(aligned.speakers))
        right = matrix.argmin(1) == aligned.clips["speaker"]
        assert found["hubs"][name]["hub_share"]["value"] == counts.max() / counts.sum()
        assert found["hubs"][name]["distinct_nearest"] == (counts > 0).sum()
        assert found["retrieval"][name]["recall_at_1"]["value"] == right.mean()
    raw, centred = (found["hubs"][name]["hub_share"]["value"] for name in ("speaker_mean_raw_cosine", "speaker_mean"))
    assert raw > 0.5 > 0.25 > centred


def test_what_is_held_equal_is_what_the_corpus_knows():
    inputs = simulate(60)
    table = inputs.attributes[["sex"]]
    everyone = [f"speaker_mean{by}" for by in ("", "_raw_cosine", "_l1", "_l2")] + ["same_video", "cross_video"]
    assert list(galleries_of(inputs).results["retrieval"]) == [*everyone, "same_sex"]
    for unknown in (table[[]], table.assign(sex=None), table.iloc[-10:]):  # none, null, of training speakers alone
        assert list(galleries_of(inputs, unknown).results["retrieval"]) == everyone


def test_two_attributes_held_equal_are_a_smaller_gallery():
    inputs = simulate(60)
    speakers = inputs.attributes.index.str.split("/").str[0]
    country = pd.Series(np.where(speakers.str[-1].astype(int) % 2, "ie", "nz"), inputs.attributes.index)
    found = galleries_of(inputs, inputs.attributes.assign(nationality=country)).results
    test = inputs.attributes.assign(nationality=country)[["sex", "nationality"]].loc[inputs.clip_ids]
    same = test.groupby(["sex", "nationality"])["sex"].transform("size") / 2  # two clips a speaker
    assert found["retrieval"]["same_sex_and_nationality"]["gallery_size"] == pytest.approx(same.mean())
    assert set(found["matching"]) == set(found["verification"]) == {"all", "same_sex", "same_sex_and_nationality"}


def test_galleries_of_100_are_drawn_from_larger_ones_only():
    small, large = (
        galleries_of(simulate(count, videos=1, quality="perfect")).results["retrieval"] for count in (240, 260)
    )
    assert "galleries_of_100" not in small
    assert {entry["value"] for entry in large["galleries_of_100"].values() if isinstance(entry, dict)} == {1.0}


def test_photographs_of_speakers_make_no_gallery_of_videos():
    inputs = simulate(60, videos=1)
    assert "cross_video" not in galleries_of(inputs).results["retrieval"]
    ids = [f"{speaker}/photos/{number:07d}" for number, speaker in enumerate(inputs.faces.speaker_ids)]
    photographed = replace(inputs, faces=replace(inputs.faces, face_ids=ids))
    assert not {"same_video", "cross_video"} & set(galleries_of(photographed).results["retrieval"])
