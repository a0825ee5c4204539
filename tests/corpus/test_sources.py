"""From settings to a manifest and splits, and what growth and change of a corpus cost: the shards that are no longer the same."""

import os
import shutil
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from speech2face.audio.extraction import ROW_KEYS, spectrogram_shard
from speech2face.corpus.listing import Listing
from speech2face.corpus.manifest import read_manifest
from speech2face.corpus.sources import counts, list_corpus, missing_line
from speech2face.faces.crops import FACE_COLUMNS, face_rows, row_id
from speech2face.pipeline.params import Corpus, load_params
from speech2face.pipeline.provenance import chunk, json_digest
from tests.corpus.trees import touch, voxceleb1, write_meta, write_picture, write_wav

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


def corpus(source: str, root: Path | str, **splits: Any) -> Corpus:
    values = PARAMS.corpus.model_dump() | {"source": source, "root": str(root), "pictures_per_video": None}
    return Corpus.model_validate(values | {"splits": values["splits"] | splits})


def listed(root: Path, source: str = "voxceleb1", **splits: Any) -> tuple[pa.Table, dict[str, str], Listing]:
    manifest = root.parent / "manifest.parquet"
    splits_of, found = list_corpus(corpus(source, root, **splits), root.parent / "memory", {}, manifest)
    return read_manifest(manifest), splits_of, found


def test_a_manifest_of_a_tree(tmp_path: Path):
    table, splits, found = listed(voxceleb1(tmp_path / "v"), by="every_tenth")
    assert table.num_rows == 12 and set(table["source"].to_pylist()) == {"voxceleb1"}
    assert splits == dict.fromkeys(("id10001", "id10002", "id10003"), "train") and not found.rejects
    assert missing_line(found.missing) == ""
    assert counts(splits, found) == {"missing": {"total": 0}, "speakers": {"train": 3, "val": 0, "test": 0}}


def test_a_speaker_of_whom_nothing_can_be_used_is_in_no_split(tmp_path: Path):
    voxceleb1(tmp_path / "v", 2)
    for path in (tmp_path / "v/wav/id10001").rglob("*.wav"):
        path.unlink()
        path.symlink_to("nowhere")
    table, splits, found = listed(tmp_path / "v")
    assert set(table["speaker_id"].to_pylist()) == set(splits) == {"id10002"} and len(found.rejects) == 4


def test_another_split_is_no_change_of_the_manifest(tmp_path: Path):
    root = voxceleb1(tmp_path / "v", 20)
    first, second = listed(root), listed(root, test=0.6)
    assert first[0].equals(second[0], check_metadata=True) and first[1] != second[1]


def test_what_is_missing_is_counted_and_named_and_no_error(tmp_path: Path):
    voxceleb1(tmp_path / "v", 10)
    for name in ("wav/id10001", "wav/id10002", "unzippedFaces/Speaker_007"):
        shutil.rmtree(tmp_path / "v" / name)
    table, splits, found = listed(tmp_path / "v")
    assert table.num_rows == 7 * 4
    assert counts(splits, found)["missing"] == {"total": 6, "missing_file": 2, "no_image": 4}
    line = missing_line(found.missing)
    assert "2 without recordings (id10001, id10002)" in line and "4 without faces (id10008/video0/00001, " in line


def test_nothing_to_use_says_why(tmp_path: Path):
    voxceleb1(tmp_path / "v")
    (tmp_path / "v/unzippedFaces").rename(tmp_path / "v/faces")
    with pytest.raises(
        ValueError, match=r"no clip that can be used; 12 x no_image, for example id10001/video0/00001: no pic"
    ):
        listed(tmp_path / "v")
    with pytest.raises(ValueError, match="does not exist"):
        listed(tmp_path / "nowhere")


def test_names_that_no_table_can_hold_become_rejects(tmp_path: Path):
    voxceleb1(tmp_path / "v", 2)
    folder = os.fsencode(tmp_path / "v/wav/id10001/video0")
    Path(os.fsdecode(folder + b"/00009\xff.wav")).write_bytes(b"x")
    table, _, found = listed(tmp_path / "v")
    assert table.num_rows == 8
    assert [(r.item, r.reason) for r in found.rejects] == [(r"id10001/video0/00009\udcff", "unreadable")]


def test_links_out_of_the_root_are_refused(tmp_path: Path):
    voxceleb1(tmp_path / "v")
    outside = write_wav(tmp_path / "outside.wav")
    (tmp_path / "v/wav/id10001/video0/00009.wav").symlink_to(outside)
    with pytest.raises(ValueError, match=r"00009\.wav' is a link that leads out of the corpus root"):
        listed(tmp_path / "v")


def test_a_list_with_splits_of_its_own_is_split_by_them(tmp_path: Path):
    rows = [("a/v/1", "a", "a.wav", "test"), ("b/v/1", "b", "gone.wav", "val"), ("c/v/1", "c", "a.wav", "train")]
    path = write_meta(tmp_path / "l/my.csv", ("clip_id", "speaker_id", "audio_path", "split"), rows, ",")
    touch(tmp_path / "l/a.wav")
    table, splits, found = listed(path, "manifest", by="hash")
    assert table["speaker_id"].to_pylist() == ["a", "c"] and "split" not in table.column_names
    assert splits == {"a": "test", "c": "train"}
    assert [(r.item, r.reason) for r in found.rejects] == [("b/v/1", "missing_file")]


@pytest.mark.parametrize("path", ["/etc/hostname", "../my.csv"])
def test_a_list_with_paths_outside_its_folder_is_refused(tmp_path: Path, path: str):
    listing = write_meta(tmp_path / "l/my.csv", ("clip_id", "speaker_id", "audio_path"), [("a/v/1", "a", path)], ",")
    with pytest.raises(ValueError, match="must be a path below the corpus root"):
        listed(listing, "manifest")


# What growth costs: the shards whose rows are others than before.

CLIPS_PER_SHARD = 8


def audio_shards(table: pa.Table) -> set[str]:
    return digests(table.select(list(ROW_KEYS)).to_pylist(), itemgetter("clip_id"))


def face_shards(table: pa.Table) -> set[str]:
    return digests(face_rows(table.select(list(FACE_COLUMNS)).to_pylist()), row_id)


def digests(rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> set[str]:
    return {json_digest(run) for run in chunk(rows, CLIPS_PER_SHARD, key)}


def grow(root: Path, number: int) -> None:
    """One more speaker, `Speaker_<number>`, with two clips."""
    name, speaker = f"Speaker_{number:03d}", f"id{10001 + number}"
    for utterance in (1, 2):
        write_wav(root / f"wav/{speaker}/video0/{utterance:05d}.wav", 50 + number + utterance)
    write_picture(root / f"unzippedFaces/{name}/1.6/video0/1.jpg", number)
    with (root / "vox1_meta.csv").open("a") as meta:
        meta.write("\t".join((speaker, name, "m", "", "dev")) + "\n")


@pytest.mark.parametrize("shards", [audio_shards, face_shards])
def test_only_the_shards_that_a_change_touches_are_others(tmp_path: Path, shards: Callable[[pa.Table], set[str]]):
    root = voxceleb1(tmp_path / "v", num_speakers=40, num_videos=2, num_clips=2, num_pictures=1)
    first = shards(listed(root)[0])
    assert len(first) >= 5

    assert shards(listed(root)[0]) == first

    if shards is audio_shards:  # another recording under the same name, of the same length
        write_wav(root / "wav/id10020/video1/00002.wav", 999)
    else:
        write_picture(root / "unzippedFaces/Speaker_019/1.6/video1/0000000.jpg", 254)
    changed = shards(listed(root)[0])
    assert len(changed - first) == 1

    grow(root, 40)
    grown = shards(listed(root)[0])
    assert 1 <= len(grown - changed) <= 2

    shutil.rmtree(root / "wav/id10011")
    assert 1 <= len(shards(listed(root)[0]) - grown) <= 2


def test_a_recording_does_not_touch_the_faces_and_neither_split_nor_place_touches_anything(tmp_path: Path):
    root = voxceleb1(tmp_path / "v", 10)
    first = listed(root)[0]
    write_wav(root / "wav/id10004/video1/00001.wav", 999)
    shutil.copytree(root, tmp_path / "elsewhere")
    second = listed(tmp_path / "elsewhere", test=0.6)[0]
    assert face_shards(first) == face_shards(second) and len(audio_shards(second) - audio_shards(first)) == 1
    assert audio_shards(second) == audio_shards(listed(root)[0])


def test_a_recording_that_vanishes_or_changes_after_listing_is_rejected(tmp_path: Path):
    root = voxceleb1(tmp_path / "v", 2)
    table = listed(root)[0]
    (root / "wav/id10001/video0/00001.wav").unlink()
    write_wav(root / "wav/id10002/video0/00001.wav", duration_s=2)
    rows = table.select(list(ROW_KEYS)).to_pylist()
    found = list(spectrogram_shard(rows, PARAMS.audio, {"root": str(root)}))
    rejects = {r.item: r for r in found if not isinstance(r, dict)}
    assert set(rejects) == {"id10001/video0/00001", "id10002/video0/00001"}
    assert {r.reason for r in rejects.values()} == {"vanished"} and len(found) == 8


def test_a_tree_of_a_real_copy(tmp_path: Path):
    root = os.environ.get("S2F_VOXCELEB1")
    if root is None:
        pytest.skip("S2F_VOXCELEB1 does not name a copy of VoxCeleb1")
    list_corpus(corpus("voxceleb1", root), tmp_path / "memory", {}, tmp_path / "manifest.parquet")
    assert read_manifest(tmp_path / "manifest.parquet").num_rows > 0


@pytest.mark.parametrize("cell", ["soon\nor later", "\x1b[2J", "\u202e"])
@pytest.mark.parametrize("column", ["clip_id", "speaker_id", "start_s", "split", "audio_path", "age\nyears"])
def test_messages_are_one_line_whatever_a_list_holds(tmp_path: Path, column: str, cell: str):
    touch(tmp_path / "a.wav")
    row = {
        "clip_id": "a/v/1",
        "speaker_id": "a",
        "audio_path": "a.wav",
        "start_s": "0",
        "split": "train",
        "age\nyears": "1",
    }
    row |= {column: "inf" if column.startswith("age") else f"../{cell}" if column == "audio_path" else cell}
    lines = [",".join(f'"{text}"' for text in texts) for texts in (row.keys(), row.values())]
    touch(tmp_path / "l.csv", "\n".join(lines).encode())
    with pytest.raises(ValueError, match=r"\w") as caught:
        listed(tmp_path / "l.csv", "manifest")
    assert str(caught.value).isprintable(), str(caught.value)
