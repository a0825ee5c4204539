from pathlib import Path

import pytest

from speech2face.corpus.splits import SPEAKERS_PATH, read_splits, write_splits
from speech2face.estimate.bench import grown, line, read_outs, sample_params, size_of, splits_swapped, table_bytes
from speech2face.pipeline.params import Params, load_params
from tests.estimate.test_tables import written


def test_a_line_through_two_points():
    assert line((10, 7.0), (30, 11.0)) == pytest.approx((5.0, 0.2))
    assert line((10, 7.0), (30, 6.0)) == (7.0, 0.0)  # noise
    assert line((10, 1.0), (20, 3.0)) == (0.0, 0.2)


def test_sizes_grow_until_the_difference_can_be_measured():
    asked = []

    def seconds_at(size: int) -> float:
        asked.append(size)
        return 3 + 0.01 * size

    (small, small_s), (large, large_s) = grown(seconds_at, 8, 100_000, 5.0)
    assert (small, small_s) == (8, pytest.approx(3.08))
    assert large_s - small_s >= 5 and asked == [8, 16, 256, 776] and large == 776


def test_sizes_end_at_the_most():
    first, second = grown(lambda size: 1.0, 8, 40, 5.0)
    assert (first, second) == ((8, 1.0), (40, 1.0))
    assert grown(lambda size: 1.0, 64, 40, 5.0)[1] == (68, 1.0)


def test_outputs_are_those_of_the_pipeline():
    outs = read_outs(Path("dvc.yaml"))
    assert outs["segment_audio"] == [
        "data/spectrograms",
        "data/rejects/segment_audio.parquet",
        "results/spectrograms/counts.json",
    ]
    assert "results/evaluation/metrics.json" in outs["evaluate"]
    assert not any(path.startswith("docs/") for path in outs["evaluate"])


def test_another_folder_is_no_repository(tmp_path: Path):
    with pytest.raises(ValueError, match="run from the repository's root"):
        read_outs(tmp_path / "dvc.yaml")


def test_bytes_of_a_table_are_all_of_its_bytes(tmp_path: Path):
    table = written(tmp_path / "t", 3)
    of_item, of_shard = table_bytes(table, 3)
    assert 3 * of_item + of_shard == pytest.approx(size_of(table))
    assert table_bytes(tmp_path, 3) == (0.0, 0.0)


def test_a_sample_is_run_with_the_users_parameters(tmp_path: Path):
    before = load_params()
    after = Params.model_validate(sample_params(before, tmp_path, 2))
    assert (after.corpus.source, after.corpus.root, after.corpus.clips_per_shard) == ("manifest", str(tmp_path), 2)
    assert after.decoder.epochs == after.encoder.epochs == after.encoder.speaker_embedding.epochs == 1
    assert after.audio == before.audio and after.faces == before.faces and after.evaluation == before.evaluation
    assert after.encoder.base_channels == before.encoder.base_channels


def test_splits_are_swapped(tmp_path: Path):
    write_splits(tmp_path / SPEAKERS_PATH, {"a": "train", "b": "val", "c": "test"})
    splits_swapped(tmp_path)
    assert read_splits(tmp_path / SPEAKERS_PATH) == {"a": "test", "b": "val", "c": "train"}
