"""What DVC still has of a stage's last output.

DVC deletes a stage's outputs before it runs. Until it has ended, dvc.lock holds their hash all the same, also in a clone that has only
pulled, and DVC's cache their files.
"""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

LOCK = Path("dvc.lock")


def read_lock(text: str) -> dict[str, Any]:
    """The stages of a dvc.lock, by name."""
    return (YAML(typ="safe").load(text) or {}).get("stages") or {}


def last_output(out: Path) -> dict[str, Path]:
    """The files of the directory `out` as its stage last left it: where each lies in DVC's cache, by its path in the directory.

    Empty outside a DVC repository, and where the stage has not run or its output is not in the cache.
    """
    if not LOCK.is_file():
        return {}
    outs = [out for stage in read_lock(LOCK.read_text("utf-8")).values() for out in stage.get("outs", [])]
    digest = next((o["md5"] for o in outs if o["path"] == out.as_posix() and o.get("md5", "").endswith(".dir")), None)
    if digest is None:
        return {}
    # A second to import, so only where there is something to look for.
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        cache = Repo().cache.local
    except NotDvcRepoError:
        return {}
    return {name: path for name, path in _listed(cache, digest) if path.is_file()}


def _listed(cache: Any, digest: str) -> list[tuple[str, Path]]:
    listing = Path(cache.oid_to_path(digest))
    if not listing.is_file():
        return []
    entries = json.loads(listing.read_text("utf-8"))
    return [(entry["relpath"], Path(cache.oid_to_path(entry["md5"]))) for entry in entries]
