from pathlib import Path

import pytest
import torch

from speech2face.face_networks import backends
from speech2face.face_networks.backends import load_backend, own_head, weight_digests
from speech2face.face_networks.vgg_face import VggFace
from speech2face.pipeline.params import Features
from speech2face.pipeline.provenance import file_digest


def features(**changes) -> Features:
    return Features(**{"backend": "dlib_resnet", "weights": None, "layer": "fc7", "head_l2": 0.001} | changes)


def test_the_default_comes_with_a_package():
    backend = load_backend(features())
    assert backend.feature_dim == 128
    assert own_head(backend) is None
    assert list(weight_digests(features())) == ["dlib_resnet"]


def test_vgg_face_is_read_from_its_file_and_brings_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = VggFace((4, 8, 16, 32, 32), 48, 40, 32)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    chosen = features(backend="vgg_face", weights=str(path))
    backend = load_backend(chosen)
    assert backend.feature_dim == 40
    head = own_head(backend)
    assert head is not None and head.out_features == 32
    assert weight_digests(chosen) == {"vgg_face": file_digest(path)}
    digests = weight_digests(chosen)
    path.rename(tmp_path / "elsewhere.pth")
    assert weight_digests(features(backend="vgg_face", weights=str(tmp_path / "elsewhere.pth"))) == digests
    # A queued experiment runs in a copy of the repository, where a relative path leads nowhere.
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert weight_digests(features(backend="vgg_face", weights="elsewhere.pth")) == digests


@pytest.mark.parametrize("backend", ["vgg_face", "arcface"])
def test_missing_weights_say_what_is_missing_and_where_it_goes(backend: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_backend(features(backend=backend, weights=str(tmp_path / "models" / "pack")))


def test_vgg_face_without_a_file_is_refused_by_the_parameters():
    with pytest.raises(ValueError, match="weights must name a VGG-Face weight file"):
        features(backend="vgg_face")


def test_an_arcface_pack_is_found_by_its_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=f"in {tmp_path}/antelopev2: unzip"):
        load_backend(features(backend="arcface", weights=str(tmp_path / "antelopev2")))
    assert backends._pack(features(backend="arcface")) is None
