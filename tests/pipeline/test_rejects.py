"""The list of what was left out."""

import errno
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import av
import pyarrow as pa
import pytest
import torch

from speech2face.pipeline.rejects import (
    REASONS,
    REJECTS,
    Reject,
    UnusableError,
    errors_of,
    first_line,
    is_of_the_machine,
    read_rejects,
    rejects_report,
)
from speech2face.pipeline.shards import write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    def write(stage: str, reasons: list[str]) -> None:
        rows = [
            {"item": f"{stage}-{i}", "stage": stage, "reason": r, "message": f"m{i}"} for i, r in enumerate(reasons)
        ]
        write_table(tmp_path / "data" / "rejects" / f"{stage}.parquet", pa.Table.from_pylist(rows, REJECTS))

    write("segment_audio", ["silent"] * 30 + ["too_short"])
    write("crop_faces", ["no_face"])
    write("extract_features", [])
    return tmp_path


def test_counts_and_lists(root: Path):
    assert read_rejects(root / "data" / "rejects").num_rows == 32
    lines = [line.split() for line in rejects_report(root, limit=2).splitlines()]
    assert lines[:4] == [
        ["32", "rejects"],
        ["1", "crop_faces", "no_face"],
        ["30", "segment_audio", "silent"],
        ["1", "segment_audio", "too_short"],
    ]
    assert lines[5:] == [
        ["crop_faces", "no_face", "crop_faces-0:", "m0"],
        ["segment_audio", "silent", "segment_audio-0:", "m0"],
        ["...", "and", "30", "more"],
    ]


def test_a_stage_or_a_reason_alone(root: Path):
    assert rejects_report(root, stage="crop_faces").splitlines()[-1] == "crop_faces  no_face  crop_faces-0: m0"
    assert len(rejects_report(root, reason="silent", limit=None).splitlines()) == 2 + 1 + 30
    both = rejects_report(root, stage="segment_audio", reason="too_short").splitlines()
    assert both[0] == "1 rejects" and both[-1] == "segment_audio  too_short  segment_audio-30: m30"
    with pytest.raises(ValueError, match="no reject has the reason 'shy'; there are no_face, silent, too_short"):
        rejects_report(root, reason="shy")
    with pytest.raises(ValueError, match="no reject has the stage 'evaluate'; there are crop_faces, segment_audio"):
        rejects_report(root, stage="evaluate")


def test_before_any_stage(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no rejects; no stage has run yet: dvc repro"):
        rejects_report(tmp_path)


def test_nothing_was_left_out(tmp_path: Path):
    write_table(tmp_path / "data" / "rejects" / "crop_faces.parquet", REJECTS.empty_table())
    assert rejects_report(tmp_path) == "0 rejects"
    with pytest.raises(ValueError, match="no reject has the reason 'silent'; there are no rejects"):
        rejects_report(tmp_path, reason="silent")


def test_reasons_are_a_fixed_list():
    for reason in REASONS:
        assert Reject("x", reason, "").reason == reason
    with pytest.raises(ValueError, match=r"must be one of missing_file, .*failed .got 'odd'."):
        Reject("x", "odd", "")


def test_the_documentation_lists_the_reasons():
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    section = text.partition("## What is left out\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(REASONS)


def test_an_error_keeps_its_reason_on_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UnusableError("silent", "a.wav: silent")))
    assert (type(error), error.reason, str(error)) == (UnusableError, "silent", "a.wav: silent")
    assert isinstance(error, ValueError)


def caught(error: BaseException) -> UnusableError:
    with pytest.raises(UnusableError) as found, errors_of(Path("a/b.mp3")):
        raise error
    return found.value


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError(), "a/b.mp3: RuntimeError: no message"),
        (AttributeError("no width\nof it"), "a/b.mp3: AttributeError: no width"),
        (ValueError("tag \udcff"), "a/b.mp3: ValueError: tag \\udcff"),
        (StopIteration(3), "a/b.mp3: StopIteration: 3"),
        (ValueError("\n\n a\tb\x1b[2J"), "a/b.mp3: ValueError: a\\tb\\x1b[2J"),
        (OSError(errno.EACCES, "Permission denied"), "a/b.mp3: PermissionError: [Errno 13] Permission denied"),
    ],
)
def test_the_net_says_which_file_and_what(error: Exception, message: str):
    found = caught(error)
    assert (found.reason, str(found)) == ("failed", message)
    assert pa.array([str(found)]).to_pylist() == [message]  # a table can hold it


@pytest.mark.parametrize("name", ["caf\udce9.wav", "a\nb.wav", "a\x1b.wav"])
def test_messages_are_one_line_that_a_table_can_hold_whatever_a_file_is_called(name: str):
    text = str(UnusableError("silent", f"{name}: silent"))
    assert text == str(pickle.loads(pickle.dumps(UnusableError("silent", f"{name}: silent"))))
    assert text.isprintable() and text.encode() and text.endswith(".wav: silent")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (ValueError("\n"), "ValueError"),
        (OSError(), "OSError"),
        (OSError(errno.EIO, "Input/output error", "a.wav"), "Input/output error"),
        (RuntimeError("first\nsecond"), "first"),
        (RuntimeError("x" * 10_000), "x" * 500),
    ],
)
def test_the_first_line_of_an_error(error: Exception, line: str):
    assert first_line(error) == line


def test_the_net_lets_foreseen_errors_through_as_they_are():
    silent = UnusableError("silent", "b.mp3: silent")
    assert caught(silent) is silent


@pytest.mark.parametrize(
    "make",
    [
        MemoryError,
        KeyboardInterrupt,
        lambda: SystemExit(143),
        lambda: ModuleNotFoundError("no silero"),
        lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        lambda: OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        lambda: torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_the_net_lets_through_what_no_file_is_to_blame_for(make: Callable[[], BaseException]):
    error = make()
    with pytest.raises(type(error)) as found, errors_of(Path("a.mp3")):
        raise error
    assert found.value is error


@pytest.mark.parametrize(
    ("number", "of_the_machine"),
    [(errno.EMFILE, True), (errno.ENOSPC, True), (errno.ENOMEM, False), (errno.EIO, False)],
)
def test_errors_of_ffmpeg(number: int, of_the_machine: bool):
    """Want of memory is what ffmpeg says of a header that announces too much."""
    with pytest.raises(av.FFmpegError) as caught:
        av.error.err_check(-number)
    assert is_of_the_machine(caught.value) == of_the_machine


def test_the_traceback_is_shown_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("S2F_DEBUG", raising=False)
    caught(ValueError("odd"))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("S2F_DEBUG", "1")
    caught(ValueError("odd"))
    assert "Traceback" in (shown := capsys.readouterr().err) and "raise error" in shown
