"""Clips come back whole and sorted, however many were packed, and take little memory."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest

from speech2face.corpus import clips
from speech2face.corpus.clips import Clip, Clips


def some(count: int) -> Iterator[Clip]:
    """Clips whose fields all differ, ids in no order; the clips of a video share their pictures."""
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    for n in numbers:
        pictures = tuple(f"pictures/{n // 8:06d}/{p}.jpg" for p in range(10))
        clip_id = f"s{n // 40:05d}/v{n // 8:06d}/{n:07d}"
        attributes = {"age": n / 7, "sex": "m", "town": None}
        yield Clip(clip_id, clip_id[:6], f"wav/{n}.wav", pictures, None, n / 3, None, (0.5, n / count), attributes)


@pytest.mark.parametrize("count", [0, 1, 7, 60, 61, 65, 200, 239])
def test_clips_come_back_whole_and_sorted_by_id(monkeypatch: pytest.MonkeyPatch, count: int):
    monkeypatch.setattr(clips, "CLIPS_PER_RUN", 60)
    monkeypatch.setattr(clips, "CLIPS_PER_BLOCK", 7)
    added = list(some(count))
    packed = Clips(added)
    assert len(packed) == count
    for _ in range(2):  # as often as one likes
        assert list(packed) == sorted(added, key=lambda clip: clip.clip_id)


def test_an_id_that_occurs_twice_comes_back_twice_side_by_side(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "CLIPS_PER_RUN", 2)
    monkeypatch.setattr(clips, "CLIPS_PER_BLOCK", 1)
    packed = Clips(Clip(clip_id, "s", None) for clip_id in ("s/v/2", "s/v/1", "s/v/2", "s/v/\udcff"))
    assert [clip.clip_id for clip in packed] == ["s/v/1", "s/v/2", "s/v/2", "s/v/\udcff"]


def test_packed_clips_take_a_tenth_of_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "CLIPS_PER_RUN", 200)
    monkeypatch.setattr(clips, "CLIPS_PER_BLOCK", 20)
    tracemalloc.start()
    packed = Clips(some(3000))
    in_clips = tracemalloc.get_traced_memory()[0]
    as_objects = list(some(3000))
    of_objects = tracemalloc.get_traced_memory()[0] - in_clips
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    assert sum(1 for _ in packed) == len(as_objects)
    walked = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert in_clips < of_objects / 10 and walked < of_objects
