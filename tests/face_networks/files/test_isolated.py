"""A file that brings its parser down is refused in words, and the caller lives on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speech2face.face_networks.files import isolated
from speech2face.face_networks.files.isolated import IsolationError, run_isolated
from speech2face.face_networks.vgg_face_file import check_command, describe
from tests.face_networks.files import weight_files
from tests.face_networks.files.weight_files import NARROW_H5

pytestmark = pytest.mark.slow

MISBEHAVING = "tests.face_networks.files.misbehaving"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "päth with 'blanks'; true"
    path.write_bytes(b"anything")
    return path


def test_a_result_is_handed_back(file: Path):
    assert run_isolated(f"{MISBEHAVING}:whole", file, "more") == {"content": "anything", "argument": "more"}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("refuse", r"^FILE: päth with 'blanks'; true is not what \?\[31mit should be$"),
        ("fail", r"^FILE: truncated or damaged \(KeyError: .päth"),
        ("crash", r"^FILE: damaged: reading it crashed \(signal 11\); download it again and compare its sha256$"),
    ],
)
def test_failures_become_one_line(file: Path, function: str, words: str):
    with pytest.raises(ValueError, match=words.replace("FILE", str(file))):
        run_isolated(f"{MISBEHAVING}:{function}", file)


def test_other_kinds_of_error_stay_what_they_are(file: Path):
    with pytest.raises(FileNotFoundError, match=r"^no model in the folder$"):
        run_isolated(f"{MISBEHAVING}:find_nothing", file)
    with pytest.raises(IsolationError, match=r"^the disk is full$"):
        run_isolated(f"{MISBEHAVING}:write_nothing", file)


def test_a_reader_that_hangs_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolated, "TIME_LIMIT_S", 1.0)
    started = time.monotonic()
    with pytest.raises(ValueError, match="took longer than 1 s; download it again"):
        run_isolated(f"{MISBEHAVING}:hang", file)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("function", ["take_memory", "take_memory_in_torch"])
def test_memory_is_bounded(file: Path, function: str, monkeypatch: pytest.MonkeyPatch):
    assert run_isolated(f"{MISBEHAVING}:{function}", file) is None
    monkeypatch.setattr(isolated, "MEMORY_LIMIT_BYTES", 3 * 2**29)
    with pytest.raises(ValueError, match=r"takes more than 1\.5 GiB of memory; download it again"):
        run_isolated(f"{MISBEHAVING}:{function}", file)


CALLER = """
import resource, sys
from pathlib import Path
from speech2face.face_networks.files.isolated import IsolationError, run_isolated
resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))
try:
    run_isolated(sys.argv[1], Path(sys.argv[2]))
except IsolationError as error:
    print(error)
"""


def test_a_machine_with_too_little_memory_says_nothing_of_the_file(file: Path):
    command = [sys.executable, "-c", CALLER, f"{MISBEHAVING}:take_memory", str(file)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{file}: there is too little memory to read it; a full-size file takes 2 GB\n", done.stderr
    with pytest.raises(IsolationError, match="too little memory"):
        run_isolated(f"{MISBEHAVING}:be_killed", file)


def test_a_process_that_does_not_answer_says_nothing_of_the_file(file: Path):
    with pytest.raises(IsolationError, match="exit status 7"):
        run_isolated(f"{MISBEHAVING}:leave", file)
    with pytest.raises(IsolationError, match="No module named 'no_such_module'"):
        run_isolated("no_such_module:read", file)


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
    monkeypatch.setattr(isolated, "TIME_LIMIT_S", 5.0)
    content = bytearray(NARROW_H5.read_bytes())
    content[2056] = 255
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.h5: damaged: reading it took longer than 5 s"):
        describe(path)


@pytest.mark.parametrize("written", [weight_files.write_matconvnet, weight_files.write_keras])
def test_one_wrong_byte_is_refused_or_harmless(tmp_path: Path, written, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolated, "TIME_LIMIT_S", 5.0)
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
