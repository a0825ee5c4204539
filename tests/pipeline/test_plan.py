"""What a shard is made from: what changes it changes its name, and nothing else does."""

import json

import pyarrow as pa
import pytest

from speech2face.pipeline.plan import Plan, difference, fingerprint, shard_name
from speech2face.pipeline.shards import Tensor
from tests.pipeline import slow_stage
from tests.pipeline.slow_stage import SCHEMA, SHARDS, Settings

ROWS = SHARDS[0]
TENSORS = (("float16", (2, 3)), ("float32", (2, 3)), ("float16", (3, 2)), ("float16", (12,)))


def name(**changes: object) -> str:
    return slow_stage.plan(**changes).fingerprint(ROWS)


def cube(rows, settings, context):
    """Another function."""
    for row in rows:
        yield {"value": row["value"] ** 3}


def test_a_fingerprint_covers_all_that_can_change_the_rows():
    wider = SCHEMA.append(pa.field("other", pa.int64()))
    tensors = [pa.schema([("value", Tensor(dtype, shape))]) for dtype, shape in TENSORS]
    tensors.append(pa.schema([("value", pa.fixed_shape_tensor(pa.float32(), (2, 3)))]))
    names = [
        name(),
        name(settings=Settings(power=3)),
        name(weights={"net.dat": "00ff"}),
        name(weights={"net.dat": "ff00"}),
        name(weights={"other.dat": "00ff"}),
        Plan("slow", cube, lambda: SHARDS, SCHEMA, Settings()).fingerprint(ROWS),
        Plan("other", slow_stage.square, lambda: SHARDS, SCHEMA, Settings()).fingerprint(ROWS),
        *(
            Plan("slow", slow_stage.square, lambda: SHARDS, schema, Settings()).fingerprint(ROWS)
            for schema in (wider, *tensors)
        ),
        slow_stage.plan().fingerprint(SHARDS[1]),
        slow_stage.plan().fingerprint(ROWS[:-1]),
        slow_stage.plan().fingerprint(ROWS[::-1]),
        slow_stage.plan().fingerprint([{**ROWS[0], "value": -1}, *ROWS[1:]]),
        slow_stage.plan().fingerprint([{**ROWS[0], "size": 1}, *ROWS[1:]]),
    ]
    assert len(set(names)) == len(names)


def test_what_only_says_where_and_how_changes_nothing():
    assert name() == name(context={"root": "/elsewhere"}) == name(on_device=True) == name(count=len)
    assert name() == name(recover=lambda fingerprint: None)
    # The other shards of the table
    assert slow_stage.plan(SHARDS[:1]).fingerprint(ROWS) == name()


def test_settings_that_are_not_read_change_nothing():
    labelled = {"settings": Settings(label="first"), "unread": frozenset({"label"})}
    assert name(**labelled) == name(**labelled | {"settings": Settings(label="second")})
    assert name(settings=Settings(label="first")) != name(settings=Settings(label="second"))
    assert name(**labelled) != name(**labelled | {"settings": Settings(label="first", power=3)})


def test_the_order_of_keys_changes_nothing():
    rows = [{"value": 1, "path": "a"}, {"path": "b", "value": 2}]
    turned = [dict(reversed(row.items())) for row in rows]
    assert slow_stage.plan().fingerprint(rows) == slow_stage.plan().fingerprint(turned)
    assert name(weights={"a": "1", "b": "2"}) == name(weights={"b": "2", "a": "1"})


def test_a_fingerprint_is_that_of_the_ingredients_as_the_footer_keeps_them():
    plan = slow_stage.plan(weights={"net.dat": "00ff"})
    kept = json.loads(json.dumps(plan.ingredients(ROWS)))
    assert fingerprint("slow", kept) == plan.fingerprint(ROWS)
    assert kept["settings"] == {"power": 2, "fatal": None, "label": ""}
    assert kept["weights"] == {"net.dat": "00ff"}
    assert len(kept["rows"]) == len(set(kept["rows"])) == len(ROWS)
    assert {"tests.pipeline.slow_stage", "speech2face.pipeline.shards"} <= kept["modules"].keys()
    assert {"numpy", "pyarrow"} <= kept["libraries"].keys()


def test_a_row_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        slow_stage.plan().fingerprint([{"value": float("nan")}])


def test_the_name_of_a_shard_is_enough_of_its_fingerprint_to_be_its_own():
    found = shard_name(name())
    assert found == f"shard-{name()[:24]}.parquet"
    assert shard_name(name(weights={"net.dat": "00ff"})) != found


def test_differences_are_said_in_words():
    before = {
        "settings": {"power": 2, "label": "a", "gone": 1},
        "weights": {"net.dat": "00", "old.dat": "11"},
        "modules": {"one": "aa", "two": "bb", "three": "cc"},
        "libraries": {"numpy": "1.0", "torch": "2.0"},
        "inputs": {"faces": "01"},
        "columns": {"value": "int64", "gone": "string"},
        "rows": ["1", "2"],
    }
    now = {
        "settings": {"power": 3, "label": "a", "fresh": None},
        "weights": {"net.dat": "ff", "new.dat": "22"},
        "modules": {"one": "aa", "two": "dd", "four": "ee"},
        "libraries": {"numpy": "1.1", "scipy": "3.0"},
        "inputs": {"faces": "02"},
        "columns": {"value": "double"},
        "rows": ["3"],
    }
    assert difference(before, now) == [
        "setting gone: 1 -> none",
        "setting power: 2 -> 3",
        "column gone: string -> none",
        "column value: int64 -> double",
        "weights net.dat: changed",
        "weights new.dat: new",
        "weights old.dat: no longer used",
        "code of four: new",
        "code of three: no longer used",
        "code of two: changed",
        "library numpy: 1.0 -> 1.1",
        "library scipy: none -> 3.0",
        "library torch: 2.0 -> none",
        "input faces: changed",
    ]
    assert difference(before, before) == []
    assert difference(before, before | {"rows": ["9"]}) == []
