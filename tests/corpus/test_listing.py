from pathlib import Path

from speech2face.corpus.clips import Clip
from speech2face.corpus.listing import evenly, files, folders, joined, name_key, writable


def test_pictures_are_chosen_evenly_and_in_order():
    assert evenly([str(i) for i in range(10)], 2) == ("2", "7")
    assert evenly(["a", "b"], 5) == ("a", "b")
    assert evenly(["a", "b"], None) == ("a", "b")


def test_hidden_names_are_left_out(tmp_path: Path):
    for name in ("b.WAV", "a.wav", "._a.wav", "c.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert files(tmp_path, (".wav",)) == ["a.wav", "b.WAV"]
    assert folders(tmp_path) == ["folder"]
    assert folders(tmp_path / "none") == []


def test_names_survive_file_systems():
    assert name_key("Harry_Connick_Jr.") == name_key("Harry_Connick_Jr")
    assert name_key("E\u0301milie ") == name_key("\u00c9milie")
    assert joined("", "a", "", "b") == "a/b"


def test_names_that_no_table_can_hold_are_known():
    assert writable(Clip("s/v/1", "s", "\u00e9.wav", ("a.jpg",), "v.mp4"))
    for broken in (
        Clip("s/v/\udcff", "s", None),
        Clip("s/v/1", "s", "\udcff.wav"),
        Clip("s/v/1", "s", None, ("a", "\udcff")),
    ):
        assert not writable(broken)
