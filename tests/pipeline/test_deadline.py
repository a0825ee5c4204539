"""A limit to the time that one file may take."""

from pathlib import Path

import pytest

from speech2face.pipeline import deadline
from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError


def test_only_time_that_is_not_paused_counts(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(deadline, "monotonic", lambda: now)
    limit = Deadline(Path("a.mp4"), 10.0, "raise x")
    now += 6
    limit.check()
    limit.pause()
    now += 1000
    limit.resume()
    limit.check()
    now += 3.9
    limit.check()
    now += 0.2
    with pytest.raises(UnusableError, match=r"^a\.mp4: decoding took longer than 10 s; raise x$") as caught:
        limit.check()
    assert caught.value.reason == "timeout"
