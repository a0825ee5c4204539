"""Time runs out while the decoder works, not while the user of what it gives does."""

import time
from pathlib import Path

import pytest

from speech2face.pipeline.deadline import Deadline
from speech2face.pipeline.rejects import UnusableError


def test_only_time_that_is_not_paused_counts() -> None:
    deadline = Deadline(Path("a.mp3"), 0.05, "audio.decode_limit_s")
    deadline.pause()
    time.sleep(0.1)
    deadline.resume()
    deadline.check()
    time.sleep(0.1)
    with pytest.raises(
        UnusableError, match=r"a\.mp3: .+ longer than 0\.05 s; .+ raise audio\.decode_limit_s"
    ) as caught:
        deadline.check()
    assert caught.value.reason == "timeout"
