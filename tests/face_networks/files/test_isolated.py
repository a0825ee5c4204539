"""A file that brings its parser down is refused in words, and the caller lives on."""

import time
from pathlib import Path

import pytest

from speech2face.face_networks.files import trial
from speech2face.face_networks.files.trial import TrialError, try_reading
from speech2face.face_networks.files.weights import check_command, describe
from tests.face_networks.files import misbehaving, weight_files
from tests.face_networks.files.weight_files import NARROW_H5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "päth with 'blanks'; true"
    path.write_bytes(b"anything")
    return path


def test_a_whole_file_passes(file: Path):
    assert try_reading(misbehaving.whole, file) is None


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (misbehaving.refuse, r"^päth with 'blanks'; true is not what \?\[31mit should be$"),
        (misbehaving.fail, r"^truncated or damaged \(KeyError: .päth"),
        (misbehaving.crash, r"reading it crashed \(signal 11\); download it again and compare its sha256"),
    ],
)
def test_failures_become_one_line(file: Path, read, words: str):
    with pytest.raises(ValueError, match=words):
        try_reading(read, file)


def test_a_reader_that_hangs_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "TIME_LIMIT_S", 1.0)
    started = time.monotonic()
    with pytest.raises(ValueError, match="took longer than 1 s; download it again"):
        try_reading(misbehaving.hang, file)
    assert time.monotonic() - started < 10


def test_memory_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch):
    try_reading(misbehaving.take_memory, file)
    monkeypatch.setattr(trial, "MEMORY_LIMIT_BYTES", 3 * 2**29)
    with pytest.raises(ValueError, match=r"takes more than 1\.5 GiB of memory; download it again"):
        try_reading(misbehaving.take_memory, file)


def test_a_process_that_does_not_answer_says_nothing_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(TrialError, match="exit status 7"):
        try_reading(misbehaving.leave, file)
    monkeypatch.setattr(misbehaving.whole, "__module__", "no_such_module")
    with pytest.raises(TrialError, match="No module named 'no_such_module'"):
        try_reading(misbehaving.whole, file)


def test_the_process_starts_without_torch(file: Path):
    with pytest.raises(ValueError, match=r"keras_h5, speech2face\.features\.matlab, \[\]$"):
        try_reading(misbehaving.name_heavy_modules, file)


def test_a_damaged_mat_that_crashes_scipy_is_refused(tmp_path: Path):
    """Each of these bytes, set to 0, makes scipy 1.17's loadmat read through a null pointer."""
    path = tmp_path / "weights.mat"
    weight_files.write_matconvnet(path)
    whole = path.read_bytes()
    for offset in (2448, 2600):
        path.write_bytes(whole[:offset] + b"\x00" + whole[offset + 1 :])
        with pytest.raises(ValueError, match=r"weights\.mat: damaged: reading it crashed \(signal 11\)"):
            check_command(path)


def test_a_damaged_h5_that_hangs_libhdf5_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "TIME_LIMIT_S", 5.0)
    content = bytearray(NARROW_H5.read_bytes())
    content[2056] = 255
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.h5: damaged: reading it took longer than 5 s"):
        describe(path)


@pytest.mark.parametrize("written", [weight_files.write_matconvnet, weight_files.write_keras])
def test_one_wrong_byte_is_refused_or_harmless(tmp_path: Path, written, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "TIME_LIMIT_S", 5.0)
    path = tmp_path / "weights"
    written(path)
    whole = path.read_bytes()
    num_refused = 0
    for offset in (96, 131, 136, 160, 200, 612):
        path.write_bytes(whole[:offset] + b"\xff" + whole[offset + 1 :])
        try:
            assert describe(path).num_parameters == 136_412
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            num_refused += 1
    assert num_refused > 0
