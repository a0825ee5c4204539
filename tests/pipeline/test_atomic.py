import json
from pathlib import Path

import pytest

from speech2face.pipeline.atomic import PARTIALS, replacing, write_json, write_text


def test_a_file_appears_whole_under_its_name(tmp_path: Path):
    path = tmp_path / "deep" / "a.txt"
    with replacing(path) as partial:
        partial.write_text("new")
        assert not path.exists() and partial.match(PARTIALS) and partial.parent == path.parent
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_keeps_its_order_and_refuses_nan(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.5]})
    assert list(json.loads(path.read_text())) == ["b", "a"]
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["b"] == 1


def test_two_writers_at_once_do_not_meet(tmp_path: Path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the block that ends last
