from pathlib import Path

import pytest

from speech2face.corpus.paths import RECORDINGS, corpus_root, inside, why_changed


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.wav", "a/../../b.wav", "a\\b.wav", "a\0.wav"])
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str):
    with pytest.raises(ValueError, match="must be a path below the corpus root"):
        inside(tmp_path, path)


def test_a_path_below_the_root_is_a_file_there(tmp_path: Path):
    assert inside(tmp_path, "a/b.wav") == tmp_path / "a" / "b.wav"


def test_the_root_is_the_folder_of_a_list_and_the_recordings_without_one(tmp_path: Path):
    (tmp_path / "list.csv").write_text("")
    assert corpus_root(str(tmp_path / "list.csv")) == tmp_path
    assert corpus_root(str(tmp_path)) == tmp_path
    assert corpus_root(None) == RECORDINGS


def test_a_file_that_has_changed_or_gone_is_noticed(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    assert why_changed(path, 4) is None
    assert "4 bytes, but 5 when" in str(why_changed(path, 5))
    path.unlink()
    assert "though it was there" in str(why_changed(path, 4))
