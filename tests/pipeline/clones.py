"""Clones of the repository, as it is in the working tree, with a corpus of six synthetic speakers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.pipeline.preloaded import preloaded

ROOT = Path(__file__).parents[2]
STAGES = [
    "code",
    "make_corpus",
    "segment_audio",
    "embed_voices",
    "crop_faces",
    "extract_features",
    "train_decoder",
    "train_encoder",
    "evaluate",
]
SMALL = {
    "num_speakers: 200": "num_speakers: 6",
    "clips_per_shard: 32": "clips_per_shard: 2",
    "    val: 0.1": "    val: 0.34",
    "    test: 0.25": "    test: 0.33",
    "    size_px: 256": "    size_px: 192",
    "  epochs: 11": "  epochs: 1",
    "  epochs: 8": "  epochs: 2",
    "  batch_size: 8": "  batch_size: 2",
    "  texture_channels: 128": "  texture_channels: 16",
    "  base_channels: 8": "  base_channels: 2",
    "  resamples: 2000": "  resamples: 100",
}


class Clone:
    """A repository in a folder of its own; called with a command, it runs it there.

    `fresh`: as users do, with a new interpreter for each process and as many workers as there are processors.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path, self.fresh = path, fresh

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run(list(command), self.path, self.fresh)

    def repro(self, *arguments: str) -> "Run":
        return Run(self("dvc", "repro", *arguments))

    def commit(self, message: str) -> None:
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def reset(self) -> None:
        """Back to the last commit, data and all."""
        self("git", "reset", "--quiet", "--hard")
        self("git", "clean", "--quiet", "-d", "--force")
        self("dvc", "checkout", "--quiet", "--force")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path / name
        text = path.read_text("utf-8")
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new), "utf-8")

    def metrics(self) -> dict:
        return json.loads((self.path / "results/evaluation/metrics.json").read_text("utf-8"))


class Run:
    """What `dvc repro` or `dvc exp run` did."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.text = done.stdout
        self.stages = [name for name in STAGES if f"Running stage '{name}'" in done.stdout]
        self.computed = {
            n: int(c) for n, c in re.findall(r"^(\w+): .* (\d+) of \d+ shards computed", done.stdout, re.M)
        }
        """Shards that each stage computed."""
        steps = re.findall(r"^(\w+): .* (?:(\d+) steps|(no step)),", done.stdout, re.M)
        self.steps = {name: int(count or 0) for name, count, _ in steps}
        """Steps that each training took."""

    @property
    def work(self) -> int:
        """Shards and training steps."""
        return sum(self.computed.values()) + sum(self.steps.values())


def small_clone(path: Path) -> Clone:
    """A clone with what is not committed yet, and with the small corpus as its parameters; no stage has run in it."""
    run(["git", "clone", "--quiet", str(ROOT), str(path)], ROOT)
    tracked = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, path / name)
        else:
            (path / name).unlink(missing_ok=True)
    clone = Clone(path)
    for old, new in SMALL.items():
        clone.edit("params.yaml", f"{old}\n", f"{new}\n")
    (path / "dvc.lock").unlink()
    clone.commit("six speakers")
    return clone


def environment(fresh: bool = False) -> dict[str, str]:
    """What commands run in; `fresh` as of `Clone`."""
    who = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    folders = [] if fresh else [str(preloaded())]
    path = os.pathsep.join([*folders, str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "S2F", "PYTHONPATH"))}
    # One thread and one process, as in tests/conftest.py: other tests run beside.
    alone = {} if fresh else {"S2F_WORKERS": "1"}
    return clean | who | alone | {"PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def run(command: list[str], cwd: Path, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    where = environment(fresh)
    program = shutil.which(command[0], path=where["PATH"]) or command[0]
    done = subprocess.run([program, *command[1:]], cwd=cwd, env=where, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done
