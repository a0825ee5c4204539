"""How the tests share the processors: `make test` runs a file's tests in one process, and files in several beside each other."""

import os

import pytest

# One thread in each process; threads of several that wait for each other cost more than they give.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

OF_PIPELINE = {"origin", "clone", "pulled"}
"""Fixtures that run the whole pipeline once: what uses them shares a process, and begins first, because it takes longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        runs = OF_PIPELINE & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("pipeline" if runs else item.path.as_posix()))
    items.sort(key=lambda item: not OF_PIPELINE & set(getattr(item, "fixturenames", ())))
