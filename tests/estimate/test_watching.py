import os
import sys
from pathlib import Path

import pytest

from speech2face.estimate.watching import run

TAKE = """
import subprocess, sys, time
held = bytearray({mib} * 2**20)
held[::4096] = bytes(len(held[::4096]))
{more}
time.sleep(0.6)
print("done")
"""


def memory(tmp_path: Path, mib: int, more: str = "") -> float:
    return run([sys.executable, "-c", TAKE.format(mib=mib, more=more)], tmp_path, os.environ).memory_mib


def test_memory_is_that_of_all_processes(tmp_path: Path):
    if not Path("/proc/self/status").exists():
        pytest.skip("memory of several processes is read from /proc")
    empty, large = memory(tmp_path, 0), memory(tmp_path, 200)
    assert large - empty == pytest.approx(200, abs=5)
    child = f"subprocess.Popen([sys.executable, '-c', {TAKE.format(mib=100, more='')!r}])"
    assert memory(tmp_path, 200, child) - large == pytest.approx(100, abs=20)  # and the child's interpreter


def test_it_gives_what_was_printed_and_runs_in_the_folder(tmp_path: Path):
    watched = run([sys.executable, "-c", "import os; print(os.getcwd())"], tmp_path, os.environ)
    assert Path(watched.text.strip()).samefile(tmp_path) and watched.seconds > 0


def test_seconds_of_processors_leave_out_what_is_waited_for(tmp_path: Path):
    watched = run([sys.executable, "-S", "-c", "import time; time.sleep(2)"], tmp_path, os.environ, "processor")
    assert watched.seconds < 1


def test_a_program_that_fails_is_one_line(tmp_path: Path):
    with pytest.raises(RuntimeError, match="ended with status 3: first / second") as error:
        run(
            [sys.executable, "-c", "import sys; print('first\\nsecond', file=sys.stderr); sys.exit(3)"],
            tmp_path,
            os.environ,
        )
    assert "\n" not in str(error.value)
