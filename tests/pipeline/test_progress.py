"""Progress says how far long work is, and does not touch what passes."""

import io
import sys
from collections.abc import Iterator

import pytest

from speech2face.pipeline import progress as module
from speech2face.pipeline.progress import progress


class Clock:
    """Ten seconds between two looks at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 10.0
        return self.now


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module, "time", Clock())
    assert list(progress("abcdefg", 7, "segment_audio", "shards")) == list("abcdefg")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "segment_audio: 3 of 7 shards, 30 s",
        "segment_audio: 6 of 7 shards, 60 s",
    ]
    assert captured.out == ""  # which belongs to the closing line


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]):
    assert list(progress(range(100), 100, "quick")) == list(range(100))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress(range(3), 3, "crop_faces", "shards")) == [0, 1, 2]
    assert "crop_faces: 100%" in terminal.getvalue() and "3/3" in terminal.getvalue()


@pytest.mark.parametrize("on_terminal", [False, True])
def test_items_are_taken_one_by_one_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch, on_terminal: bool):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    taken = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    for number in progress(items(), 3, "slow"):
        assert taken == list(range(number + 1))


@pytest.mark.parametrize("on_terminal", [False, True])
def test_errors_pass_through(monkeypatch: pytest.MonkeyPatch, on_terminal: bool):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    with pytest.raises(ZeroDivisionError):
        list(progress((1 // number for number in (1, 0)), 2, "slow"))
