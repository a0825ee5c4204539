"""What the stages left out, listed and counted (`speech2face rejects`)."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.pipeline.shards import REJECTS

LISTED = 20


def read_rejects(root: Path) -> pa.Table:
    """The rejects of all stages that have run in the repository at `root`. Raises ValueError if none has."""
    paths = sorted((root / "data").glob("*/rejects.parquet"))
    if not paths:
        raise ValueError(f"{root / 'data'} holds no rejects.parquet; no stage has run yet: dvc repro")
    return pa.concat_tables([pq.read_table(path, schema=REJECTS) for path in paths])


def rejects_report(
    root: Path, *, stage: str | None = None, reason: str | None = None, limit: int | None = LISTED
) -> str:
    """Counts by stage and reason, then the first `limit` (None: all) of the rejects of `stage` and `reason`, one a line.

    Raises ValueError for a stage or reason that no reject has, naming those there are.
    """
    rows = read_rejects(root).to_pylist()
    for name, wanted in (("stage", stage), ("reason", reason)):
        known = sorted({row[name] for row in rows})
        if wanted is not None and wanted not in known:
            raise ValueError(f"no reject has the {name} {wanted!r}; there are {', '.join(known) or 'no rejects'}")
        rows = [row for row in rows if wanted in (None, row[name])]
    counts = Counter((row["stage"], row["reason"]) for row in rows)
    lines = [f"{len(rows)} rejects"]
    lines += [f"{count:8,}  {of_stage:16}  {why}" for (of_stage, why), count in sorted(counts.items())]
    shown = rows[:limit]
    if shown:
        lines += ["", *(f"{row['stage']}  {row['reason']}  {row['item']}: {row['message']}" for row in shown)]
    if len(shown) < len(rows):
        lines.append(f"... and {len(rows) - len(shown)} more")
    return "\n".join(lines)
