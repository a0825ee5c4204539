"""Paired differences between two runs, on tables whose differences are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speech2face.measures.differences import Comparisons, differences, is_measure
from tests.simulated import SETTINGS, table_of_clips


def test_a_run_equals_itself():
    found = differences(table_of_clips(), table_of_clips(), SETTINGS, 0)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found["p_value"] == 1).all()


def test_pairs_show_a_difference_that_the_spread_of_speakers_hides():
    first, second = table_of_clips(), table_of_clips(better=0.1, seed=1)
    found = differences(first, second, SETTINGS, 0).set_index("measure")
    row = found.loc["cosine"]
    assert 0 < row["low"] < 0.1 < row["high"]
    assert row["p_value"] < 0.01
    assert stats.ttest_ind(first["cosine"], second["cosine"]).pvalue > 0.05
    assert found.loc["sex_accuracy", "first"] == (first["sex_true"] == first["sex_from_voice"]).mean()
    assert found.loc["age_years_absolute_error", "difference"] < 0


def test_two_runs_of_one_quality_seldom_differ():
    found = [differences(table_of_clips(seed=s), table_of_clips(seed=s + 500), SETTINGS, s) for s in range(12)]
    p_values = pd.concat(found)["p_value"]  # 84 tests, those of a run independent but for the speakers
    assert (p_values <= 0.05).mean() < 0.15


def test_only_chosen_measures_are_compared_in_their_order():
    chosen = ("sex_accuracy", "decoded_cosine", "cosine")
    found = differences(table_of_clips(), table_of_clips(), SETTINGS, 0, chosen)
    assert found["measure"].tolist() == ["sex_accuracy", "cosine"]  # neither run decoded faces


def test_faces_of_two_decoders_are_compared():
    first, second = (table_of_clips().assign(decoded_cosine=cosine) for cosine in (0.5, 0.75))
    row = differences(first, second, SETTINGS, 0).set_index("measure").loc["decoded_cosine"]
    assert (row["first"], row["second"], row["difference"], row["low"], row["high"]) == (0.5, 0.75, 0.25, 0.25, 0.25)


def test_clips_whose_class_is_unknown_do_not_count():
    first, second = table_of_clips(), table_of_clips(better=0.1, seed=1)
    first.loc[:9, "sex_accuracy"] = second.loc[:9, "sex_accuracy"] = np.nan
    row = differences(first, second, SETTINGS, 0, ["sex_accuracy"]).iloc[0]
    means = first["sex_accuracy"][10:].mean(), second["sex_accuracy"][10:].mean()
    assert row["difference"] == pytest.approx(means[1] - means[0])


def test_columns_that_can_be_compared():
    columns = [
        "clip_id",
        "cosine",
        "one_of_2",
        "decoded_cosine",
        "sex_accuracy",
        "age_years_absolute_error",
        "sex_true",
    ]
    assert list(filter(is_measure, columns)) == columns[1:-1]


def test_results_by_experiment_and_measure():
    table = differences(table_of_clips(), table_of_clips(better=0.1), SETTINGS, 0, ["cosine"])
    found = Comparisons({"other": table}, ["set_aside"]).as_results()
    assert list(found) == ["other"]
    assert found["other"]["cosine"] == table.iloc[0][["difference", "low", "high", "p_value"]].to_dict()
