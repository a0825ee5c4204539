"""The versions of Python: every file names the same, `make setup` takes the newest that runs, and all give the same fingerprints."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from speech2face.doctor import PYTHONS
from speech2face.pipeline.syntax import Module

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "golden" / "syntax.txt"
DIGEST = "830b4d061b24356ecf8f9b9c0a500f8ae27947c70f0ae11d8487662a6ba6843d"
"""Of the sample's text: Python 3.11.7, 3.12.1 and 3.13.0 gave this one."""

SENTENCES = {
    "Makefile": r"Python (.*) and reach a package index",
    "README.md": r"A machine with Python (.*) is enough",
    "requirements.txt": r"run together, on Python (.*)\.\n",
}
"""Where files say in words which versions will do."""


def in_words(last: str) -> str:
    return f"{', '.join(PYTHONS[:-1])} {last} {PYTHONS[-1]}"


def test_every_file_names_the_same_versions():
    for name, pattern in SENTENCES.items():
        (found,) = re.findall(pattern, (ROOT / name).read_text("utf-8"))
        assert found in (in_words("or"), in_words("and")), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    first, last = (int(version.removeprefix("3.")) for version in (PYTHONS[0], PYTHONS[-1]))
    assert project["requires-python"] == f">=3.{first},<3.{last + 1}"
    assert project["classifiers"] == [f"Programming Language :: Python :: {version}" for version in PYTHONS]
    assert [f"3.{minor}" for minor in range(first, last + 1)] == list(PYTHONS)


class Machine:
    """A copy of the Makefile, and a PATH on which nothing is but what is put there."""

    def __init__(self, root: Path) -> None:
        self.root, self.commands = root / "repository", root / "commands"
        self.root.mkdir()
        self.commands.mkdir()
        for name in ("Makefile", "pyproject.toml", *(path.name for path in ROOT.glob("requirements*.txt"))):
            shutil.copyfile(ROOT / name, self.root / name)

    def command(self, name: str, text: str) -> None:
        path = self.commands / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str, minor: int, without: str = "nothing") -> None:
        """A Python that says it is of version 3.`minor`, and that lacks a module."""
        lines = (
            f"#!{sys.executable} -IS",
            "import sys",
            f"sys.version_info, sys.modules[{without!r}] = (3, {minor}, 0), None",
            "assert sys.argv[1] == '-c'",
            "exec(sys.argv[2])",
        )
        self.command(name, "\n".join(lines))

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`make setup`, which says what it would do and does not do it."""
        make = shutil.which("make")
        assert make is not None
        command = [make, "--dry-run", "setup", *arguments]
        return subprocess.run(command, cwd=self.root, env={"PATH": str(self.commands)}, capture_output=True, text=True)

    def chosen(self, *arguments: str) -> str:
        """The Python that `make setup` would make .venv with."""
        done = self.setup(*arguments)
        assert done.returncode == 0, done.stderr
        (found,) = re.findall(r"^(\S+) -m venv --clear \.venv$", done.stdout, re.MULTILINE)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


SHIM = '#!/bin/sh\necho "pyenv: $0: command not found" >&2\nexit 127\n'
"""What a version manager puts on PATH for a version that is installed and not selected."""


def test_the_newest_that_runs_is_taken(machine: Machine):
    for minor in (10, 11, 12, 13, 14):
        machine.python(f"python3.{minor}", minor)
    machine.python("python3", 14)
    assert machine.chosen() == "python3.13"
    machine.command("python3.13", SHIM)
    assert machine.chosen() == "python3.12"
    machine.python("python3.12", 12, without="ensurepip")  # as Debian has it without python3-venv
    assert machine.chosen() == "python3.11"
    assert machine.chosen("PYTHON=python3.11") == "python3.11"


@pytest.mark.parametrize("name", ["python3", "python"])
def test_a_python_of_no_version_in_its_name_is_asked_for_it(machine: Machine, name: str):
    machine.python(name, 12)
    assert machine.chosen() == name
    machine.python(name, 10)
    assert machine.setup().returncode != 0


@pytest.mark.parametrize("minor", [10, 14])
def test_another_version_is_refused_in_a_line(machine: Machine, minor: int):
    machine.python("python3.12", 12)
    machine.python("python3.99", minor)
    done = machine.setup("PYTHON=python3.99")
    assert done.returncode != 0 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "among: python3.99. Install one" in done.stderr and in_words("or") in done.stderr


def test_where_there_is_none_a_line_says_what_is_missing(machine: Machine):
    machine.command("python3.13", SHIM)
    done = machine.setup()
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1
    assert f"No Python {in_words('or')} that can make virtual environments" in done.stderr
    assert "make setup PYTHON=/path/to/python3.13" in done.stderr


def test_an_environment_that_is_there_is_kept(machine: Machine):
    kept = machine.root / ".venv" / "bin" / "python"
    kept.parent.mkdir(parents=True)
    kept.symlink_to(sys.executable)
    done = machine.setup()
    assert done.returncode == 0 and "venv --clear" not in done.stdout
    assert done.stdout.startswith(".venv/bin/python -m pip install")
    kept.unlink()
    kept.symlink_to("/nowhere/python")  # that version was taken away
    machine.python("python3.12", 12)
    assert machine.chosen() == "python3.12"


def test_this_python_reads_source_as_the_others_did():
    module = Module("sample", SAMPLE)
    positions = sorted({at for found in module.bindings.values() for at in found} | set(module.effects))
    text = "\n".join(map(module.text_with_imports, positions))
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


READ = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from speech2face.pipeline.code import reached_by_stages

codes = {name: [code.modules, list(code.libraries)] for name, code in reached_by_stages(Path(sys.argv[2])).items()}
print(json.dumps([sys.version_info[1], codes]))
"""


def run(python: str, version: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python without any packages. pyenv, where that is what `python` comes from, learns which version is meant."""
    command = [python, "-I", "-S", "-c", script, str(ROOT / "src"), str(ROOT / "stages")]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYENV_VERSION": version})


@pytest.mark.slow
def test_every_python_of_this_machine_finds_the_same_fingerprints():
    """Of what is on PATH. That one which is not here agrees with these is what the sample's digest says."""
    running = run(sys.executable, "", READ)
    assert running.returncode == 0, running.stderr
    minor, expected = json.loads(running.stdout)
    assert minor == sys.version_info[1]
    assert len(expected) >= 9 and all(len(modules) >= 3 for modules, _ in expected.values())
    for version in PYTHONS:
        python = shutil.which(f"python{version}")
        found = run(python, version, "import sys; print(sys.version)") if python is not None else None
        if found is not None and found.returncode == 0 and found.stdout.strip() != sys.version:
            done = run(python, version, READ)
            assert done.returncode == 0, f"Python {version}: {done.stderr}"
            assert json.loads(done.stdout) == [int(version.removeprefix("3.")), expected], f"Python {version}"
