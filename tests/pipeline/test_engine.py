import dataclasses
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from speech2face.pipeline import code, engine, processes
from speech2face.pipeline.shards import read_columns
from tests.pipeline import slow_stage
from tests.pipeline.slow_stage import Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of finished shards of this test's own, and the work done in this process."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("S2F_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(out: Path) -> list[int]:
    return sorted(read_columns(out, ["value"])["value"].to_pylist())


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


EXPECTED = sorted(row["value"] ** 2 for shard in slow_stage.SHARDS for row in shard)


def test_every_row_is_mapped_once_whatever_the_number_of_workers(work: Path, monkeypatch: pytest.MonkeyPatch):
    one = slow_stage.run(work / "one")
    assert values(work / "one") == EXPECTED
    assert (one.rows_in, one.rows_out, one.computed, one.shards) == (24, 24, 6, 6)
    monkeypatch.setenv("S2F_WORKERS", "2")
    monkeypatch.setenv("DVC_ROOT", str(work / "elsewhere"))
    slow_stage.run(work / "two")
    assert contents(work / "one") == contents(work / "two")


class Rows(list[dict[str, int]]):
    """A shard's rows, of which it can be seen whether anybody still holds them."""


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_shards_are_held_than_wait_for_the_workers(work: Path, monkeypatch: pytest.MonkeyPatch, workers: int):
    monkeypatch.setenv("S2F_WORKERS", str(workers))
    held: list[int] = []
    given: list[weakref.ref[Rows]] = []

    def shards() -> Iterator[Rows]:
        for number in range(40):
            rows = Rows([{"value": number}])
            given.append(weakref.ref(rows))
            held.append(sum(reference() is not None for reference in given))
            yield rows
            del rows

    summary = engine.map_shards(dataclasses.replace(slow_stage.plan(), shards=shards), work / "out", 0.5)
    assert (summary.rows_in, summary.computed, summary.shards) == (40, 40, 40)
    assert values(work / "out") == sorted(number**2 for number in range(40))
    assert len(held) == 80  # once to see what is finished, once to compute it
    assert max(held[:40]) <= 2 and max(held) <= processes.AHEAD * workers + 4  # and what the pool has just handed over


def test_the_same_rows_twice_are_one_shard(work: Path):
    summary = slow_stage.run(work / "out", [[{"value": 3}], [{"value": 4}], [{"value": 3}]])
    assert (summary.shards, summary.computed, values(work / "out")) == (3, 2, [9, 16])


def test_each_worker_has_a_number_of_its_own_and_imports_no_pytorch(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_WORKERS", "2")
    (work / "marks").mkdir()
    slow_stage.run(work / "out", context={"pause_s": 0.15, "marks": str(work / "marks")})
    workers = {path.name.split("-")[1]: path.read_text() for path in (work / "marks").iterdir()}
    assert sorted(workers.values()) == ["0", "1"]


def test_finished_shards_are_linked_and_not_computed_again(work: Path):
    slow_stage.run(work / "out")
    again = slow_stage.run(work / "again")
    assert again.computed == 0
    shard = next((work / "again").glob("shard-*"))
    assert shard.samefile(work / "out" / shard.name)


def test_an_output_without_shards_is_no_empty_folder(work: Path):
    slow_stage.run(work / "out", [])
    assert [path.name for path in (work / "out").iterdir()] == [".empty"]
    slow_stage.run(work / "out")
    assert not (work / "out" / ".empty").exists()
    slow_stage.run(work / "out", [])
    assert [path.name for path in (work / "out").iterdir()] == [".empty"]


def test_only_what_changed_is_computed_again(work: Path):
    slow_stage.run(work / "out")
    grown = [*slow_stage.SHARDS[:-1], [*slow_stage.SHARDS[-1], {"value": 99}]]
    assert slow_stage.run(work / "out", grown).computed == 1
    assert values(work / "out") == sorted([*EXPECTED, 99**2])
    assert slow_stage.run(work / "out", settings=Settings(power=3)).computed == 6
    assert slow_stage.run(work / "out", context={"pause_s": 0.0}).computed == 0
    assert slow_stage.run(work / "out", weights={"net.dat": "00ff"}).computed == 6


def test_rejects_are_kept_with_their_reason(work: Path):
    summary = slow_stage.run(work / "out", [[{"value": -1}, {"value": 2}], [{"value": 3}]])
    assert pq.read_table("data/rejects/slow.parquet").to_pylist() == [
        {"item": "-1", "stage": "slow", "reason": "unreadable", "message": "negative"}
    ]
    assert summary.counts() == {"rows_in": 3, "rows_out": 2, "rejects": {"total": 1, "unreadable": 1}}
    assert slow_stage.run(work / "again", [[{"value": -1}, {"value": 2}], [{"value": 3}]]).counts() == summary.counts()


def test_too_many_rejects_are_an_error_that_prints_the_commonest_reasons(work: Path):
    with pytest.raises(
        ValueError, match=r"rejected 2 of 3 items[\s\S]*max_reject_fraction = 0.5[\s\S]*2 x unreadable, for example -1"
    ):
        slow_stage.run(work / "out", [[{"value": -1}, {"value": -2}, {"value": 3}]])


def test_a_worker_that_dies_is_one_clear_error(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_WORKERS", "2")
    with pytest.raises(RuntimeError, match=r"worker process of slow died.*S2F_WORKERS"):
        slow_stage.run(work / "out", settings=Settings(fatal=30))


def start(out: Path, marks: Path) -> subprocess.Popen[str]:
    marks.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "S2F_WORKERS": "2"}
    command = [sys.executable, "-m", "tests.pipeline.slow_stage", str(out), str(marks)]
    return subprocess.Popen(
        command, env=environment, cwd=out.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_stage_redoes_at_most_the_shards_in_flight(work: Path, with_signal: signal.Signals):
    store = work / ".work" / "shards" / "slow"
    first = start(work / "out", work / "marks")
    wait_for(lambda: len(list(store.glob("*.parquet"))) >= 2)
    workers = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True).stdout.split()
    first.send_signal(with_signal)
    first.communicate()
    assert first.returncode != 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))  # no worker outlives its stage
    finished = len(list(store.glob("*.parquet")))
    assert 2 <= finished < 6

    second = start(work / "out", work / "marks-2")
    text, errors = second.communicate()
    assert second.returncode == 0, errors
    assert f"{6 - finished} of 6 shards computed" in text
    assert len(list((work / "marks-2").iterdir())) == 6 - finished
    assert len(list((work / "marks").iterdir())) <= finished + 2  # two workers: two shards in flight

    slow_stage.run(work / "unbroken", context={})
    assert contents(work / "out") == contents(work / "unbroken")


def test_shards_of_other_versions_of_the_libraries_are_not_mixed(work: Path, monkeypatch: pytest.MonkeyPatch):
    slow_stage.run(work / "out")
    monkeypatch.setattr(code, "version", lambda name: "0.0")
    assert slow_stage.run(work / "out").computed == 6


def test_what_a_killed_worker_left_is_removed_after_a_day(work: Path):
    store = work / ".work" / "shards" / "slow"
    store.mkdir(parents=True)
    old, new = store / ".a.parquet.1.partial", store / ".b.parquet.2.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    parts = store / ".c.partial"  # of a run on a cluster
    parts.mkdir()
    (parts / "d.parquet").touch()
    for path in (old, parts):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    slow_stage.run(work / "out")
    assert list(store.glob(".*.partial")) == [new]


@pytest.mark.parametrize("damage", ["empty", "cut off", "flipped bits in the footer", "another shard"])
def test_a_shard_that_is_damaged_since_is_computed_again(work: Path, damage: str):
    slow_stage.run(work / "out")
    before = contents(work / "out")
    first, second, *_ = sorted((work / ".work" / "shards" / "slow").glob("*.parquet"))
    whole = first.read_bytes()
    damaged = {
        "empty": b"",
        "cut off": whole[:-1],
        "flipped bits in the footer": whole[:-60] + bytes(byte ^ 0xFF for byte in whole[-60:-8]) + whole[-8:],
        "another shard": second.read_bytes(),
    }[damage]
    for path in (first, work / "out" / f"shard-{first.stem[:24]}.parquet"):
        path.unlink()
        path.write_bytes(damaged)
    assert slow_stage.run(work / "out").computed == 1
    assert contents(work / "out") == before


@pytest.mark.parametrize("reason", ["vanished", "missing_file", "timeout"])
def test_a_reject_that_may_pass_is_tried_again(work: Path, reason: str):
    shards = [[{"value": 1}], [{"value": 2}]]
    first = slow_stage.run(work / "out", shards, context={"passing": 1, "reason": reason})
    assert [reject.reason for reject in first.rejects] == [reason]
    again = slow_stage.run(work / "out", shards)
    assert (again.computed, again.rejects) == (1, [])
    assert values(work / "out") == [1, 4]
