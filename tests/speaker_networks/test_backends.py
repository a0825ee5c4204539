"""Where the weights come from, and what is said where they are missing."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from speech2face.speaker_networks.backends import SOURCES, embedding_dim, may_have_heard, weight_file


def test_sizes_add_up():
    assert embedding_dim(["ge2e"]) == 256 and embedding_dim(["campplus"]) == 192
    assert embedding_dim(["campplus", "ge2e"]) == 448 and embedding_dim([]) == 0


def test_both_have_heard_voxceleb():
    assert may_have_heard(list(SOURCES)) == {"voxceleb"} and may_have_heard([]) == set()


@pytest.mark.parametrize("network", SOURCES)
def test_a_package_that_is_not_installed_is_named(network: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        FileNotFoundError, match=f"{network} needs the package {SOURCES[network].package}.*requirements-speakers"
    ):
        weight_file(network)


@pytest.mark.parametrize("network", SOURCES)
def test_a_package_without_the_file_is_named(network: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    empty = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: empty)
    with pytest.raises(FileNotFoundError, match="is missing"):
        weight_file(network)
