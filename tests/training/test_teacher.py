"""The teacher of the published network."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from speech2face.measures.ridge import STRENGTHS
from speech2face.training.pairs import read_targets
from speech2face.training.teacher import read_teacher
from tests.training.tables import feature_row, write_embeddings, write_features

TRAINING = [f"t{i}" for i in range(12)]
SPLITS = dict.fromkeys(TRAINING, "train") | {"v": "val", "z": "test"}
WITHOUT_FACE = "t3/b"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos a speaker; faces depend on voices linearly, but for noise."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    slopes, segments, faces = rng.normal(size=(5, 3)), {}, []
    for speaker in SPLITS:
        for video in "ab":
            voice = rng.normal(2, 1, 5)
            for segment in range(2):
                segments[f"{speaker}/{video}/0", segment] = voice + 0.01 * rng.normal(size=(6, 5))
            if f"{speaker}/{video}" != WITHOUT_FACE:
                faces.append(feature_row(f"{speaker}/{video}/0", voice @ slopes + 0.5 * rng.normal(size=3)))
    write_embeddings(root / "embeddings", segments, 3)
    write_features(root / "features", faces)
    return root


def voices_of(data: Path) -> dict[str, np.ndarray]:
    """Mean embedding of each video's whole segments, by the libraries' own reading."""
    found: dict[str, list[np.ndarray]] = {}
    for path in (data / "embeddings").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found.setdefault(row["clip_id"][:-2], []).append(np.reshape(row["embedding"], (6, 5))[0])
    return {video: np.mean(rows, 0) for video, rows in found.items()}


def test_a_teacher_says_what_scikit_learns_ridge_does(data: Path):
    faces = read_targets(data / "features", SPLITS)
    teacher, voices = read_teacher(data / "embeddings", faces), voices_of(data)
    videos = [f"{speaker}/{video}" for speaker in sorted(TRAINING) for video in "ab"]
    known = [video for video in videos if video != WITHOUT_FACE]
    scaler = StandardScaler().fit([voices[video] for video in known])
    true = np.stack([faces.features[faces.index[video]] for video in known]).astype(np.float64)
    folds = PredefinedSplit([sorted(TRAINING).index(video.split("/")[0]) % 3 for video in known])
    ridge = RidgeCV(STRENGTHS, cv=folds, scoring="r2").fit(scaler.transform([voices[video] for video in known]), true)
    assert STRENGTHS[0] < ridge.alpha_ < STRENGTHS[-1]
    expected = {video: ridge.predict(scaler.transform(voice[None]))[0] for video, voice in voices.items()}
    assert set(teacher.faces.index) == set(expected) and len(expected) == 28
    for video, row in teacher.faces.index.items():
        np.testing.assert_allclose(teacher.faces.features[row], expected[video], rtol=1e-4, atol=1e-5)
    assert teacher.variance == pytest.approx(np.var([expected[video] for video in videos], axis=0).sum(), rel=1e-4)
    assert teacher.speaker_networks == {"campplus": "first"}


def test_the_mean_of_what_is_taught_has_an_error_of_one_and_unknown_clips_none(data: Path):
    teacher = read_teacher(data / "embeddings", read_targets(data / "features", SPLITS))
    rows = [row for video, row in teacher.faces.index.items() if video.startswith("t")]
    clips = [f"{video}/0" for video in teacher.faces.index if video.startswith("t")]
    mean = torch.from_numpy(teacher.faces.features[rows].mean(0)).expand(len(clips) + 1, -1).clone().requires_grad_()
    error = teacher.error(mean, [*clips, "t0/unknown/0"])
    assert error.item() == pytest.approx(1, rel=1e-5)
    error.backward()
    assert not mean.grad[-1].any() and mean.grad[:-1].any(1).all()
    assert teacher.error(mean[-1:], ["t0/unknown/0"]).item() == 0


def test_two_speakers_are_too_few_to_learn_a_teacher_from(data: Path):
    faces = read_targets(data / "features", dict.fromkeys(SPLITS, "test") | {"t0": "train", "t1": "train"})
    with pytest.raises(ValueError, match=r"at least 3 training speakers with a voice and a face \(got 2\)"):
        read_teacher(data / "embeddings", faces)
