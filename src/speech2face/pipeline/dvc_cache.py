"""What DVC still has of a stage's last output.

DVC deletes a stage's outputs before it runs. Until it has ended, dvc.lock holds their hash all the same, also in a clone that has only
pulled, and DVC's cache their files.
"""

import functools
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")


def read_lock(text: str) -> dict[str, Any]:
    """The stages of a dvc.lock, by name. Raises ValueError for what is no YAML, such as a merge that is not resolved."""
    try:
        return (YAML(typ="safe").load(text) or {}).get("stages") or {}
    except (YAMLError, AttributeError) as error:
        raise ValueError(
            f"a dvc.lock cannot be read: {' '.join(str(error).split())}; take it from a commit, or run: dvc repro"
        ) from None


def last_output(out: Path) -> dict[str, Path]:
    """The files of the directory `out` as its stage last left it: where each lies in DVC's cache, by its path in the directory.

    Empty outside a DVC repository, and where the stage has not run or its output is not in the cache.
    """
    if not LOCK.is_file():
        return {}
    outs = [out for stage in read_lock(LOCK.read_text("utf-8")).values() for out in stage.get("outs", [])]
    digest = next((o.get("md5", "") for o in outs if o["path"] == out.as_posix()), "")
    return {name: path for name, path in files_of(digest) if path.is_file()}


def files_of(digest: str) -> list[tuple[str, Path]]:
    """The files of a directory by its hash in dvc.lock, each with its place in the cache; none where the cache lacks the listing."""
    if not digest.endswith(".dir"):
        return []
    cache = _cache(Path.cwd())
    if cache is None or not (listing := Path(cache.oid_to_path(digest))).is_file():
        return []
    entries = json.loads(listing.read_text("utf-8"))
    return [(entry["relpath"], Path(cache.oid_to_path(entry["md5"]))) for entry in entries]


@functools.cache
def cache_folder(directory: Path) -> Path | None:
    """The cache of the DVC repository around `directory`; None if it is in none.

    Reads DVC's configuration and nothing else, which takes a third of a second: opening the repository of somebody else, with git's
    settings in it, could run programs.
    """
    folders = (parent / ".dvc" for parent in (directory, *directory.parents))
    repository = next((folder for folder in folders if folder.is_dir()), None)
    if repository is None:
        return None
    from dvc.config import Config, ConfigError

    try:
        configured = Config(str(repository))["cache"].get("dir")
    except ConfigError:  # dvc itself says what is wrong with it
        return None
    return Path(configured) if configured else repository / "cache"


@functools.cache
def _cache(directory: Path) -> Any:
    """The local cache of the DVC repository around `directory`; None if there is none."""
    # A second to import, so only where there is something to look for.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return Repo(str(Repo.find_root(str(directory)))).cache.local
    except DvcException:  # also where git's part of the repository is missing
        return None
