"""A file appears whole under its name, or the old one stays."""

import json
import os
from pathlib import Path

import pytest

from speech2face.pipeline.atomic import NO_LINKS, PARTIALS, link, replacing, replacing_folder, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.parent == tmp_path
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_folders_are_made(tmp_path: Path):
    write_text(tmp_path / "deep" / "er" / "a.txt", "x")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "x"


def test_what_is_being_written_has_names_of_one_pattern_and_is_no_shard(tmp_path: Path):
    with replacing(tmp_path / "shard-1.parquet") as partial:
        partial.touch()
        assert list(tmp_path.glob(PARTIALS)) == [partial]
        assert list(tmp_path.glob("shard-*.parquet")) == []
    assert list(tmp_path.glob(PARTIALS)) == []


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
    assert path.read_text() == "first"  # the one that ends last
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a power cut could leave the name with nothing behind it."""
    path, flushed = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append((os.fstat(descriptor).st_ino, path.exists())))
    write_text(path, "x")
    assert flushed == [(path.stat().st_ino, False)]


def test_a_second_name_of_the_old_file_keeps_the_old_content(tmp_path: Path):
    """Links into DVC's cache are not written through."""
    path, other = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old")
    other.hardlink_to(path)
    write_text(path, "new")
    assert (path.read_text(), other.read_text()) == ("new", "old")
    other.unlink()
    other.symlink_to(path)
    write_text(other, "newer")
    assert (path.read_text(), other.read_text(), other.is_symlink()) == ("new", "newer", False)


def test_texts_are_utf_8_whatever_the_machine_speaks(tmp_path: Path):
    write_text(tmp_path / "a.txt", "Émilie\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\x89milie\n"


def test_json_keeps_its_order_and_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "metrics.json"
    write_json(path, {"b": 1, "a": [0.5]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    0.5\n  ]\n}\n'
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(path, {"a": value})
    assert json.loads(path.read_text()) == {"b": 1, "a": [0.5]}
    assert names(tmp_path) == ["metrics.json"]


def test_a_link_takes_the_place_of_what_has_the_name(tmp_path: Path):
    source, target = tmp_path / "a.txt", tmp_path / "deep" / "b.txt"
    source.write_text("a")
    for _ in range(2):  # the second time it is that file already
        link(source, target)
        assert target.samefile(source)
    target.unlink()
    target.write_text("b")
    link(source, target)
    assert target.samefile(source)
    assert names(target.parent) == ["b.txt"]


@pytest.mark.parametrize("number", NO_LINKS)
def test_where_a_file_can_have_no_second_name_it_is_copied(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("a")
    target.write_text("b")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    link(source, target)
    assert target.read_text() == "a" and not target.samefile(source)
    assert f"cannot link {target}" in capsys.readouterr().err


def test_a_link_that_fails_otherwise_leaves_what_was_there(tmp_path: Path):
    target = tmp_path / "b.txt"
    target.write_text("b")
    with pytest.raises(FileNotFoundError):
        link(tmp_path / "none", target)
    assert target.read_text() == "b"
    assert names(tmp_path) == ["b.txt"]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_appears_whole_in_place_of_the_old_one(tmp_path: Path, earlier: bool):
    path = tmp_path / "folder"
    if earlier:
        write_text(path / "old.txt", "old")
    with replacing_folder(path) as partial:
        (partial / "new.txt").write_text("new")
        assert list(tmp_path.glob(PARTIALS)) == [partial]
        assert path.exists() == earlier
    assert names(tmp_path) == ["folder"] and names(path) == ["new.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_that_fails_leaves_the_old_one_and_no_rest(tmp_path: Path, error: type[BaseException], earlier: bool):
    path = tmp_path / "folder"
    if earlier:
        write_text(path / "old.txt", "old")
    with pytest.raises(error), replacing_folder(path) as partial:
        (partial / "new.txt").write_text("half")
        raise error
    assert names(tmp_path) == (["folder"] if earlier else [])
    assert not earlier or names(path) == ["old.txt"]


def test_a_folder_that_cannot_take_its_name_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "folder"
    write_text(path / "old.txt", "old")
    rename = Path.rename

    def only_once(self: Path, target: Path) -> Path:
        if target == path and names(self) == ["new.txt"]:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_once)
    with pytest.raises(OSError, match="no"), replacing_folder(path) as partial:
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["folder"] and names(path) == ["old.txt"]
