"""Opinions that are right, random or missing, against the truth."""

import numpy as np
import pandas as pd
import pytest

from speech2face.measures.opinions import Opinion, summarise_opinions
from speech2face.measures.statistics import Bootstrap

SPEAKERS = np.repeat([f"s{i}" for i in range(12)], 2)


def truth() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    sex = np.repeat(rng.permutation(["f", "m"] * 6), 2)
    return pd.DataFrame({"sex": sex, "age_years": np.repeat(rng.uniform(20, 80, 12), 2)})


def opinion(known: pd.DataFrame, noise: float, seed: int) -> Opinion:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.random.default_rng(1).normal(size=(12, 64)), 2, axis=0)
    male = (known["sex"] == "m").to_numpy(float)
    ages = known["age_years"].to_numpy() + 40 * noise * rng.normal(size=24)
    return Opinion(
        who + 5 * noise * rng.normal(size=who.shape), ages, np.where(rng.uniform(size=24) < noise / 2, 1 - male, male)
    )


def test_perfect_opinions_are_one_and_random_ones_chance():
    known, over_rows = truth(), Bootstrap(SPEAKERS, 500, 0.95, 0)
    perfect = summarise_opinions({s: opinion(known, 0, 2) for s in ("true_feature", "voice")}, known, over_rows)
    for source in ("decoded_true_feature", "decoded_voice"):
        assert perfect[source]["sex_accuracy"]["value"] == 1
        assert perfect[source]["age_correlation"]["value"] == pytest.approx(1)
    assert perfect["identity_cosine"]["value"] == pytest.approx(1)
    assert abs(perfect["identity_cosine_chance"]) < 0.1

    rng = np.random.default_rng(3)
    guess = Opinion(rng.normal(size=(24, 64)), rng.uniform(20, 80, 24), rng.uniform(size=24))
    guessed = summarise_opinions({"true_feature": opinion(known, 0, 2), "voice": guess}, known, over_rows)
    read = guessed["decoded_voice"]
    assert read["sex_accuracy"]["low"] <= 0.5 <= read["sex_accuracy"]["high"]
    assert read["age_correlation"]["low"] < 0 < read["age_correlation"]["high"]
    assert abs(guessed["identity_cosine"]["value"]) < 0.1


def test_what_is_not_known_is_left_out():
    over_rows = Bootstrap(SPEAKERS, 100, 0.95, 0)
    opinions = {s: opinion(truth(), 0.1, 2) for s in ("true_feature", "voice")}
    assert summarise_opinions(opinions, pd.DataFrame(index=range(24)), over_rows)["decoded_voice"] == {}
    unknown = truth().assign(sex=None, age_years=np.nan)
    assert summarise_opinions(opinions, unknown, over_rows)["decoded_voice"] == {}


def test_attributes_are_compared_over_the_rows_that_know_them():
    known, over_rows = truth(), Bootstrap(SPEAKERS, 200, 0.95, 0)
    opinions = {s: opinion(known, 0.8, 2) for s in ("true_feature", "voice")}
    asked = known.astype(object)
    asked.loc[[0, 1], "sex"] = "x"  # a class that the models do not have
    asked.loc[[2, 3], "sex"] = None
    asked.loc[[2, 9], "age_years"] = np.nan
    asked["age_years"] = asked["age_years"].astype(float)
    read = summarise_opinions(opinions, asked, over_rows)["decoded_voice"]
    given, rest = opinions["voice"], slice(4, None)
    sexes = np.where(given.male_probability > 0.5, "m", "f")
    assert read["sex_accuracy"]["value"] == pytest.approx((sexes == known["sex"])[rest].mean())
    assert read["sex_majority"] == pytest.approx(known["sex"][rest].value_counts(normalize=True).max())
    both = pd.DataFrame({"true": asked["age_years"], "read": given.age_years}).dropna()
    assert len(both) == 22
    assert read["age_correlation"]["value"] == pytest.approx(both.corr().iloc[0, 1])
