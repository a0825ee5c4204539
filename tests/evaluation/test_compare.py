"""Paired differences between two runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speech2face.evaluation.compare import compare
from tests.evaluation.simulated import SETTINGS

MEASURES = ("cosine", "recall_at_1", "recall_at_10_percent", "reciprocal_rank", "one_of_2")


def write(path: Path, better: float = 0.0, seed: int = 0, speakers: int = 60) -> Path:
    rng = np.random.default_rng(seed)
    hard = (
        np.random.default_rng(99).normal(size=speakers).repeat(2)
    )  # what makes a speaker hard is the same in both runs
    table = pd.DataFrame({"clip_id": [f"id{i // 2:03d}/v{i % 2}/1" for i in range(2 * speakers)]})
    table["speaker_id"] = table["clip_id"].str[:5]
    for name in MEASURES:
        table[name] = hard + better + 0.1 * rng.normal(size=len(table))
    table["sex_true"] = np.where(hard > 0, "f", "m")
    table["sex_from_voice"] = np.where(rng.uniform(size=len(table)) < 0.7 + better, table["sex_true"], "x")
    table["age_years_true"] = 40 + hard
    table["age_years_from_voice"] = 40 + hard + (1 - better) * rng.normal(size=len(table))
    table.to_csv(path, index=False)
    return path


def test_a_run_equals_itself(tmp_path):
    path = write(tmp_path / "a.csv")
    found = compare(path, path, SETTINGS, 0)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert (found["p_value"] == 1).all()


def test_pairs_show_a_difference_that_the_spread_of_speakers_hides(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", better=0.1, seed=1)
    found = compare(first, second, SETTINGS, 0).set_index("measure")
    row = found.loc["cosine"]
    assert row["low"] < 0.1 < row["high"]
    assert row["low"] > 0
    assert row["p_value"] < 0.01
    unpaired = stats.ttest_ind(pd.read_csv(first)["cosine"], pd.read_csv(second)["cosine"]).pvalue
    assert unpaired > 0.05
    assert (
        found.loc["sex_accuracy", "first"]
        == (pd.read_csv(first)["sex_true"] == pd.read_csv(first)["sex_from_voice"]).mean()
    )
    assert found.loc["age_years_absolute_error", "difference"] < 0


def test_two_runs_of_one_quality_seldom_differ(tmp_path):
    found = [
        compare(write(tmp_path / "a.csv", seed=s), write(tmp_path / "b.csv", seed=s + 500), SETTINGS, s)
        for s in range(12)
    ]
    p_values = pd.concat(found)["p_value"]  # 84 tests, those of a run independent but for the speakers
    assert (p_values <= 0.05).mean() < 0.15


def test_other_clips_are_refused(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", speakers=40)
    with pytest.raises(ValueError, match="same test clips"):
        compare(first, second, SETTINGS, 0)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "recall.csv").write_text("rank,recall\n1,0.5\n")
    with pytest.raises(ValueError, match="lacks the columns clip_id"):
        compare(tmp_path / "recall.csv", write(tmp_path / "b.csv"), SETTINGS, 0)
