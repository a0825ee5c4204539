"""A stage of six slow shards for the engine's tests: `python -m tests.pipeline.slow_stage OUT`."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from speech2face.pipeline import machine
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.summary import Summary


class Settings(BaseModel):
    """What `square` reads, but for `label`."""

    power: int = 2
    fatal: int | None = None
    label: str = ""


SCHEMA = pa.schema([pa.field("value", pa.int64(), nullable=False)])
SHARDS = [[{"value": 10 * shard + row} for row in range(4)] for shard in range(6)]


def square(
    rows: Sequence[dict[str, Any]], settings: Settings, context: dict[str, Any]
) -> Iterator[dict[str, Any] | Reject]:
    """Squares; negative values are rejected. Waits `pause_s` before each row. Leaves a file for each shard that it begins, with the
    worker's number in it, and with what it has imported for nothing."""
    if "marks" in context:
        mark = Path(context["marks"]) / f"{rows[0]['value']}-{os.getpid()}-{time.monotonic_ns()}"
        mark.write_text(" ".join([str(machine.worker), *({"torch"} & sys.modules.keys())]))
    for row in rows:
        time.sleep(context.get("pause_s", 0))
        if row["value"] == settings.fatal:
            os.abort()
        if row["value"] == context.get("passing"):
            yield Reject(str(row["value"]), context["reason"], "was there a moment ago")
        elif row["value"] < 0:
            yield Reject(str(row["value"]), "unreadable", "negative")
        else:
            yield {"value": row["value"] ** settings.power}


def plan(shards: Sequence[Sequence[dict[str, Any]]] = SHARDS, **changes: Any) -> Plan:
    """`square` over `shards`."""
    settings = changes.pop("settings", Settings())
    return Plan("slow", square, lambda: shards, SCHEMA, settings, **changes)


def run(out: Path, shards: Sequence[Sequence[dict[str, Any]]] = SHARDS, **changes: Any) -> Summary:
    """Map `square` over `shards`."""
    return map_shards(plan(shards, **changes), out, 0.5)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), context={"pause_s": 0.15, "marks": sys.argv[2]}).line())
