from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face.face_networks.table import features_schema
from speech2face.models import head
from speech2face.models.head import (
    FACES_PER_SPEAKER,
    choose_faces,
    fit_head,
    fit_head_of_table,
)
from speech2face.pipeline.provenance import stable_fraction
from speech2face.pipeline.shards import write_shard


def clusters(classes: int = 5, per_class: int = 20, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    return (rng.normal(size=(classes, dim))[labels] + rng.normal(size=(len(labels), dim))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 5])
def test_no_other_head_has_a_smaller_loss(classes: int):
    """The loss is convex, so the least is where its gradient is zero."""
    features, labels = clusters(classes)
    l2 = 0.02
    fitted = fit_head(features, labels, l2).double().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(fitted(torch.from_numpy(features).double()), torch.from_numpy(labels))
    (loss + l2 / 2 * fitted.weight.square().sum()).backward()
    assert fitted.weight.grad.abs().max() < 1e-5
    assert fitted.bias.grad.abs().max() < 1e-5
    assert fitted.weight.abs().max() > 0.1


def test_the_head_is_frozen_and_the_same_every_time():
    features, labels = clusters()
    first, second = fit_head(features, labels, 0.01), fit_head(features, labels, 0.01)
    assert torch.equal(first.weight, second.weight)
    assert not any(p.requires_grad for p in first.parameters())


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two training speakers"):
        fit_head(np.ones((3, 2), np.float32), np.zeros(3, int), 0.01)


def test_at_most_so_many_faces_a_speaker_whatever_the_order():
    faces = [(f"a/v/{i}", "a") for i in range(100)] + [("b/v/0", "b")]
    chosen = choose_faces(faces)
    assert list(chosen) == sorted(chosen) and list(chosen.values()) == ["a"] * FACES_PER_SPEAKER + ["b"]
    assert choose_faces(faces[::-1]) == chosen
    last = sorted((stable_fraction(f"head {face_id}"), face_id) for face_id, speaker in faces if speaker == "a")
    assert {face_id for _, face_id in last[:FACES_PER_SPEAKER]} == chosen.keys() - {"b/v/0"}


def table(directory: Path, *shards: list[int]) -> Path:
    """A feature table of five speakers, s0 to s4, whose faces are cut into shards by their numbers."""
    features, labels = clusters()
    for name, numbers in enumerate(shards):
        rows = [
            {"face_id": f"s{labels[i]}/v/{i}", "clip_id": f"s{labels[i]}/v", "speaker_id": f"s{labels[i]}", "feature": features[i]}
            for i in numbers
        ]  # fmt: skip
        write_shard(directory / f"shard-{name}.parquet", rows, features_schema(6), {})
    return directory


SPLITS = {"s0": "train", "s1": "train", "s2": "test", "s3": "val", "s4": "train"}


def test_only_training_speakers_are_classes(tmp_path: Path):
    fitted = fit_head_of_table(table(tmp_path, list(range(100))), SPLITS, 0.01)
    features, labels = clusters()
    known = np.isin(labels, [0, 1, 4])
    assert fitted.out_features == 3
    classes = fitted(torch.from_numpy(features[known])).argmax(1).numpy()
    assert (np.array([0, 1, 4])[classes] == labels[known]).mean() > 0.7  # in the order of the speakers' ids


def test_the_cut_into_shards_changes_no_bit(tmp_path: Path):
    mixed = np.random.default_rng(1).permutation(100).tolist()
    whole = fit_head_of_table(table(tmp_path / "whole", list(range(100))), SPLITS, 0.01)
    cut = fit_head_of_table(table(tmp_path / "cut", mixed[:30], mixed[30:35], mixed[35:]), SPLITS, 0.01)
    assert torch.equal(whole.weight, cut.weight) and torch.equal(whole.bias, cut.bias)


def test_of_too_many_speakers_some_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = table(tmp_path / "all", list(range(100)))
    monkeypatch.setattr(head, "MOST_CLASSES", 2)
    chosen = sorted(SPLITS, key=lambda speaker: stable_fraction(f"head {speaker}"))[:2]
    found = fit_head_of_table(directory, dict.fromkeys(SPLITS, "train"), 0.01)
    monkeypatch.undo()
    only = {name: "train" if name in chosen else "test" for name in SPLITS}
    expected = fit_head_of_table(directory, only, 0.01)
    assert found.out_features == 2 and torch.equal(found.weight, expected.weight)


def test_a_table_that_cannot_be_fitted_is_refused(tmp_path: Path):
    directory = table(tmp_path, list(range(100)))
    with pytest.raises(ValueError, match=r"must have a split, and 2 have none, for example s3: run dvc repro"):
        fit_head_of_table(directory, {name: SPLITS[name] for name in ("s0", "s1", "s2")}, 0.01)
    with pytest.raises(ValueError, match="no face of a training speaker"):
        fit_head_of_table(directory, dict.fromkeys(SPLITS, "test"), 0.01)
