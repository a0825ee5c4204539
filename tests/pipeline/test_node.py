import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from speech2face.pipeline import cluster, node
from speech2face.pipeline.node import Place
from tests.pipeline import slow_stage

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(node, "name", lambda: "node n (10.0.0.1)")
    (tmp_path / "parts").mkdir()
    return Place(tmp_path, tmp_path / "parts", (), {})


@pytest.mark.parametrize("missing", ["folder", "parts", "needs"])
def test_a_path_that_a_node_does_not_see_is_named(place: Place, tmp_path: Path, missing: str):
    node.check_files(place)
    nowhere = tmp_path / "nowhere"
    named = tmp_path if missing == "parts" else nowhere
    blind = Place(**vars(place) | {missing: (tmp_path, nowhere) if missing == "needs" else nowhere})
    with pytest.raises(
        RuntimeError, match=rf"^node n \(10.0.0.1\) does not see {named}, or .* the same shared file system there$"
    ):
        node.check_files(blind)


def test_a_node_that_may_not_write_is_named(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (place.parts, os.W_OK))
    with pytest.raises(
        RuntimeError, match=r"^node n \(10.0.0.1\) may not write to .*; run `ray start` there as a user who may$"
    ):
        node.check_files(place)


def test_a_package_that_a_node_lacks_is_named(place: Place, monkeypatch: pytest.MonkeyPatch):
    """What Ray raises is seen in cluster_of_two.py, where a node does lack something."""
    import ray

    monkeypatch.chdir(place.folder)
    raised = ray.exceptions.RaySystemError(ModuleNotFoundError("No module named 'none'"), "Traceback ...")
    monkeypatch.setattr(ray, "get", Mock(side_effect=raised))
    with pytest.raises(
        RuntimeError, match=r"^node n .* cannot import .* \(No module named 'none'\); install there .*$"
    ):
        node.work(place, [object()])
    raised.client_exc = MemoryError()
    with pytest.raises(ray.exceptions.RaySystemError):
        node.work(place, [object()])


def test_another_library_is_named():
    ingredients = slow_stage.plan().common
    cluster.check_code(slow_stage.square, {"ingredients": json.dumps(ingredients)}, "node n")
    other = ingredients | {"libraries": ingredients["libraries"] | {"pyarrow": "1.0"}}
    found = ingredients["libraries"]["pyarrow"]
    with pytest.raises(
        RuntimeError, match=rf"^node n has another version of .* \(library pyarrow: 1.0 -> {found}\); give it"
    ):
        cluster.check_code(slow_stage.square, {"ingredients": json.dumps(other)}, "node n")
