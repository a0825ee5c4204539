from speech2face.pipeline.plan import difference, shard_name
from tests.pipeline.slow_stage import Settings, plan

ROWS = [{"value": 1}, {"value": 2}]


def test_a_fingerprint_covers_rows_settings_weights_and_stage_and_nothing_else():
    base = plan().fingerprint(ROWS)
    assert plan(context={"pause_s": 1.0}).fingerprint(ROWS) == base
    assert (
        plan(settings=Settings(label="x"), unread=frozenset({"label"})).fingerprint(ROWS) != base
    )  # fewer settings are read
    others = [
        plan().fingerprint(ROWS[::-1]),
        plan().fingerprint([{"value": 1}]),
        plan(settings=Settings(power=3)).fingerprint(ROWS),
        plan(weights={"net": "00"}).fingerprint(ROWS),
    ]
    assert len({base, *others}) == 5


def test_settings_that_are_not_read_do_not_count():
    unread = frozenset({"label"})
    first, second = (plan(settings=Settings(label=label), unread=unread).fingerprint(ROWS) for label in ("a", "b"))
    assert first == second


def test_a_difference_in_words():
    before = plan().ingredients(ROWS)
    now = plan(settings=Settings(power=3), weights={"net": "00"}).ingredients(ROWS)
    assert difference(before, now) == ["setting power: 2 -> 3", "weights net: new"]
    assert difference(before, before) == []
    changed = before | {"libraries": before["libraries"] | {"pyarrow": "0.1"}, "schema": "other"}
    assert difference(before, changed) == [
        f"library pyarrow: {before['libraries']['pyarrow']} -> 0.1",
        "the table's columns",
    ]


def test_the_name_of_a_shard_shows_its_fingerprint():
    fingerprint = plan().fingerprint(ROWS)
    assert shard_name(fingerprint) == f"shard-{fingerprint[:24]}.parquet"
