"""VoxCeleb's layouts and quirks, on generated trees; what each tree holds is the truth that the listing is compared with."""

import shutil
from pathlib import Path

import pytest

from speech2face.corpus.readers.voxceleb import list_both, list_voxceleb1, list_voxceleb2, read_meta
from speech2face.corpus.splits import assign_splits
from tests.corpus.trees import VOX1_HEADER, touch, voxceleb1, write_meta, write_picture, write_wav

VOX2_HEADER = ("VoxCeleb2 ID ", "VGGFace2 ID ", "Gender ", "Set ")


def test_a_whole_tree(tmp_path: Path):
    listing = list_voxceleb1(voxceleb1(tmp_path))
    assert len(listing.clips) == 3 * 2 * 2 and not listing.missing and not listing.rejects
    clip = next(iter(listing.clips))
    assert (clip.clip_id, clip.speaker_id) == ("id10001/video0/00001", "id10001")
    assert clip.audio_path == "wav/id10001/video0/00001.wav"
    faces = "unzippedFaces/Speaker_000/1.6/video0"
    assert clip.image_paths == (f"{faces}/0000000.jpg", f"{faces}/0000001.jpg")
    assert clip.attributes == {"sex": "m", "nationality": "Norway"}
    assert listing.identities["id10002"].name == "Speaker_001" and listing.identities["id10002"].number == 1


def test_dev_and_test_folders_and_other_systems_files(tmp_path: Path):
    voxceleb1(tmp_path, 2)
    (tmp_path / "dev").mkdir()
    (tmp_path / "test" / "wav").mkdir(parents=True)
    (tmp_path / "wav" / "id10002").rename(tmp_path / "test" / "wav" / "id10002")
    (tmp_path / "wav").rename(tmp_path / "dev" / "wav")
    touch(tmp_path / "dev/wav/id10001/video0/._00001.wav")
    touch(tmp_path / "dev/wav/.DS_Store")
    listing = list_voxceleb1(tmp_path)
    assert len(listing.clips) == 8
    assert {c.audio_path.split("/")[0] for c in listing.clips if c.audio_path} == {"dev", "test"}


def test_a_partly_copied_corpus_names_what_is_missing(tmp_path: Path):
    voxceleb1(tmp_path, 4)
    shutil.rmtree(tmp_path / "wav/id10001")
    shutil.rmtree(tmp_path / "unzippedFaces/Speaker_001")
    shutil.rmtree(tmp_path / "unzippedFaces/Speaker_002/1.6/video1")
    listing = list_voxceleb1(tmp_path)
    assert {c.clip_id for c in listing.clips} == {
        *(f"id10003/video0/0000{n}" for n in (1, 2)),
        *(f"id10004/video{v}/0000{n}" for v in (0, 1) for n in (1, 2)),
    }
    missing = {(r.item, r.reason): r.message for r in listing.missing}
    assert set(missing) == {
        ("id10001", "missing_file"),
        *((f"id10002/video{v}/0000{n}", "no_image") for v in (0, 1) for n in (1, 2)),
        *((f"id10003/video1/0000{n}", "no_image") for n in (1, 2)),
    }
    assert "Speaker_000" in missing["id10001", "missing_file"]
    assert "unzippedFaces/Speaker_002/1.6/video1" in missing["id10003/video1/00001", "no_image"]
    assert not listing.rejects


@pytest.mark.parametrize("folder", ["Harry_Connick_Jr.", "Harry_Connick_Jr"])
def test_a_name_that_ends_in_a_dot(tmp_path: Path, folder: str):
    write_wav(tmp_path / "wav/id10362/v/00001.wav")
    write_picture(tmp_path / f"unzippedFaces/{folder}/1.6/v/1.jpg")
    write_meta(tmp_path / "vox1_meta.csv", VOX1_HEADER, [("id10362", "Harry_Connick_Jr.", "m", "USA", "dev")])
    assert [c.image_paths for c in list_voxceleb1(tmp_path).clips] == [(f"unzippedFaces/{folder}/1.6/v/1.jpg",)]


def test_a_name_in_the_other_unicode_form(tmp_path: Path):
    composed, decomposed = "Zo\u00eb_B", "Zoe\u0308_B"  # macOS unpacks names decomposed
    write_wav(tmp_path / "wav/id10001/v/00001.wav")
    write_picture(tmp_path / f"unzippedFaces/{decomposed}/1.6/v/1.jpg")
    write_meta(tmp_path / "vox1_meta.csv", VOX1_HEADER, [("id10001", composed, "f", "", "dev")])
    assert len(list_voxceleb1(tmp_path).clips) == 1


@pytest.mark.parametrize("delimiter", ["\t", ",", " ,", ", "])
def test_delimiters_and_blanks_in_metafiles(tmp_path: Path, delimiter: str):
    rows = [("id10001", "A.J._Buckley", "m", "Ireland", "dev"), ("id10002", "A.R._Rahman", "m", "India", "test")]
    meta = read_meta(write_meta(tmp_path / "m.csv", VOX1_HEADER, rows, delimiter))
    assert [tuple(row.values()) for row in meta.values()] == rows
    assert tuple(meta["id10001"]) == VOX1_HEADER


def test_a_metafile_with_a_byte_order_mark_and_windows_lines(tmp_path: Path):
    path = touch(tmp_path / "m.csv", "\ufeffVoxCeleb1 ID,VGGFace1 ID\r\nid10001,A\r\n".encode())
    assert read_meta(path) == {"id10001": {"VoxCeleb1 ID": "id10001", "VGGFace1 ID": "A"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"a,b\n1,2\n", "must have the columns"),
        (b"\xff\xfe\x00VoxCeleb1 ID", "not text in UTF-8"),
    ],
)
def test_what_is_no_metafile(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        read_meta(touch(tmp_path / "m.csv", content))


def test_no_metafile_and_no_recordings(tmp_path: Path):
    voxceleb1(tmp_path)
    (tmp_path / "vox1_meta.csv").unlink()
    with pytest.raises(ValueError, match=r"vox1_meta\.csv is missing"):
        list_voxceleb1(tmp_path)
    with pytest.raises(ValueError, match="has no folder wav with speakers"):
        list_voxceleb1(tmp_path / "unzippedFaces")


def test_a_speaker_who_is_not_in_the_metafile_is_named(tmp_path: Path):
    voxceleb1(tmp_path, 1)
    write_wav(tmp_path / "wav/id19999/v/00001.wav")
    missing = list_voxceleb1(tmp_path).missing
    assert [(r.item, r.reason) for r in missing] == [("id19999/v/00001", "no_image")]
    assert "not in vox1_meta.csv" in missing[0].message


def test_pictures_are_spread_evenly_over_a_video(tmp_path: Path):
    voxceleb1(tmp_path, 1, 1, 1, num_pictures=9)
    pictures = next(iter(list_voxceleb1(tmp_path, pictures_per_video=3).clips)).image_paths
    assert [path[-5] for path in pictures] == ["1", "4", "7"]
    assert len(next(iter(list_voxceleb1(tmp_path).clips)).image_paths) == 9


def vox2_tree(root: Path, sound: bool = True, parts: tuple[str, str] = ("dev", "test")) -> Path:
    for part, speaker in zip(parts, ("id00012", "id03347"), strict=True):
        for utterance in ("00001", "00002"):
            if sound:
                touch(root / part / f"aac/{speaker}/v1/{utterance}.m4a")
            touch(root / part / f"mp4/{speaker}/v1/{utterance}.mp4")
    rows = [("id00012 ", "n000012 ", "m ", "dev "), ("id03347 ", "n003347 ", "m ", "test ")]
    write_meta(root / "vox2_meta.csv", VOX2_HEADER, rows, ",")
    return root


@pytest.mark.parametrize("parts", [("dev", "test"), ("", "")])
@pytest.mark.parametrize("sound", [True, False])
def test_voxceleb2(tmp_path: Path, sound: bool, parts: tuple[str, str]):
    listing = list_voxceleb2(vox2_tree(tmp_path, sound, parts))
    assert [c.clip_id for c in listing.clips] == [
        f"{s}/v1/{u}" for s in ("id00012", "id03347") for u in ("00001", "00002")
    ]
    clip, place = next(iter(listing.clips)), f"{parts[0]}/" if parts[0] else ""
    assert clip.video_path == f"{place}mp4/id00012/v1/00001.mp4"
    assert clip.audio_path == (f"{place}aac/id00012/v1/00001.m4a" if sound else clip.video_path)
    assert clip.attributes["sex"] == "m"
    assert {s: i.official for s, i in listing.identities.items()} == {"id00012": "dev", "id03347": "test"}
    assert not listing.missing


def test_voxceleb2_without_its_list_takes_the_parts_from_the_folders(tmp_path: Path):
    (vox2_tree(tmp_path) / "vox2_meta.csv").unlink()
    listing = list_voxceleb2(tmp_path)
    assert assign_splits(listing.identities, "official", 0.0, 0.0) == {"id00012": "train", "id03347": "test"}


def test_voxceleb2_names_missing_videos_and_speakers(tmp_path: Path):
    vox2_tree(tmp_path)
    (tmp_path / "dev/mp4/id00012/v1/00001.mp4").unlink()
    shutil.rmtree(tmp_path / "test")
    listing = list_voxceleb2(tmp_path)
    assert [c.clip_id for c in listing.clips] == ["id00012/v1/00002"]
    assert [(r.item, r.reason) for r in listing.missing] == [
        ("id00012/v1/00001", "no_image"),
        ("id03347", "missing_file"),
    ]
    with pytest.raises(ValueError, match="no folder aac or mp4"):
        list_voxceleb2(tmp_path / "dev/mp4")


@pytest.mark.parametrize("named", [True, False])
def test_a_speaker_of_both_datasets_is_one_speaker_in_one_split(tmp_path: Path, named: bool):
    voxceleb1(tmp_path / "vox1", 2)
    vox1 = [("id10001", "Speaker_000", "m", "", "dev"), ("id10002", "Speaker_001", "f", "", "dev")]
    write_wav(tmp_path / "vox1/wav/id10362/v/00001.wav")
    write_picture(tmp_path / "vox1/unzippedFaces/Harry_Connick_Jr./1.6/v/1.jpg")
    write_meta(
        tmp_path / "vox1/vox1_meta.csv", VOX1_HEADER, [*vox1, ("id10362", "Harry_Connick_Jr.", "m", "USA", "dev")]
    )
    vox2_tree(tmp_path / "vox2")
    if named:
        rows = [
            ("id00012", "n000012", "Zo\u00eb", "f", "dev"),
            ("id03347", "n003347", "Harry_Connick_Jr.", "m", "test"),
        ]
        write_meta(
            tmp_path / "vox2/full_vox2_meta.csv",
            ("VoxCeleb2 ID ", "VGGFace2 ID ", "Name ", "Gender ", "Set "),
            rows,
            ",",
        )
    listing = list_both(tmp_path)
    assert {c.speaker_id for c in listing.clips} == {"id10001", "id10002", "id10362", "id00012"}
    harry = [c for c in listing.clips if c.speaker_id == "id10362"]
    assert [c.clip_id for c in harry] == ["id10362/v/00001", "id10362/v1/vox2-00001", "id10362/v1/vox2-00002"]
    assert harry[1].audio_path == "vox2/test/aac/id03347/v1/00001.m4a"
    assert assign_splits(listing.identities, "official", 0.0, 0.0)["id10362"] == "test"
    assert len({c.clip_id for c in listing.clips}) == len(listing.clips)


def test_attributes_of_clips(tmp_path: Path):
    voxceleb1(tmp_path, 1, 1, 2)
    lines = "clip_id,country,pitch_hz,\nid10001/video0/00001,NA,110.5,x\nid10001/video0/00002,DE,NA,y\n"
    touch(tmp_path / "attributes.csv", lines.encode())
    first, second = (clip.attributes for clip in list_voxceleb1(tmp_path).clips)
    assert first == {"sex": "m", "nationality": "Norway", "country": "NA", "pitch_hz": 110.5}
    assert second == {"sex": "m", "nationality": "Norway", "country": "DE", "pitch_hz": None}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"clip,a\nx,1\n", "attributes.csv lacks the column clip_id; it has clip, a"),
        (b"clip_id,a,a\nx,1,2\n", "attributes.csv line 1 .* columns 2 and 3 are both called a"),
        (b"clip_id,a\nx,1\ny,inf\n", "attributes.csv line 3, column a: must be a finite number"),
        (b"clip_id,a\nx,1\n\nclip_id,a\ny,2\n", "attributes.csv line 4 is the header again"),
        (
            b"clip_id,sex\nx,1\ny,0\n",
            r"attributes.csv, column sex: holds numbers \(1\), and the metafile has words .*\(m\)",
        ),
        (b"clip_id,nationality\nx,\ny,2\n", r"attributes.csv, column nationality: holds numbers \(2\), .*\(Norway\)"),
        (b"clip_id,a\nx,\xe9\n", "attributes.csv is not a table in csv"),
        (b'clip_id,a\nx,"1\n', "attributes.csv is not a table in csv"),
    ],
)
def test_attributes_that_cannot_be(tmp_path: Path, lines: bytes, message: str):
    voxceleb1(tmp_path, 1, 1, 1)
    touch(tmp_path / "attributes.csv", lines)
    with pytest.raises(ValueError, match=message):
        list_voxceleb1(tmp_path)


def test_a_metafile_whose_header_is_repeated_has_no_speaker_of_that_name(tmp_path: Path):
    voxceleb1(tmp_path, 2, 1, 1)
    path = tmp_path / "vox1_meta.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], "", lines[0], *lines[2:]]), "utf-8")
    with pytest.raises(ValueError, match=r"vox1_meta\.csv line 4 is the header again; remove that line"):
        list_voxceleb1(tmp_path)


def test_words_for_some_clips_replace_those_of_the_metafile(tmp_path: Path):
    voxceleb1(tmp_path, 1, 1, 2)
    touch(tmp_path / "attributes.csv", b"clip_id,sex\nid10001/video0/00001,female\n")
    assert [clip.attributes["sex"] for clip in list_voxceleb1(tmp_path).clips] == ["female", "m"]
