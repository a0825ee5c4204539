import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pipeline.clones import STAGES, Clone, run, small_clone


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which everything has run and is committed, with a remote that has it all. Not to be changed: the processes in which
    tests run beside each other share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "origin"
    with FileLock(f"{folder}.lock"):
        if not (folder / "finished").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made = small_clone(folder / "speech2face")
            assert made.repro().stages == STAGES
            made("dvc", "remote", "add", "--quiet", "--default", "store", str(folder / "store"))
            made.commit("run")
            made("dvc", "push", "--quiet")
            (folder / "finished").touch()
    return Clone(folder / "speech2face")


@pytest.fixture(scope="module")
def clone(origin: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of `origin`, with its cache and its work; tests leave it as they found it."""
    path = tmp_path_factory.mktemp("clone") / "speech2face"
    run(["cp", "--archive", str(origin.path), str(path)], Path("/"))
    return Clone(path)


@pytest.fixture
def pulled(origin: Clone, tmp_path: Path) -> Clone:
    """Another machine: a clone that has pulled the data and has computed nothing."""
    path = tmp_path / "speech2face"
    run(["git", "clone", "--quiet", str(origin.path), str(path)], tmp_path)
    made = Clone(path)
    made("dvc", "pull", "--quiet")
    return made
