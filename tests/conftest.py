"""How the tests share the processors, and evaluations of simulated corpora that many tests look at.

`make test` runs a file's tests in one process, and files in several beside each other, in the order in which they are sorted here: what
takes long begins early, so that no process works on alone in the end. Tests marked `spread` go wherever there is room.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    # Imported where it is used: the process that waits for the others would import all of it first, while they wait for it.
    from speech2face.measures.aligned import Aligned
    from speech2face.measures.inputs import Inputs
    from speech2face.measures.measure import Measured

OF_PIPELINE = {"origin", "clone", "pulled"}
"""Fixtures that run the whole pipeline once; the processes share it, and the first that asks for it makes it."""
OF_EVALUATION = {"evaluated", "measured", "measure_of"}
"""Fixtures that run an evaluation once: what uses them shares a process."""


def pytest_configure() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One thread in each process; threads of several that wait for each other cost more than they give.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        import torch

        torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    groups: dict[str, str] = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        group = item.nodeid if item.get_closest_marker("spread") else item.path.as_posix()
        groups[item.nodeid] = "evaluations" if OF_EVALUATION & fixtures else group
        item.add_marker(pytest.mark.xdist_group(groups[item.nodeid]))
        if (OF_PIPELINE | OF_EVALUATION) & fixtures:
            item.add_marker(pytest.mark.slow)
    of_pipeline = [item for item in items if OF_PIPELINE & set(getattr(item, "fixturenames", ()))]
    first = {groups[item.nodeid] for item in of_pipeline[:1]}
    long = {item.path for item in of_pipeline}
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        """One process makes what all tests of the pipeline share, and the next has the evaluations to do meanwhile."""
        group = groups[item.nodeid]
        return [group in first, group == "evaluations", item.path in long, item.path in slow, True].index(True)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _parsed_once() -> Iterator[None]:
    """Fingerprints are taken hundreds of times: a process parses a source file once, and again only if its text is another."""
    from speech2face.pipeline.syntax import Module

    parse = cache(lambda name, path, text: Module(name, path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speech2face.pipeline.code.Module", lambda name, path: parse(name, path, path.read_bytes()))
        yield


@dataclass(frozen=True)
class Run:
    """A finished evaluation: what went in, the folder that it wrote, and its results."""

    inputs: Inputs
    out: Path
    results: dict[str, Any]

    @property
    def page(self) -> str:
        """The report as it is in the file."""
        return (self.out / "report.html").read_text("utf-8")

    @property
    def card(self) -> str:
        """The model card as it is in the file."""
        return (self.out / "card.md").read_text("utf-8")


@dataclass(frozen=True)
class Measurement:
    """What was measured of a corpus."""

    inputs: Inputs
    aligned: Aligned
    measured: Measured

    @property
    def results(self) -> dict[str, Any]:
        return self.measured.results


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small networks with random weights, which no test may change."""
    from tests.trained import save_models

    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def measured() -> Callable[[str], Measurement]:
    """What is measured of one of `CORPORA` by its name."""
    from tests.simulated import CORPORA

    return cache(lambda name: _measure(CORPORA[name]()))


@pytest.fixture(scope="session")
def evaluated(measured: Callable[[str], Measurement], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The evaluation of one of `CORPORA` by its name, from what `measured` gives. (That a whole evaluation writes the same bytes is
    tested in tests/evaluation/test_run.py.)"""

    from speech2face.evaluation.run import evaluate
    from tests.simulated import QUICK

    @cache
    def run(name: str) -> Run:
        inputs, found, out = measured(name).inputs, measured(name).measured, tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("speech2face.evaluation.run.measure", lambda *_: found)
            return Run(inputs, out, evaluate(inputs, QUICK, 0, out, out / "card.md"))

    return run


@pytest.fixture(scope="session")
def measure_of() -> Callable[[Inputs], Measurement]:
    """What is measured of any inputs."""
    return _measure


def _measure(inputs: Inputs) -> Measurement:
    from speech2face.measures.aligned import align
    from speech2face.measures.measure import measure
    from tests.simulated import QUICK

    aligned = align(inputs)
    return Measurement(inputs, aligned, measure(inputs, aligned, QUICK, 0))
