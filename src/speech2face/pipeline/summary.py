"""What a stage did: its closing line, its counts and its rejects."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from speech2face.pipeline.rejects import REJECTS, Reject
from speech2face.pipeline.shards import write_table

REJECTS_FOLDER = Path("data/rejects")


@dataclass
class Summary:
    """What a stage did. `computed` counts the shards that were not found finished; `finished` are the files of all, in the store."""

    stage: str
    rows_in: int = 0
    rows_out: int = 0
    shards: int = 0
    computed: int = 0
    rejects: list[Reject] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """The stage's closing line."""
        text = f"{self.stage}: {self.rows_in} rows in, {self.rows_out} rows out, {len(self.rejects)} rejects"
        return f"{text}, {self.computed} of {self.shards} shards computed, {time.monotonic() - self.started:.1f} s"

    def counts(self) -> dict[str, Any]:
        """Counts that depend on the result only, for the stage's counts.json."""
        reasons = Counter(reject.reason for reject in self.rejects)
        rejects = {"total": len(self.rejects), **dict(sorted(reasons.items()))}
        return {"rows_in": self.rows_in, "rows_out": self.rows_out, "rejects": rejects}


def write_rejects(summary: Summary) -> None:
    """Write a stage's rejects as a table, in the folder of all stages' rejects."""
    rows = [{"item": r.item, "stage": summary.stage, "reason": r.reason, "message": r.message} for r in summary.rejects]
    write_table(REJECTS_FOLDER / f"{summary.stage}.parquet", pa.Table.from_pylist(rows, REJECTS))


def check_rejects(summary: Summary, max_reject_fraction: float) -> None:
    """Raise ValueError, with the commonest reasons, if too many of a stage's items were rejected."""
    # An item may give several rows, each of which may be rejected.
    num_items = max(summary.rows_in, summary.rows_out + len(summary.rejects))
    if len(summary.rejects) <= max_reject_fraction * num_items:
        return
    lines = []
    for reason, count in Counter(r.reason for r in summary.rejects).most_common(5):
        example = next(r for r in summary.rejects if r.reason == reason)
        lines.append(f"  {count} x {reason}, for example {example.item}: {example.message}")
    raise ValueError(
        f"{summary.stage} rejected {len(summary.rejects)} of {num_items} items, more than max_reject_fraction = "
        f"{max_reject_fraction:g}; fix the recordings or raise it in params.yaml. Commonest reasons:\n"
        + "\n".join(lines)
    )
