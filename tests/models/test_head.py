from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from speech2face.face_networks.table import features_schema
from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.head import (
    FACES_PER_SPEAKER,
    LinearHead,
    choose_faces,
    fit_head,
    fit_head_of_table,
    head_of_vgg_face,
)
from speech2face.pipeline.shards import write_shard


def clusters(classes: int = 5, per_class: int = 20, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    return (rng.normal(size=(classes, dim))[labels] + rng.normal(size=(len(labels), dim))).astype(np.float32), labels


def test_the_head_is_scikit_learns_multinomial_logistic_regression():
    features, labels = clusters()
    l2 = 0.02
    head = fit_head(features, labels, l2)
    # scikit-learn minimises the sum of the cross-entropies plus |W|^2 / (2 C)
    reference = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-8, max_iter=5000).fit(
        features.astype(np.float64), labels
    )
    with torch.no_grad():
        probabilities = torch.softmax(head(torch.from_numpy(features)), 1).numpy()
    np.testing.assert_allclose(probabilities, reference.predict_proba(features), atol=2e-3)


def test_the_head_is_frozen_and_the_same_every_time():
    features, labels = clusters()
    first, second = fit_head(features, labels, 0.01), fit_head(features, labels, 0.01)
    assert torch.equal(first.weight, second.weight)
    assert not any(p.requires_grad for p in first.parameters())


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two training speakers"):
        fit_head(np.ones((3, 2), np.float32), np.zeros(3, int), 0.01)


def test_at_most_so_many_faces_a_speaker_whatever_the_order():
    ids = [f"a/v/{i}" for i in range(100)] + ["b/v/0"]
    speakers = ["a"] * 100 + ["b"]
    chosen = choose_faces(ids, speakers)
    assert len(chosen) == FACES_PER_SPEAKER + 1
    assert {ids[i] for i in chosen} == {ids[::-1][i] for i in choose_faces(ids[::-1], speakers[::-1])}


def test_only_training_speakers_are_classes(tmp_path: Path):
    features, labels = clusters()
    rows = [
        {
            "face_id": f"s{c}/v/{i}",
            "clip_id": f"s{c}/v/0",
            "speaker_id": f"s{c}",
            "split": "test" if c == 2 else "train",
            "feature": f,
        }
        for i, (f, c) in enumerate(zip(features, labels, strict=True))
    ]
    write_shard(tmp_path / "shard-0.parquet", rows, features_schema(6), "f")
    assert fit_head_of_table(tmp_path, 0.01).out_features == 4


@pytest.mark.parametrize("layer", ["fc7", "fc7_relu"])
def test_vgg_faces_own_head_gives_its_logits(layer: str):
    torch.manual_seed(0)
    network = VggFace((4, 4, 4, 4, 4), 8, 8, 5, feature_layer=layer)
    features = torch.randn(3, 8)
    head = head_of_vgg_face(network)
    assert torch.equal(head(features), network.logits(features))
    assert isinstance(head, LinearHead)
