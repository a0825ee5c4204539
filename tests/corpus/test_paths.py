"""Which files of a corpus may be opened: those below its root, and those that DVC has linked into its cache."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from speech2face.corpus.paths import RECORDINGS, corpus_root, dvc_caches, inside, places, why_changed
from speech2face.corpus.readers.videos import list_videos
from tests.corpus.trees import digest_files, touch


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


COMPOSED = "Zo\u00eb/caf\u00e9.wav"


def dvc(folder: Path, *arguments: object) -> None:
    command = [sys.executable, "-m", "dvc", *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository with a shared cache outside of it, and a folder of recordings that `dvc add` has replaced by links."""
    folder = tmp_path_factory.mktemp("dvc")
    touch(folder / "project/videos/Ann/a.mp4", b"a film of Ann")
    touch(folder / "shared/secret", b"not for the corpus")
    dvc(folder / "project", "init", "--no-scm", "-q")
    dvc(folder / "project", "config", "--local", "cache.type", "symlink")
    dvc(folder / "project", "cache", "dir", "--local", "../shared")
    dvc(folder / "project", "add", "-q", "videos")
    return folder / "project"


@pytest.mark.slow
def test_what_dvc_has_linked_is_read(repository: Path, tmp_path: Path):
    root = repository / "videos"
    assert (root / "Ann/a.mp4").is_symlink() and not (root / "Ann/a.mp4").resolve().is_relative_to(repository)
    context = places(str(root))
    assert inside(root, "Ann/a.mp4", context["caches"]).read_bytes() == b"a film of Ann"
    paths = [str(clip.audio_path) for clip in list_videos(root).clips]
    assert digest_files(root, paths, tmp_path / "memory", dvc_caches(root))["Ann/a.mp4"].size_bytes == 13


@pytest.mark.slow
def test_other_links_out_of_the_root_are_refused(repository: Path):
    root = repository / "videos"
    caches = dvc_caches(root)
    for name, target in (("b.mp4", "/etc/hostname"), ("c.mp4", repository.parent / "shared/secret")):
        (root / name).symlink_to(target)
        with pytest.raises(ValueError, match=r"leads out of the corpus root .* copy the file into the root"):
            inside(root, name, caches)
    with pytest.raises(ValueError, match="leads out of the corpus root"):
        inside(root, "Ann/a.mp4")  # not without the cache


def test_caches_of_repositories_as_they_are_by_default(tmp_path: Path):
    assert dvc_caches(tmp_path) == ()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "data").mkdir()
    # Of this repository; whether a cache is set for all of a user's is the user's affair.
    assert dvc_caches(tmp_path / "data") == (str(tmp_path / ".dvc/cache"),)


def test_a_link_within_the_root_is_read_and_one_that_leads_to_itself_is_rejected(tmp_path: Path):
    touch(tmp_path / "a.wav")
    (tmp_path / "b.wav").symlink_to("a.wav")
    (tmp_path / "c.wav").symlink_to("c.wav")
    found = digest_files(tmp_path, ["a.wav", "b.wav", "c.wav"], tmp_path / "memory")
    assert found["a.wav"].sha256 == found["b.wav"].sha256
    assert found["c.wav"].reason == "unreadable" and "c.wav" in found["c.wav"].message


def test_a_folder_that_leads_to_itself_is_a_reject_of_its_own(tmp_path: Path):
    touch(tmp_path / "Ann/a.mp4")
    (tmp_path / "Ann/b.mp4").symlink_to("b.mp4")
    assert [clip.audio_path for clip in list_videos(tmp_path).clips] == ["Ann/a.mp4", "Ann/b.mp4"]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_accents_are_found_in_either_form(tmp_path: Path, on_disk: str, listed: str):
    path = touch(tmp_path / unicodedata.normalize(on_disk, COMPOSED), b"sound")
    found = inside(tmp_path, unicodedata.normalize(listed, COMPOSED))
    assert found == path and found.read_bytes() == b"sound"


def test_the_form_as_listed_comes_first(tmp_path: Path):
    for form in ("NFC", "NFD"):
        touch(tmp_path / unicodedata.normalize(form, COMPOSED), form.encode())
    for form in ("NFC", "NFD"):
        assert inside(tmp_path, unicodedata.normalize(form, COMPOSED)).read_bytes() == form.encode()
    mixed = touch(tmp_path / unicodedata.normalize("NFD", "Zo\u00eb") / "\u00e9t\u00e9.wav", b"mixed")
    assert inside(tmp_path, unicodedata.normalize("NFD", "Zo\u00eb/\u00e9t\u00e9.wav")) == mixed
    assert inside(tmp_path, "\u00fcber/none.wav") == tmp_path / "\u00fcber/none.wav"
