from pathlib import Path

import pyarrow.parquet as pq
import pytest

from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.summary import Summary, check_rejects, write_rejects

REJECTS = [
    Reject("a", "silent", "a.wav: silent"),
    Reject("b", "no_face", "b.jpg"),
    Reject("c", "silent", "c.wav: silent"),
]


def test_counts_are_by_reason_and_the_line_says_what_was_done():
    summary = Summary("toy", rows_in=5, rows_out=2, shards=3, computed=1, rejects=REJECTS)
    assert summary.counts() == {"rows_in": 5, "rows_out": 2, "rejects": {"total": 3, "no_face": 1, "silent": 2}}
    assert summary.line().startswith("toy: 5 rows in, 2 rows out, 3 rejects, 1 of 3 shards computed, ")


def test_too_many_rejects_are_an_error_with_the_commonest_reason_first():
    summary = Summary("toy", rows_in=6, rows_out=3, rejects=REJECTS)
    check_rejects(summary, 0.5)
    with pytest.raises(
        ValueError, match=r"rejected 3 of 6 items[\s\S]*2 x silent, for example a: a.wav: silent\n  1 x no_face"
    ):
        check_rejects(summary, 0.49)


def test_an_item_of_several_rows_counts_by_its_rows():
    check_rejects(Summary("toy", rows_in=1, rows_out=7, rejects=REJECTS), 0.3)


def test_rejects_are_a_table_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_rejects(Summary("toy", rejects=REJECTS[:1]))
    row = {"item": "a", "stage": "toy", "reason": "silent", "message": "a.wav: silent"}
    assert pq.read_table("data/rejects/toy.parquet").to_pylist() == [row]
