"""The tables behind the charts hold what the results say."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.measures.aligned import align
from speech2face.measures.measure import measure
from speech2face.measures.tables import make_tables
from tests.simulated import QUICK, simulate, with_pictures


@pytest.fixture(scope="module")
def results(measured):
    return measured("plain").results


@pytest.fixture(scope="module")
def tables(measured):
    return make_tables(measured("plain").aligned, measured("plain").measured)


def test_clips(results, tables):
    clips = tables["clips"]
    assert len(clips) == results["counts"]["test_clips"]
    read = clips["sex_true"] == clips["sex_from_voice"]
    assert read.mean() == pytest.approx(results["headline"]["sex_accuracy"], abs=1e-5)
    assert np.array_equal(clips["sex_accuracy"], read)
    assert clips["centred_cosine"].mean() == pytest.approx(results["headline"]["centred_cosine"], abs=1e-5)
    assert clips["one_of_2"].mean() == pytest.approx(results["headline"]["one_of_two"], abs=1e-5)
    assert clips["rank"].median() == results["retrieval"]["speaker_mean"]["median_rank"]["value"]


def test_decoded_faces_are_scored_clip_by_clip(tables):
    # The simulated face network undoes the simulated decoder, so a decoded face keeps the feature it was drawn from.
    np.testing.assert_allclose(tables["clips"]["decoded_true_cosine"], 1, atol=1e-5)
    np.testing.assert_allclose(tables["clips"]["decoded_cosine"], tables["clips"]["cosine"], atol=1e-5)
    inputs = replace(with_pictures(simulate(20)), embed=None)
    aligned = align(inputs)
    assert "decoded_cosine" not in make_tables(aligned, measure(inputs, aligned, QUICK, 0))["clips"]


def test_recall_by_rank(results, tables):
    recall = tables["recall"].pivot(index="rank", columns="system", values="recall")
    assert set(recall.columns) == {*results["systems"], "chance"}
    assert recall["voice"][5] == pytest.approx(results["headline"]["recall_at_10_percent"], abs=1e-5)  # rank 5 of 48
    assert recall["oracle"][5] == pytest.approx(results["headline"]["ceiling"], abs=1e-5)
    assert (recall.iloc[-1] == 1).all()


def test_roc_curve(results, tables):
    roc = tables["roc"]
    area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
    assert area == pytest.approx(results["verification"]["all"]["area_under_curve"]["value"], abs=0.005)


def test_confusions(results, tables):
    confusion = tables["confusions"]
    assert set(confusion["attribute"]) == {"sex"}
    assert len(confusion) == results["counts"]["test_clips"]
    assert (confusion["true"] == confusion["read"]).mean() == pytest.approx(results["headline"]["sex_accuracy"])


def test_groups(results, tables):
    groups = tables["groups"].set_index("group")["recall_at_10_percent"]
    assert groups["all speakers"] == results["headline"]["recall_at_10_percent"]
    assert groups["sex: f"] == results["groups"]["sex"]["f"]["recall_at_10_percent"]["value"]


def test_measures_have_their_intervals(results, tables):
    table = tables["measures"].set_index(["section", "measure", "source"])
    assert table.index.is_unique
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    attributes = results["attributes"]
    expected = {
        ("similarity", "centred_cosine, 6 s heard", "voice"): results["similarity"]["6 s"]["centred_cosine"],
        ("attributes", "sex_accuracy", "true_feature"): attributes["sex"]["true_feature"]["accuracy"],
        ("attributes", "age_years_correlation", "decoded_voice"): attributes["age_years"]["decoded_voice"][
            "correlation"
        ],
        ("controls", "skin_tone_correlation", "voice"): results["controls"]["skin_tone"]["voice"]["correlation"],
    }
    for name, entry in expected.items():
        assert table.loc[name].to_dict() == {key: entry[key] for key in ("value", "low", "high")}
    assert set(table.loc["craniofacial"].index.get_level_values("measure")) == set(results["craniofacial"])


def test_embeddings_are_a_point_a_face_and_a_voice(tables, measured):
    points = tables["embeddings"]
    assert points.groupby("source")["speaker_id"].apply(list).to_dict() == dict.fromkeys(
        ("face", "voice"), measured("plain").aligned.speakers
    )
