"""Permutations among speakers: what stays together, and that tests by them raise no more false alarms than they promise."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from speech2face.measures.attributes import Attribute, significance
from speech2face.measures.exchange import exchanges

pytestmark = pytest.mark.slow


def clips_of(videos: Sequence[int], clips: int = 1, rows: int = 1) -> pd.DataFrame:
    """Rows of speakers with so many videos each, of so many clips, of so many rows."""
    found = [
        (f"s{speaker}", f"s{speaker}/v{video}", f"s{speaker}/v{video}/{clip}")
        for speaker, count in enumerate(videos)
        for video in range(count)
        for clip in range(clips)
        for _ in range(rows)
    ]
    return pd.DataFrame(found, columns=["speaker_id", "video", "clip_id"])


class Copy:
    """A probe whose features are what it reads: a number, or a class's place among these values."""

    def __init__(self, values: np.ndarray | None) -> None:
        self.values = values

    def predict(self, features):
        return features[:, 0] if self.values is None else self.values[features[:, 0].astype(int)]


def p_of(clips: pd.DataFrame, truth: np.ndarray, read: np.ndarray, seed: int) -> float:
    is_number = truth.dtype.kind == "f"
    classes = [] if is_number else sorted({*truth, *read})
    values, features = (None, read) if is_number else np.unique(read, return_inverse=True)
    attribute = Attribute("a", is_number, Copy(values), np.ones(len(truth), bool), truth, clips, classes)
    return significance(attribute, features[:, None], 199, seed)


class TestWhatStaysTogether:
    def test_alike_speakers_exchange_everything(self):
        clips = clips_of([3, 3, 3, 3], clips=2)
        given = exchanges(clips, 200, np.random.default_rng(0))
        assert (np.sort(given, axis=1) == np.arange(24)).all()
        for column, size in (("speaker_id", 6), ("video", 2)):
            sources = clips[column].to_numpy()[given].reshape(200, -1, size)
            assert (sources == sources[:, :, :1]).all(), column

    def test_every_exchange_is_as_likely(self):
        clips = clips_of([2, 2, 2])
        given = exchanges(clips, 12_000, np.random.default_rng(0))
        orders, counts = np.unique(given, axis=0, return_counts=True)
        assert len(orders) == 6 * 2**3  # of speakers, times of each one's videos
        assert counts.min() > 170  # of 250 on average, standard deviation 16
        assert counts.max() < 330

    def test_unlike_speakers(self):
        clips = clips_of([1, 2, 5])
        given = exchanges(clips, 300, np.random.default_rng(0))
        speakers = clips["speaker_id"].to_numpy()[given]
        assert (speakers[:, 1] == speakers[:, 2]).all()
        assert (speakers[:, 3:] == speakers[:, 3:4]).all()
        assert ({*speakers[:, 0]}, {*speakers[:, 1]}, {*speakers[:, 3]}) == ({"s0", "s1", "s2"},) * 3
        for row in given:
            assert len(set(row[1:3])) == min(2, (clips["speaker_id"] == clips["speaker_id"][row[1]]).sum())
            assert len(set(row[3:])) == min(5, (clips["speaker_id"] == clips["speaker_id"][row[3]]).sum())

    def test_rows_of_a_clip_keep_one_value(self):
        given = exchanges(clips_of([2, 1, 3], rows=3), 100, np.random.default_rng(0)).reshape(100, -1, 3)
        assert (given == given[:, :, :1]).all()


RUNS = 300
MOST = int(binom.ppf(0.999, RUNS, 0.05))  # false alarms of an honest test at 5 %


class TestFalseAlarms:
    """Predictions that know who speaks, or which video it is, and nothing of the attribute."""

    @pytest.mark.parametrize("videos", [[6] * 20, [2, 3, 4, 5, 12] * 4], ids=["alike", "unlike"])
    def test_an_age_that_drifts_between_videos(self, videos):
        clips = clips_of(videos)
        speaker = pd.factorize(clips["speaker_id"])[0]
        alarms = 0
        for seed in range(RUNS):
            rng = np.random.default_rng([seed, 7])
            age = rng.uniform(20, 80, len(videos))[speaker] + rng.uniform(0, 0.9, len(clips))
            alarms += p_of(clips, age, rng.normal(size=len(videos))[speaker], seed) <= 0.05
        assert alarms <= MOST

    def test_one_mislabelled_clip(self):
        clips = clips_of([6] * 20)
        speaker = pd.factorize(clips["speaker_id"])[0]
        alarms = 0
        for seed in range(RUNS):
            rng = np.random.default_rng([seed, 7])
            truth, read = (rng.permuted(np.repeat(["f", "m"], 10))[speaker] for _ in range(2))
            truth[0] = "m" if truth[0] == "f" else "f"
            alarms += p_of(clips, truth, read, seed) <= 0.05
        assert alarms <= MOST

    def test_a_room_of_videos_with_several_clips_one_of_them_mislabelled(self):
        clips = clips_of([3] * 12, clips=4)
        video = pd.factorize(clips["video"])[0]
        alarms = 0
        for seed in range(RUNS):
            rng = np.random.default_rng([seed, 7])
            truth, read = (rng.choice(["dry", "hall", "office"], 36)[video] for _ in range(2))
            truth[0] = "dry" if truth[0] == "hall" else "hall"
            alarms += p_of(clips, truth, read, seed) <= 0.05
        assert alarms <= MOST


@pytest.mark.parametrize("videos", [[2] * 30, [1, 2, 3] * 10], ids=["alike", "unlike"])
def test_what_is_heard_of_each_video_is_found(videos):
    clips = clips_of(videos)
    found = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 7])
        pose = rng.uniform(-18, 18, len(clips))
        found += p_of(clips, pose, pose + rng.normal(0, 20, len(clips)), seed) <= 0.05
    assert found >= 30  # of 40; correlation 0.46 of 60 values is found 97 times in 100 at 5 %
