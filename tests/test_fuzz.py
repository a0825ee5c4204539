"""A small count of benchmarks/fuzz.py: every input is rows or rejects with a reason, and what is not is noticed."""

from pathlib import Path

import pytest
import torch

from tests.fuzzing import items

pytestmark = pytest.mark.slow

SEEDS = range(1000, 1030)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(autouse=True)
def one_thread():
    """Pictures this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", items.KINDS)
def test_every_mutated_input_is_a_row_or_a_reject_with_a_reason(kind: str, folder: Path):
    outcomes = {seed: items.examine(kind, items.write_input(kind, seed, folder), seed) for seed in SEEDS}
    assert {seed: o.faults for seed, o in outcomes.items() if o.faults} == {}
    assert all(o.rows or o.reasons for o in outcomes.values())
    # The inputs are worth something: some are still read, and some are not.
    assert any(o.rows for o in outcomes.values()) and any(o.reasons for o in outcomes.values())


@pytest.mark.parametrize("kind", ["recordings", "pictures", "videos", "lists"])
def test_the_originals_are_read(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(items.mutations, "mutated", lambda content, seed: content)
    monkeypatch.setattr(items, "odd_list", lambda content, seed: content)
    monkeypatch.setattr(items, "_part", lambda seed: {"start_s": None, "end_s": None})
    for seed in range(len(items.originals(kind, folder / "originals"))):
        path = items.write_input(kind, seed, folder)
        outcome = items.examine(kind, path, seed)
        assert outcome.rows and not outcome.reasons and not outcome.faults, (path.name, outcome)


def test_recordings_are_also_read_in_part_and_segment_by_segment(folder: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(
        items, "spectrogram_shard", lambda rows, settings, context: seen.append((rows[0], settings)) or []
    )
    for seed in SEEDS:
        items.sound(folder / "a.wav", seed)
    for name in ("start_s", "end_s"):
        assert 0 < sum(row[name] is None for row, _ in seen) < len(seen)
    assert {settings.segments for _, settings in seen} == {"first", "all"}


def fails(path: Path, seed: int) -> items.Outcome:
    raise AttributeError("no decoder")


def test_what_would_end_a_stage_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(items.KINDS, "lists", fails)
    outcome = items.examine("lists", items.write_input("lists", 0, folder), 0)
    assert len(outcome.faults) == 1 and outcome.faults[0].startswith("AttributeError: no decoder (test_fuzz.py:")


@pytest.mark.parametrize("kind", ["recordings", "pictures", "videos"])
def test_an_item_that_is_lost_or_that_nobody_foresaw_is_noticed(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    path = items.write_input(kind, 0, folder)
    for shard in ("spectrogram_shard", "face_shard"):
        monkeypatch.setattr(items, shard, lambda *_: [])
    assert "neither a row nor a reject" in items.examine(kind, path, 0).faults
    for shard in ("spectrogram_shard", "face_shard"):
        monkeypatch.setattr(items, shard, lambda *_: [items.Reject("s/v/1", "failed", "a.wav: TypeError: odd")])
    assert "a.wav: TypeError: odd" in items.examine(kind, path, 0).faults
