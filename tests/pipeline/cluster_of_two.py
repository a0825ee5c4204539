"""Two nodes on this machine compute what one process does, and say what is wrong with them.

Run by `make test-cluster`: it takes a minute, and namespaces, in which the nodes are alone.
"""

import ast
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from tests.audio.test_reading import write_wav
from tests.dlib_nets.pictures import FACES_FOLDER
from tests.pipeline import nodes, slow_stage
from tests.pipeline.nodes import ROOT

pytestmark = pytest.mark.slow

COMPUTING = """
import os, time
from pathlib import Path
import torch
from pydantic import BaseModel

class Settings(BaseModel):
    factor: int = 2

def times(rows, settings, context):
    for row in rows:
        yield {{"value": row["value"] * {factor}}}

def facts(rows, settings, context):
    variables = {{name: text for name, text in os.environ.items() if name.startswith(("S2F_", "DVC_"))}}
    found = os.getppid(), os.getcwd(), torch.get_num_threads(), str(context["device"]), variables
    Path("facts", str(rows[0]["value"])).write_text(repr(found))
    time.sleep(0.5)
    yield from rows
"""


@pytest.fixture(scope="module")
def two() -> Iterator[nodes.Cluster]:
    if reason := nodes.why_not():
        pytest.skip(reason)
    with nodes.cluster() as started:
        yield started


def answer(process: subprocess.Popen[str], status: int = 0) -> str:
    out, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors
    return out


def contents(*folders: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".partial")]


def wait_for(condition: Callable[[], Any], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.2)  # looking at all processes takes a while


ONCE = """
from pathlib import Path
from tests.pipeline import slow_stage
rejecting = {"pause_s": 0.05, "passing": 30, "reason": "failed"}
print(slow_stage.run(Path("out"), context=rejecting).counts())
"""


def test_two_nodes_write_the_names_and_bytes_that_one_process_writes(
    two: nodes.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    said = answer(two.start(ONCE, cwd=tmp_path / "two"))
    monkeypatch.chdir(tmp_path / "one")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("S2F_WORKERS", "1")
    summary = slow_stage.run(Path("out"), context={"passing": 30, "reason": "failed"})
    assert said == f"{summary.counts()}\n" and summary.counts()["rejects"]["failed"] == 1
    for folder in ("out", ".work/shards/slow", "data/rejects"):
        assert contents(tmp_path / "one" / folder) == contents(tmp_path / "two" / folder)
    assert not partials(tmp_path)


ERRORS = """
import json, os, sys
from pathlib import Path
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.plan import Plan
from tests.pipeline import slow_stage

def attempt(folder, stage, function, settings, context, on_device=False):
    os.chdir(folder)
    try:
        map_shards(Plan(stage, function, lambda: slow_stage.SHARDS, slow_stage.SCHEMA, settings, context, on_device=on_device), None, 0.5)
        error = None
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    left = [str(path) for path in Path().rglob("*.partial")]
    whole = [path.stat().st_size > 100 for path in Path().rglob("*.parquet")]
    print(json.dumps([error, left, whole]), flush=True)

top = Path(sys.argv[1])
square, settings = slow_stage.square, slow_stage.Settings()
attempt(top / "full", "full", square, settings, {})
attempt(top / "blind", "blind", square, settings, {})
sys.path.insert(0, str(top / "ours"))
import computing
attempt(top, "theirs", computing.times, computing.Settings(), {})
import lacking
attempt(top, "lacking", lacking.times, lacking.Settings(), {})
attempt(top, "facts", computing.facts, computing.Settings(), {}, on_device=True)
"""


@pytest.fixture(scope="module")
def errors(two: nodes.Cluster) -> dict[str, tuple[str, list[str], list[bool]]]:
    """What a driver was told in each case, which partial files were left, and whether each finished one has something in it."""
    (two.folder / "facts").mkdir()
    for name, factor in (("ours", 2), ("theirs", 3)):
        (two.folder / name / "computing.py").write_text(COMPUTING.format(factor=factor))
    (two.folder / "ours" / "lacking.py").write_text(COMPUTING.format(factor=2))
    paths = f"{ROOT / 'src'}:{ROOT}:{two.folder / 'ours'}"
    variables = {"PYTHONPATH": paths, "DVC_ROOT": ".", "S2F_FACE_LIBRARY": "torch"}
    said = answer(two.start(ERRORS, str(two.folder), cwd=two.folder, **variables))
    return dict(zip(("full", "blind", "theirs", "lacking", "facts"), map(json.loads, said.splitlines()), strict=True))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("full", r"OSError: \[Errno 28\] .*No space left on device"),
        (
            "blind",
            r"RuntimeError: node \S+ \(127.0.0.1\) does not see /tmp/\S+/shards/blind, or .*: mount the same shared file system there",
        ),
        (
            "theirs",
            r"RuntimeError: node \S+ \(127.0.0.1\) has another version .* \(code of computing: changed\); give it the same .*",
        ),
        (
            "lacking",
            r"RuntimeError: node \S+ \(127.0.0.1\) cannot import .* \(No module named 'lacking'\); install there what is .*",
        ),
    ],
)
def test_what_a_node_cannot_do_is_one_line_and_leaves_no_partial_file(
    errors: dict[str, tuple[str, list[str], list[bool]]], case: str, said: str
):
    error, left, whole = errors[case]
    assert re.fullmatch(said, error)
    assert left == [] and all(whole)


def test_a_worker_runs_where_the_stage_runs_and_knows_its_settings(
    two: nodes.Cluster, errors: dict[str, tuple[str, list[str], list[bool]]]
):
    assert errors["facts"][0] is None
    parents, folders, threads, devices, variables = zip(
        *[ast.literal_eval(path.read_text()) for path in (two.folder / "facts").iterdir()], strict=True
    )
    assert len(folders) == len(slow_stage.SHARDS) and len(set(parents)) == 2, "both nodes have taken part"
    assert (set(folders), set(threads), set(devices)) == ({str(two.folder)}, {1}, {"cpu"})
    expected = {"S2F_FACE_LIBRARY": "torch", "S2F_DEVICE": "cpu", "DVC_ROOT": str(two.folder)}
    assert all(found == expected for found in variables)


INTERRUPTED = """
import sys
from pathlib import Path
from speech2face.pipeline.stage import run_stage
from tests.pipeline import slow_stage
sys.argv = ["slow", "--params", sys.argv[1]]
run_stage(lambda params: slow_stage.run(Path("out"), context={"pause_s": 1.0}).line(), None)
"""


def test_an_interrupted_stage_leaves_no_process_and_no_partial_file(two: nodes.Cluster, tmp_path: Path):
    driver = two.start(INTERRUPTED, str(ROOT / "params.yaml"), cwd=tmp_path)
    wait_for(lambda: partials(tmp_path) and any(partials(folder) for folder in partials(tmp_path) if folder.is_dir()))
    workers = two.processes("ray::slow")
    assert workers
    [inside] = psutil.Process(driver.pid).children()
    inside.send_signal(signal.SIGINT)
    assert answer(driver, status=130) == ""
    wait_for(lambda: not any(worker.is_running() for worker in workers), seconds=10)
    assert not two.processes("ray::slow") and not partials(tmp_path)


RUN_STAGES = """
import runpy, sys
stages = sys.argv[1:]
for stage in stages:
    sys.argv = [stage]
    runpy.run_path(stage, run_name="__main__")
"""
SCRIPTS = [str(ROOT / "stages" / f"{name}.py") for name in ("segment_audio", "crop_faces", "extract_features")]
TABLES = ("spectrograms", "faces", "features")


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same listed corpus of six clips, each with a voice and a picture; one lacks a face."""
    rng, rows = np.random.default_rng(0), []
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for number, picture in enumerate(sorted(FACES_FOLDER.glob("*.jpg"))[:6]):
        name = f"s{number}"
        write_wav(recordings / f"{name}.wav", rng.normal(0, 0.1, 32_000).astype(np.float32))
        shutil.copyfile(picture, recordings / f"{name}.jpg")
        split = ("train", "val", "test")[number % 3]
        rows.append(
            {
                "clip_id": f"{name}/v/0",
                "speaker_id": name,
                "audio_path": f"{name}.wav",
                "image_paths": f"{name}.jpg",
                "split": split,
            }
        )
    Image.new("RGB", (200, 200)).save(recordings / "s5.jpg")
    pd.DataFrame(rows).to_csv(recordings / "list.csv", index=False)
    text = (ROOT / "params.yaml").read_text("utf-8")
    changes = {"  source: synthetic": "  source: manifest", "  root: null": f"  root: {recordings / 'list.csv'}"}
    changes |= {"    by: hash": "    by: column", "clips_per_shard: 32": "clips_per_shard: 1"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
        (folder / "params.yaml").write_text(text, "utf-8")
    return folders


def test_stages_of_which_a_node_dies_write_what_one_machine_writes(two: nodes.Cluster, corpus: tuple[Path, Path]):
    alone, together = corpus
    environment = nodes.clean() | {"PYTHONPATH": str(ROOT / "src"), "S2F_WORKERS": "1"}
    one = subprocess.Popen(
        [sys.executable, "-c", RUN_STAGES, str(ROOT / "stages" / "make_corpus.py"), *SCRIPTS],
        cwd=alone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    expected = closing_lines(answer(one))[1:]
    (together / "data").mkdir()
    for name in ("corpus", "speakers.parquet"):
        (together / "data" / name).symlink_to(alone / "data" / name)
    driver = two.start(RUN_STAGES, *SCRIPTS, cwd=together)
    second = two.second()
    wait_for(lambda: any(worker.ppid() == second.pid for worker in two.processes("ray::crop_faces")))
    for process in [second, *second.children(recursive=True)]:
        process.kill()
    assert closing_lines(answer(driver)) == expected
    assert [line.split(", ")[-1] for line in expected] == ["6 of 6 shards computed"] * 3
    for name in TABLES:
        assert contents(together / "data" / name) == contents(alone / "data" / name)
    for script in SCRIPTS:
        rejects = f"data/rejects/{Path(script).stem}.parquet"
        assert (together / rejects).read_bytes() == (alone / rejects).read_bytes()
    assert not partials(together)


def closing_lines(text: str) -> list[str]:
    """What stages said at their end, without the seconds that they took."""
    return re.findall(r"^(\w+: .*), [\d.]+ s$", text, re.MULTILINE)
