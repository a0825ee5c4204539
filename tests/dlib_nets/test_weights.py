"""Model files are known ones, or others on purpose."""

import hashlib

import numpy as np
import pytest

from speech2face.dlib_nets import load_detector, load_embedder, weights
from tests.dlib_nets import dat_files


@pytest.mark.parametrize("name", weights.SHA256)
def test_the_installed_files_are_the_known_ones(name):
    path = weights.model_path(name)
    assert path.name == name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.SHA256[name]


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown dlib model 'face.dat'; known are mmod_human_face_detector.dat"):
        weights.model_path("face.dat")


@pytest.mark.parametrize(
    ("load", "data"),
    [
        (load_detector, dat_files.tiny_detector(np.random.default_rng(0))),
        (load_embedder, dat_files.tiny_embedder(np.random.default_rng(0))),
    ],
)
def test_another_file_needs_its_own_sha256_or_none(tmp_path, load, data):
    path = tmp_path / "other.dat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"expected .*; to use another file on purpose, pass its own sha256"):
        load(path)
    load(path, sha256=hashlib.sha256(data).hexdigest())
    load(path, sha256=None)


def test_one_flipped_bit_is_noticed(tmp_path):
    data = bytearray(weights.model_path(weights.DETECTOR).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / weights.DETECTOR).write_bytes(data)
    with pytest.raises(ValueError, match="has sha256"):
        weights.model_path(weights.DETECTOR, tmp_path)
    with pytest.raises(ValueError, match="has sha256"):
        load_detector(tmp_path / weights.DETECTOR)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="no dlib model file at"):
        load_embedder(tmp_path / "nothing.dat")
    with pytest.raises(ValueError, match="no dlib model file at"):
        load_embedder(tmp_path)


def test_an_oversized_file_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "MAX_MODEL_BYTES", 1000)
    path = tmp_path / "large.dat"
    path.write_bytes(bytes(1001))
    with pytest.raises(ValueError, match="larger than a dlib model can be"):
        load_embedder(path, sha256=None)
