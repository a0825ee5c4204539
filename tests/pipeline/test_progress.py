import pytest

from speech2face.pipeline import progress as module
from speech2face.pipeline.progress import progress


def test_items_come_as_they_are_and_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    assert list(progress("abc", 3, "letters", "letter")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"letters: {n} of 3 letter" for n in (1, 2, 3)]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]):
    assert list(progress([1], 1, "quick")) == [1]
    assert capsys.readouterr().err == ""
