"""Tests beside each other, as the Makefile starts them: groups keep together, and a crash is a failure, not a wait."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = """
import os, time, pytest
pytestmark = pytest.mark.xdist_group(__name__)
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    with open("workers.txt", "a") as file:
        print(__name__, os.environ["PYTEST_XDIST_WORKER"], file=file)
    time.sleep(0.05)
    if (__name__, number) == ("test_b", 4):
        os.abort()
"""


def test_a_group_shares_a_process_and_a_crash_ends_the_run(tmp_path: Path):
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(TESTS)
    makefile = (Path(__file__).parents[1] / "Makefile").read_text("utf-8")
    (options,) = re.findall(r"^PARALLEL := --numprocesses auto (.*)$", makefile, re.MULTILINE)
    # Without the other plugins of this environment, which each process would import.
    order = [sys.executable, "-m", "pytest", "-p", "xdist", "--numprocesses", "2", *options.split()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    run = subprocess.run(order, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert run.returncode == 1 and "crashed while running 'test_b.py::test_it[4]" in run.stdout
    workers = defaultdict(set)
    for line in (tmp_path / "workers.txt").read_text().splitlines():
        name, worker = line.split()
        workers[name].add(worker)
    assert all(len(found) == 1 for found in workers.values()), workers
    assert set.union(*workers.values()) == {"gw0", "gw1"}
