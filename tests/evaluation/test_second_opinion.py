"""A model pack as a judge of decoded faces: asked where the parameter names it, and named where it is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face.evaluation.second_opinion import load_judge
from tests.face_networks.test_arcface import write_age_sex, write_recognition

pytestmark = pytest.mark.slow


def test_a_pack_is_asked_only_where_the_parameter_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    write_recognition(folder / "recognition.onnx")
    write_age_sex(folder / "attributes.onnx", normalises=False)
    monkeypatch.chdir(tmp_path)  # where the converted models go too
    assert load_judge(None, torch.device("cpu")) is None
    assert not (tmp_path / ".work").exists()
    judge = load_judge("models/buffalo_l", torch.device("cpu"))
    assert judge is not None
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    found = judge(images, rng.uniform(60, 160, (3, 68, 2)).astype(np.float32))
    assert len(found.embedding) == 3 and found.age_years.shape == found.male_probability.shape == (3,)
    assert ((found.male_probability >= 0) & (found.male_probability <= 1)).all()


def test_a_pack_that_is_asked_for_and_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "antelope"
    with pytest.raises(FileNotFoundError, match=f"no recognition model .* in {folder}"):
        load_judge(str(folder), torch.device("cpu"))
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=f"no recognition model .* in {folder}"):
        load_judge(str(folder), torch.device("cpu"))
    write_recognition(folder / "recognition.onnx")
    with pytest.raises(FileNotFoundError, match=f"no age and sex model .* in {folder}"):
        load_judge(str(folder), torch.device("cpu"))
