from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the store of converted weights, which no test may write into the real repository."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(autouse=True)
def _store(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(repository))
