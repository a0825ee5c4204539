"""A small DVC repository, in a tenth of a second: what DVC keeps of the outputs of stages that have run."""

import subprocess
from pathlib import Path

from dvc.repo import Repo
from ruamel.yaml import YAML


def git(*arguments: str) -> str:
    """Run git in the current folder; returns what it prints."""
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout


def start_repository(cache_type: str = "copy") -> None:
    """Make the current folder a repository, whose outputs are linked to DVC's cache as `cache_type` says."""
    git("init", "--quiet")
    Repo.init(force=True).close()  # there may be a folder .dvc: DVCLive notes there that a step is done
    with Path(".dvc/config").open("a") as config:
        config.write(f'[core]\n    analytics = false\n    autostage = false\n[cache]\n    type = "{cache_type}"\n')
    Path(".gitignore").write_text(".work/\n")
    git("add", ".dvc", ".gitignore")
    commit("start")


def commit(message: str) -> None:
    """Commit what is added."""
    git("commit", "--quiet", "--allow-empty", "--message", message)


def keep_outputs(**stages: list[str]) -> None:
    """Leave the outputs of stages as `dvc repro` does: in the cache, with their hashes in dvc.lock."""
    content = {"stages": {name: {"cmd": f"make {name}", "outs": outs} for name, outs in stages.items()}}
    YAML().dump(content, Path("dvc.yaml"))
    with Repo() as repo:
        repo.commit(force=True)
