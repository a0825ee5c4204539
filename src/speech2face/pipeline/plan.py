"""What a stage is to compute, and the fingerprints by which finished work is found again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from speech2face.pipeline.code import reached
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import columns, write_rows

Row = dict[str, Any]
Ingredients = dict[str, Any]
"""What a result was made from, as JSON: `settings`, `columns`, `weights`, `modules`, `libraries`, and `rows`, a digest of each."""
ShardFunction = Callable[[Sequence[Row], Any, dict[str, Any]], Iterable[Row | Reject]]
"""(rows of a shard, settings, context) to the rows of its table and its rejects. Settings change the result, the context (where
the files are, and the device where networks run) does not. Must be a function at the top level of a module."""
ROW_DIGITS = 16


@dataclass(frozen=True)
class Plan:
    """The shards of a stage.

    shards: gives the rows of each shard, from the first one anew whenever it is called, so that nobody need hold the rows of more than
    one; settings: the section of the parameters that `function` reads, but for the keys in `unread`; weights: names and digests of the
    weight files that it loads; count: the number of items that a row stands for; on_device: whether its networks run on
    `machine.device`, which then is `context["device"]`; recover: gives the rows of a shard by its fingerprint, where what was made
    from them is kept instead of the shard itself, None for one that is not.
    """

    stage: str
    function: ShardFunction
    shards: Callable[[], Iterable[Sequence[Row]]]
    schema: pa.Schema
    settings: BaseModel
    context: Mapping[str, Any] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    weights: Mapping[str, str] = field(default_factory=dict)
    count: Callable[[Row], int] = lambda row: 1
    on_device: bool = False
    recover: Callable[[str], Iterable[Row] | None] | None = None

    @cached_property
    def common(self) -> Ingredients:
        """The ingredients of all its shards, without their rows."""
        code = reached(self.function, write_rows)
        return {
            "settings": self.settings.model_dump(mode="json", exclude=set(self.unread)),
            "weights": dict(self.weights),
            "columns": columns(self.schema),
            **code.as_dict(),
        }

    def ingredients(self, rows: Sequence[Row]) -> Ingredients:
        """The ingredients of one shard."""
        return self.common | {"rows": [json_digest(row)[:ROW_DIGITS] for row in rows]}

    def fingerprint(self, rows: Sequence[Row]) -> str:
        """The name of a shard: it says what the shard was made from."""
        return fingerprint(self.stage, self.ingredients(rows))


def fingerprint(stage: str, ingredients: Ingredients) -> str:
    """SHA-256 of what a result is made from."""
    return json_digest({"stage": stage, **ingredients})


def difference(before: Ingredients, now: Ingredients) -> list[str]:
    """What two results were made from and do not share, in words; rows are left out."""
    found = []
    kinds = {
        "settings": "setting",
        "columns": "column",
        "weights": "weights",
        "modules": "code of",
        "libraries": "library",
        "inputs": "input",
    }
    for kind, word in kinds.items():
        old, new = before.get(kind, {}), now.get(kind, {})
        changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        found += [f"{word} {name}: {_in_words(kind, old.get(name), new.get(name))}" for name in changed]
    return found


def _in_words(kind: str, before: Any, now: Any) -> str:
    if kind in ("settings", "columns", "libraries"):
        return f"{_value(before)} -> {_value(now)}"
    return "new" if before is None else "no longer used" if now is None else "changed"


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def shard_name(fingerprint: str) -> str:
    """The name that a finished shard has in its table's folder."""
    return f"shard-{fingerprint[:24]}.parquet"
