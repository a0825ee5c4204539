"""What DVC keeps of outputs, in real repositories of a few files."""

import shutil
from pathlib import Path

import pytest

from speech2face.pipeline.dvc_cache import last_output, read_lock
from tests.pipeline.dvc_repository import git, keep_outputs, start_repository

LOCK = Path("dvc.lock")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_outputs() -> None:
    for name, text in {"data/faces/shard-1": "one", "data/faces/deep/2": "two", "models/head": "three"}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    keep_outputs(crop_faces=["data/faces"], extract_features=["models/head"])


def texts(kept: dict[str, Path]) -> dict[str, str]:
    return {name: path.read_text() for name, path in kept.items()}


@pytest.mark.parametrize("cache_type", ["copy", "hardlink", "symlink"])
def test_the_files_of_a_folder_are_found_after_dvc_has_deleted_it(cache_type: str):
    start_repository(cache_type)
    write_outputs()
    shutil.rmtree("data")
    assert texts(last_output(Path("data/faces"))) == {"shard-1": "one", "deep/2": "two"}


def test_they_are_those_of_the_last_run():
    start_repository()
    write_outputs()
    shutil.rmtree("data/faces")
    Path("data/faces").mkdir()
    Path("data/faces/shard-3").write_text("three")
    assert texts(last_output(Path("data/faces"))) == {"shard-1": "one", "deep/2": "two"}
    keep_outputs(crop_faces=["data/faces"])
    assert texts(last_output(Path("data/faces"))) == {"shard-3": "three"}


def test_a_file_of_the_cache_that_is_gone_is_left_out():
    start_repository()
    write_outputs()
    last_output(Path("data/faces"))["shard-1"].unlink()
    assert texts(last_output(Path("data/faces"))) == {"deep/2": "two"}


def test_nothing_is_found_where_nothing_is_kept():
    assert last_output(Path("data/faces")) == {}  # no repository
    start_repository()
    assert last_output(Path("data/faces")) == {}  # no stage has run
    write_outputs()
    assert last_output(Path("data/other")) == {}
    assert last_output(Path("models/head")) == {}  # a file is no folder
    shutil.rmtree(".dvc/cache")
    assert last_output(Path("data/faces")) == {}  # a clone that has not pulled


def test_folders_outside_a_repository_have_no_cache():
    LOCK.write_text("stages: {s: {outs: [{path: data/faces, md5: 00ff.dir}]}}\n")
    assert last_output(Path("data/faces")) == {}


def test_a_copy_of_the_repository_finds_what_its_cache_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a clone that shares a cache, or an experiment that runs in a copy."""
    start_repository()
    write_outputs()
    git("add", "dvc.yaml", "dvc.lock")
    git("commit", "--quiet", "--message", "run")
    git("clone", "--quiet", ".", "copy")
    monkeypatch.chdir("copy")
    assert last_output(Path("data/faces")) == {}
    shutil.copytree(tmp_path / ".dvc" / "cache", ".dvc/cache")
    assert texts(last_output(Path("data/faces"))) == {"shard-1": "one", "deep/2": "two"}


def test_a_lock_is_read_by_stage():
    text = "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    params: {params.yaml: {lr: 1e-05}}\n"
    assert read_lock(text) == {"a": {"cmd": "x", "params": {"params.yaml": {"lr": 1e-05}}}}
    assert read_lock("") == read_lock("schema: '2.0'\n") == read_lock("stages:\n") == {}


@pytest.mark.parametrize("text", ["stages:\n<<<<<<< HEAD\n  a: 1\n=======\n  a: 2\n>>>>>>> b\n", "[1]", "a: b: c"])
def test_a_lock_that_cannot_be_read_is_one_clear_error(text: str):
    with pytest.raises(ValueError, match=r"^a dvc.lock cannot be read: .*; take it from a commit, or run: dvc repro$"):
        read_lock(text)
