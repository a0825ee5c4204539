"""What a stage says at its end, and how many rejects it bears."""

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from speech2face.pipeline.rejects import REJECTS, Reject
from speech2face.pipeline.summary import Summary, check_rejects, write_rejects

SILENT = [Reject(f"s/v/{number}", "silent", f"{number}.wav: silent") for number in range(3)]
SHORT = Reject("s/v/9", "too_short", "9.wav: 0.2 s")


def test_the_closing_line():
    summary = Summary("segment_audio", 10, 7, 4, 2, [*SILENT], started=time.monotonic() - 2)
    line = summary.line()
    assert line.startswith("segment_audio: 10 rows in, 7 rows out, 3 rejects, 2 of 4 shards computed, 2.")
    assert line.endswith(" s")


def test_counts_depend_on_the_result_only():
    """And not on how much of it was there already, nor on how long it took."""
    first = Summary("segment_audio", 10, 6, 4, 4, [SHORT, *SILENT])
    again = Summary("segment_audio", 10, 6, 4, 0, [*SILENT, SHORT], started=0.0)
    expected = {"rows_in": 10, "rows_out": 6, "rejects": {"total": 4, "silent": 3, "too_short": 1}}
    assert first.counts() == again.counts() == expected
    assert list(first.counts()["rejects"]) == list(again.counts()["rejects"])
    assert Summary("segment_audio").counts() == {"rows_in": 0, "rows_out": 0, "rejects": {"total": 0}}


def test_rejects_are_a_table_with_the_stages_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_rejects(Summary("segment_audio", rejects=[SHORT]))
    path = Path("data/rejects/segment_audio.parquet")
    row = {"item": "s/v/9", "stage": "segment_audio", "reason": "too_short", "message": "9.wav: 0.2 s"}
    assert pq.read_table(path).to_pylist() == [row]
    write_rejects(Summary("segment_audio"))  # a stage that rejects nothing says so
    table = pq.read_table(path)
    assert (table.num_rows, table.schema) == (0, REJECTS)


def test_as_many_rejects_as_allowed_are_no_error():
    check_rejects(Summary("s", 10, 7, rejects=[*SILENT]), 0.3)
    check_rejects(Summary("s", 0, 0), 0.0)
    with pytest.raises(
        ValueError, match=r"s rejected 3 of 10 items, more than max_reject_fraction = 0.29; fix the rec"
    ):
        check_rejects(Summary("s", 10, 7, rejects=[*SILENT]), 0.29)


def test_an_item_that_gives_several_rows_counts_as_often_as_it_was_looked_at():
    """One recording of ten segments, three of them silent: 30 %, not 300 %."""
    check_rejects(Summary("s", 1, 7, rejects=[*SILENT]), 0.3)
    with pytest.raises(ValueError, match="rejected 3 of 10 items"):
        check_rejects(Summary("s", 1, 7, rejects=[*SILENT]), 0.2)


def test_the_commonest_reasons_come_first_with_an_example():
    with pytest.raises(ValueError) as refused:
        check_rejects(Summary("s", 4, 0, rejects=[SHORT, *SILENT]), 0.5)
    assert str(refused.value).splitlines()[1:] == [
        "  3 x silent, for example s/v/0: 0.wav: silent",
        "  1 x too_short, for example s/v/9: 9.wav: 0.2 s",
    ]
