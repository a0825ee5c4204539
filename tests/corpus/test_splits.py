"""Splits: whole speakers, by each rule."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speech2face.corpus.listing import Identity
from speech2face.corpus.readers.voxceleb import identities1
from speech2face.corpus.splits import (
    assign_splits,
    check_disjoint,
    hash_split,
    read_splits,
    speaker_counts,
    write_splits,
)


def test_hash_split_is_stable_and_has_the_parts_asked_for():
    splits = [hash_split(f"id{10000 + i}", 0.1, 0.25) for i in range(20_000)]
    counts = Counter(splits)
    # Binomial: three standard deviations.
    for split, part in (("val", 0.1), ("test", 0.25)):
        assert abs(counts[split] / 20_000 - part) < 3 * np.sqrt(part * (1 - part) / 20_000)
    assert splits[:4] == [hash_split(f"id{10000 + i}", 0.1, 0.25) for i in range(4)]


def test_hash_split_does_not_depend_on_the_other_speakers():
    some = {f"s{i}": Identity() for i in range(50)}
    more = some | {f"t{i}": Identity() for i in range(50)}
    few, many = (assign_splits(identities, "hash", 0.2, 0.2) for identities in (some, more))
    assert {s: many[s] for s in some} == few


def test_names():
    names = {
        "1": "Alan",
        "2": "\u00c9milie_D",
        "3": "b._b",
        "4": "Francis",
        "5": "\u0141ukasz",
        "6": "Zo\u00eb",
        "7": "Cy",
    }
    splits = assign_splits({s: Identity(n) for s, n in names.items()}, "vox1_names", 0.5, 0.4)
    assert splits == {"1": "val", "2": "test", "3": "val", "4": "train", "5": "train", "6": "train", "7": "test"}


def test_every_tenth_goes_by_the_dataset_s_list_and_not_by_who_is_there():
    rows = {f"id{i:05d}": {"VGGFace1 ID": f"N{i}"} for i in range(40)}
    whole = assign_splits(identities1(rows), "every_tenth", 0, 0)
    assert [s for s, split in whole.items() if split == "test"] == ["id00008", "id00018", "id00028", "id00038"]
    assert [s for s, split in whole.items() if split == "val"] == ["id00009", "id00019", "id00029", "id00039"]
    part = dict(list(identities1(rows).items())[5:25])
    assert assign_splits(part, "every_tenth", 0, 0) == {s: whole[s] for s in part}


def test_every_tenth_without_a_list_goes_by_the_ids():
    splits = assign_splits({f"s{i:02d}": Identity() for i in reversed(range(20))}, "every_tenth", 0, 0)
    assert {s for s, split in splits.items() if split == "test"} == {"s08", "s18"}


def test_official_keeps_test_and_takes_validation_from_dev():
    identities = {f"s{i}": Identity(official="test" if i % 3 == 0 else "dev") for i in range(3000)}
    splits = assign_splits(identities, "official", 0.1, 0.25)
    assert {s for s, split in splits.items() if split == "test"} == {
        s for s, i in identities.items() if i.official == "test"
    }
    assert 150 < Counter(splits.values())["val"] < 250


def test_own_column():
    assert assign_splits({"a": Identity(split="val"), "b": Identity(split="train")}, "column", 0, 0) == {
        "a": "val",
        "b": "train",
    }
    with pytest.raises(ValueError, match="must be one of train, val, test"):
        assign_splits({"a": Identity(split="dev")}, "column", 0, 0)


@pytest.mark.parametrize(
    ("by", "what"), [("official", r"a set \(dev or test\)"), ("vox1_names", "a name"), ("column", "a split")]
)
def test_a_rule_says_what_it_lacks(by: str, what: str):
    known = Identity("Ann", 0, "dev", "train")
    with pytest.raises(ValueError, match=rf"{by} needs {what} for every speaker, and 1 of 2 have none, for example b"):
        assign_splits({"a": known, "b": Identity()}, by, 0.1, 0.1)


def test_unknown_rule():
    with pytest.raises(ValueError, match="must be hash, official"):
        assign_splits({}, "random", 0.1, 0.1)


def test_check_disjoint():
    check_disjoint([("a", "train"), ("b", "test"), ("a", "train")])
    with pytest.raises(ValueError, match="a is in two splits, train and test"):
        check_disjoint([("a", "train"), ("a", "test")])


def test_the_table_of_speakers(tmp_path: Path):
    splits = {"b": "test", "a": "train", "\u00e9": "val", "c": "train"}
    write_splits(tmp_path / "speakers.parquet", splits)
    assert read_splits(tmp_path / "speakers.parquet") == splits
    assert pq.read_table(tmp_path / "speakers.parquet").to_pydict() == {
        "speaker_id": ["a", "b", "c", "\u00e9"],
        "split": ["train", "test", "train", "val"],
    }
    assert speaker_counts(splits) == {"train": 2, "val": 1, "test": 1}
    with pytest.raises(ValueError, match="must be one of train, val, test"):
        write_splits(tmp_path / "other.parquet", {"a": "dev"})
    assert not (tmp_path / "other.parquet").exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"speaker_id": ["a", "b"], "split": ["train", "dev"]}, r"b must be one of train, val, test \(got 'dev'\)"),
        ({"speaker_id": ["a", "b"], "split": ["train", None]}, r"b must be one of train, val, test \(got None\)"),
        ({"speaker_id": ["a", "a"], "split": ["train", "test"]}, "a is in two splits, train and test"),
        ({"speaker_id": ["a", "a"], "split": ["train", "train"]}, "lists 1 speakers twice"),
        (
            {"speaker": ["a"], "split": ["train"]},
            r"must have the columns speaker_id and split \(got \['speaker', 'split'\]",
        ),
    ],
)
def test_tables_of_speakers_that_cannot_be(tmp_path: Path, columns: dict[str, list], message: str):
    pq.write_table(pa.table(columns), tmp_path / "speakers.parquet")
    with pytest.raises(ValueError, match=message):
        read_splits(tmp_path / "speakers.parquet")


def test_a_table_of_speakers_that_is_not_there(tmp_path: Path):
    with pytest.raises(ValueError, match=r"none\.parquet does not exist; .*dvc repro make_corpus"):
        read_splits(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(ValueError, match=r"is not a Parquet file .*dvc repro make_corpus"):
        read_splits(tmp_path / "text.parquet")


@pytest.mark.skipif("S2F_VOXCELEB1" not in os.environ, reason="S2F_VOXCELEB1 does not name a copy of VoxCeleb1")
def test_the_published_list_splits_as_published():
    with (Path(os.environ["S2F_VOXCELEB1"]) / "vox1_meta.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row["VoxCeleb1 ID"]: row for row in csv.DictReader(lines, delimiter="\t")}
    identities = identities1(rows)
    assert len(identities) == 1251
    assert Counter(assign_splits(identities, "official", 0, 0).values()) == {"train": 1211, "test": 40}
    assert Counter(assign_splits(identities, "vox1_names", 0, 0).values()) == {"train": 942, "val": 116, "test": 193}
    assert Counter(assign_splits(identities, "every_tenth", 0, 0).values()) == {"train": 1001, "val": 125, "test": 125}
