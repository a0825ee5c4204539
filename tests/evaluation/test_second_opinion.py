from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from speech2face.evaluation.second_opinion import Opinion, load_judge, summarise_opinions
from speech2face.evaluation.statistics import Bootstrap
from tests.features.test_arcface import write_age_sex, write_recognition

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


def test_a_pack_on_disk_is_asked_and_none_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_INSIGHTFACE_ROOT", str(tmp_path))
    assert load_judge(torch.device("cpu")) is None
    folder = tmp_path / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    write_recognition(folder / "recognition.onnx")
    write_age_sex(folder / "attributes.onnx", normalises=False)
    judge = load_judge(torch.device("cpu"))
    assert judge is not None
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    found = judge(images, rng.uniform(60, 160, (3, 68, 2)).astype(np.float32))
    assert len(found.embedding) == 3 and found.age_years.shape == found.male_probability.shape == (3,)
    assert ((found.male_probability >= 0) & (found.male_probability <= 1)).all()
