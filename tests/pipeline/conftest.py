from pathlib import Path

import pytest

from tests.pipeline.clones import STAGES, Clone, run, small_clone


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which everything has run and is committed, with a remote that has it all. Not to be changed."""
    made = small_clone(tmp_path_factory.mktemp("origin") / "speech2face")
    assert made.repro().stages == STAGES
    made("dvc", "remote", "add", "--quiet", "--default", "store", str(made.path.parent / "store"))
    made.commit("run")
    made("dvc", "push", "--quiet")
    return made


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
