"""How the tests share the processors: `make test` runs a file's tests in one process, and files beside each other in several."""

import os

import pytest

# One thread in each process; threads of several that wait for each other cost more than they give.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

OF_PIPELINE = {"origin", "clone", "pulled"}
"""Fixtures that run the whole pipeline once. Files that use them begin first, because they take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long = {item.path for item in items if OF_PIPELINE & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in long)
