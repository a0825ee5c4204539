"""HQ-VoxCeleb's faces by name with VoxCeleb's recordings by id."""

from pathlib import Path

import pytest

from speech2face.corpus.readers.hq_voxceleb import list_hq_voxceleb
from tests.corpus.trees import VOX1_HEADER, touch, write_meta

VOX2_HEADER = ("Name ", "VoxCeleb2 ID ", "VGGFace2 ID ", "Gender ", "Set ")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows1 = [("id10001", "A.J._Buckley", "m", "Ireland", "dev"), ("id10362", "Harry_Connick_Jr.", "m", "USA", "dev")]
    write_meta(tmp_path / "vox1/vox1_meta.csv", VOX1_HEADER, rows1)
    rows2 = [("Zo\u00eb_B", "id00012", "n1", "f", "dev"), ("Harry_Connick_Jr.", "id03347", "n2", "m", "test")]
    write_meta(tmp_path / "vox2/full_vox2_meta.csv", VOX2_HEADER, rows2, ",")
    for place in (
        "vox1/masked_faces/A.J._Buckley",
        "vox1/origin_faces/A.J._Buckley",
        "vox1/masked_faces/Harry_Connick_Jr",
    ):
        touch(tmp_path / place / "0001.jpg")
    for place in ("vox2/masked_faces/Zoe\u0308_B", "vox2/masked_faces/Harry_Connick_Jr."):
        touch(tmp_path / place / "0002.jpg")
    touch(tmp_path / "vox1/wav/id10001/v1/00001.wav")
    touch(tmp_path / "wav/id10362/v2/00001.wav")
    touch(tmp_path / "vox2/dev/aac/id00012/v3/00001.m4a")
    touch(tmp_path / "vox2/test/aac/id03347/v4/00001.m4a")
    return tmp_path


def test_faces_and_voices_are_joined_by_name(root: Path):
    listing = list_hq_voxceleb(root)
    assert {c.clip_id: (c.audio_path, c.image_paths) for c in listing.clips} == {
        "id10001/hq/faces": (None, ("vox1/masked_faces/A.J._Buckley/0001.jpg",)),
        "id10001/v1/00001": ("vox1/wav/id10001/v1/00001.wav", ()),
        "id10362/hq/faces": (None, ("vox1/masked_faces/Harry_Connick_Jr/0001.jpg",)),
        "id10362/v2/00001": ("wav/id10362/v2/00001.wav", ()),
        "id00012/hq/faces": (None, ("vox2/masked_faces/Zoe\u0308_B/0002.jpg",)),
        "id00012/v3/00001": ("vox2/dev/aac/id00012/v3/00001.m4a", ()),
        "id10362/hq/vox2-faces": (None, ("vox2/masked_faces/Harry_Connick_Jr./0002.jpg",)),
        "id10362/v4/vox2-00001": ("vox2/test/aac/id03347/v4/00001.m4a", ()),
    }
    assert not listing.missing


def test_what_is_missing_is_named(root: Path):
    touch(root / "vox1/masked_faces/Nobody/1.jpg")
    (root / "vox1/wav/id10001/v1/00001.wav").unlink()
    (root / "vox2/masked_faces/Zoe\u0308_B/0002.jpg").unlink()
    listing = list_hq_voxceleb(root)
    assert {(r.item, r.reason) for r in listing.missing} == {
        ("vox1/masked_faces/Nobody", "missing_file"),
        ("id10001", "missing_file"),
        ("id00012", "no_image"),
    }
    assert {c.speaker_id for c in listing.clips} == {"id10362"}


def test_vox2_needs_the_list_with_names(root: Path):
    (root / "vox2/full_vox2_meta.csv").unlink()
    with pytest.raises(ValueError, match=r"full_vox2_meta\.csv"):
        list_hq_voxceleb(root)


def test_no_corpus(tmp_path: Path):
    with pytest.raises(ValueError, match="no speaker with both faces"):
        list_hq_voxceleb(tmp_path)
