"""Digests of files: right, remembered, and never believed when the file has changed."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from speech2face.corpus import digests
from speech2face.pipeline.rejects import Reject
from tests.corpus.trees import digest_files, touch


def age(path: Path, seconds: float = 100) -> Path:
    """Make a file look as if it had been written a while ago."""
    then = path.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read; files settle at once."""
    names: list[str] = []

    def file_digest(path: Path) -> str:
        names.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(digests, "file_digest", file_digest)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    return names


def test_digests_are_sha256(tmp_path: Path):
    contents = {f"d/{n}": f"{n} ".encode() * n for n in range(1200)}
    for name, content in contents.items():
        touch(tmp_path / name, content)
    found = digest_files(tmp_path, list(contents), tmp_path / "memory")
    assert {n: d.sha256 for n, d in found.items()} == {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()}
    assert {n: d.size_bytes for n, d in found.items()} == {n: len(c) for n, c in contents.items()}


def test_only_new_and_changed_files_are_read_again(tmp_path: Path, read: list[str]):
    for name in "abc":
        touch(tmp_path / name, name.encode())
    first = digest_files(tmp_path, ["a", "b", "c"], tmp_path / "m/memory")
    assert sorted(read) == ["a", "b", "c"]
    read.clear()
    assert digest_files(tmp_path, ["a", "b", "c"], tmp_path / "m/memory") == first and read == []
    touch(tmp_path / "b", b"X")  # of the same size
    touch(tmp_path / "d")
    second = digest_files(tmp_path, ["a", "b", "c", "d"], tmp_path / "m/memory")
    assert sorted(read) == ["b", "d"] and second["b"] != first["b"] and second["a"] == first["a"]


def test_a_file_put_in_place_of_another_with_its_size_and_time_is_read(tmp_path: Path, read: list[str]):
    old = age(touch(tmp_path / "a", b"old"))
    digest_files(tmp_path, ["a"], tmp_path / "memory")
    new = touch(tmp_path / "new", b"new")
    os.utime(new, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    new.replace(old)
    assert digest_files(tmp_path, ["a"], tmp_path / "memory")["a"].sha256 == hashlib.sha256(b"new").hexdigest()


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(digests, "SETTLED_NS", 2_000_000_000)
    touch(tmp_path / "a")
    for _ in range(2):
        digest_files(tmp_path, ["a"], tmp_path / "memory")
    assert read == ["a", "a"]


def test_what_cannot_be_read_has_a_reason(tmp_path: Path):
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    found = digest_files(tmp_path, ["gone", "folder.wav", "pipe.wav", "none"], tmp_path / "memory")
    assert {name: d.reason for name, d in found.items()} == {
        "gone": "missing_file",
        "none": "missing_file",
        "folder.wav": "unreadable",
        "pipe.wav": "unreadable",
    }


@pytest.mark.parametrize("path", ["/etc/hostname", "../outside", "a/../../outside", "link", "a\\b"])
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str):
    touch(tmp_path / "outside")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="corpus root"):
        digest_files(root, [path], tmp_path / "memory")


def test_a_memory_that_is_damaged_costs_time_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    touch(tmp_path / "a")
    memory = touch(tmp_path / "memory", b"not a database" * 100)
    assert digest_files(tmp_path, ["a"], memory)["a"].sha256 == hashlib.sha256(b"x").hexdigest()
    assert "memory cannot be used" in capsys.readouterr().err


def test_a_fault_of_the_machine_is_no_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    number = errno.EIO

    def fail(path: Path) -> str:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(digests, "file_digest", fail)
    touch(tmp_path / "a\nb")
    found = digest_files(tmp_path, ["a\nb"], tmp_path / "memory")["a\nb"]
    assert found.reason == "unreadable" and "Input/output error; check that you may read it" in found.message
    assert Reject("a\nb", found.reason, found.message).message.isprintable()
    number = errno.EMFILE
    with pytest.raises(OSError, match="Too many open files"):
        digest_files(tmp_path, ["a\nb"], tmp_path / "memory")
