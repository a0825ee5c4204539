from pathlib import Path

import pytest
import torch

from speech2face.dlib_nets.weights import EMBEDDER, SHA256
from speech2face.face_networks.backends import (
    converted_weights,
    feature_dim,
    head_of,
    head_of_vgg_face,
    load_backend,
    open_backend,
    weight_digests,
)
from speech2face.face_networks.table import features_schema
from speech2face.face_networks.vgg_face import VggFace
from speech2face.pipeline.params import Features
from speech2face.pipeline.shards import write_shard
from tests.face_networks.files import weight_files
from tests.face_networks.test_arcface import write_recognition

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("readers_at_once")]


def features(**changes) -> Features:
    return Features(**{"backend": "dlib_resnet", "weights": None, "layer": "fc7", "head_l2": 0.001} | changes)


def test_the_default_comes_with_a_package(tmp_path: Path):
    backend = load_backend(features())
    assert backend.feature_dim == feature_dim(features()) == 128
    assert converted_weights(features()) is None
    assert type(open_backend("dlib_resnet", "fc7", None)) is type(backend)
    assert weight_digests(features()) == {"dlib_resnet": SHA256[EMBEDDER]}


def test_vgg_face_is_read_from_its_file_and_brings_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network = VggFace((4, 8, 16, 32, 32), 48, 40, 32)
    network.load_state_dict(weight_files.state_dict())
    path = tmp_path / "weights.h5"
    path.write_bytes(weight_files.NARROW_H5.read_bytes())
    chosen = features(backend="vgg_face", weights=str(path))
    backend = load_backend(chosen)
    assert backend.feature_dim == feature_dim(chosen) == 40
    crops = torch.rand(2, 3, 224, 224)
    for same in (backend, open_backend("vgg_face", "fc7", converted_weights(chosen))):
        assert torch.equal(same.embed(crops, torch.zeros(2, 68, 2)), network.embed(crops))
    head = head_of(chosen, tmp_path / "no table", {})
    assert torch.equal(head.weight, network.fc8.weight)
    digests = weight_digests(chosen)
    path.rename(tmp_path / "elsewhere.h5")
    assert weight_digests(features(backend="vgg_face", weights=str(tmp_path / "elsewhere.h5"))) == digests
    # A queued experiment runs in a copy of the repository, where a relative path leads nowhere.
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert weight_digests(features(backend="vgg_face", weights="elsewhere.h5")) == digests
    assert (tmp_path / ".work" / "weights" / f"{digests['vgg_face']}.safetensors").is_file()


def test_other_weights_have_another_digest(tmp_path: Path):
    chosen = features(backend="vgg_face", weights=str(tmp_path / "weights.t7"))
    found = []
    for more in (0.0, 1e-6):
        weight_files.write_torch7(tmp_path / "weights.t7", change=lambda m, more=more: m[0][1]["bias"].__iadd__(more))
        found.append(weight_digests(chosen)["vgg_face"])
    assert found[0] != found[1]


@pytest.mark.parametrize("layer", ["fc7", "fc7_relu"])
def test_vgg_faces_own_head_gives_its_logits(layer: str):
    torch.manual_seed(0)
    network = VggFace((4, 4, 4, 4, 4), 8, 8, 5, feature_layer=layer)
    embedded = torch.randn(3, 8)
    assert torch.equal(head_of_vgg_face(network)(embedded), network.logits(embedded))


def test_an_arcface_pack_is_found_by_its_folder_and_its_head_is_fitted(tmp_path: Path):
    pack = tmp_path / "pack"
    pack.mkdir()
    write_recognition(pack / "recognition.onnx")
    chosen = features(backend="arcface", weights=str(pack))
    assert feature_dim(chosen) == 512
    points = torch.rand(1, 68, 2) * 200
    crops = torch.rand(1, 3, 224, 224)
    opened = open_backend("arcface", "fc7", converted_weights(chosen))
    assert torch.equal(opened.embed(crops, points), load_backend(chosen).embed(crops, points))
    rows = [
        {"face_id": f"{who}/v/0", "clip_id": f"{who}/v", "speaker_id": who, "feature": torch.rand(512).numpy()}
        for who in "abc"
    ]
    write_shard(tmp_path / "table" / "shard-0.parquet", rows, features_schema(512), {})
    head = head_of(chosen, tmp_path / "table", {"a": "train", "b": "train", "c": "test"})
    assert (head.in_features, head.out_features) == (512, 2)


@pytest.mark.parametrize("backend", ["vgg_face", "arcface"])
def test_missing_weights_say_what_is_missing_and_where_it_goes(backend: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_backend(features(backend=backend, weights=str(tmp_path / "models" / "pack")))


@pytest.mark.parametrize(("backend", "words"), [("vgg_face", "a VGG-Face weight file"), ("arcface", "the folder of")])
def test_weights_that_are_not_named_are_refused_by_the_parameters(backend: str, words: str):
    with pytest.raises(ValueError, match=f"weights must name {words}.* for backend {backend} .got null"):
        features(backend=backend)


def test_a_network_without_its_weights_is_refused():
    with pytest.raises(ValueError, match="no face network arcface with the weights None"):
        open_backend("arcface", "fc7", None)
