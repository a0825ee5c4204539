import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from speech2face.face_networks.files import isolated
from tests.pipeline.preloaded import preloaded


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the store of converted weights, which no test may write into the real repository."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(autouse=True)
def _store(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(repository))


@pytest.fixture
def readers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of readers have imported the large libraries already. (New ones are tested in files/test_isolated.py.)"""
    monkeypatch.setattr(isolated, "sys", SimpleNamespace(executable=str(preloaded() / "python"), path=sys.path))
