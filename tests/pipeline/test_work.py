from pathlib import Path

import pytest

from speech2face.pipeline.work import work_directory


def test_work_lies_in_the_repository(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert work_directory() == Path(".work")


def test_experiments_in_copies_share_the_work_of_their_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert work_directory() == tmp_path / ".work"
