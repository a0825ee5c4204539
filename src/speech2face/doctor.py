"""What is installed, which weights and devices were found, what is missing and how to get it."""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from speech2face.app.command import PACKAGES
from speech2face.dlib_nets.weights import SHA256, model_path
from speech2face.face_networks.backends import weight_digests
from speech2face.pipeline.code import CODE, installed_version
from speech2face.pipeline.machine import device, num_processes, num_workers
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import in_a_line
from speech2face.speaker_networks.backends import needed, weight_file

PYTHONS = ("3.11", "3.12", "3.13")
SETTINGS = (
    "S2F_DEVICE",
    "S2F_WORKERS",
    "S2F_GPUS_PER_WORKER",
    "S2F_CLUSTER",
    "S2F_PROCESSES",
    "S2F_MICRO_BATCH",
    "S2F_FACE_LIBRARY",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report: `ok` is None where nothing can be missing."""

    ok: bool | None
    subject: str
    text: str


def findings(root: Path) -> Iterator[Finding]:
    """Everything that the pipeline in `root` needs, found or missing."""
    supported = "{}.{}".format(*sys.version_info) in PYTHONS
    needs = f"; needs {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}"
    yield Finding(supported, "python", platform.python_version() + ("" if supported else needs))
    try:
        pins = [line.partition("#")[0].strip() for line in (root / "requirements.txt").read_text("utf-8").splitlines()]
        yield from (_package(*pin.split("==")) for pin in pins if pin)
    except FileNotFoundError:
        yield Finding(False, "requirements.txt", f"not in {root.resolve()}; run in the repository, or give --root")
    yield _page()
    yield _ray()
    for name in SHA256:
        yield _try(name, lambda name=name: f"found, sha256 as expected ({model_path(name)})")  # type: ignore[misc]
    yield _try("device", lambda: f"{device()}{_gpus()}")
    yield _try("bfloat16", _bfloat16)
    yield _try("workers", lambda: f"{num_workers()} processes, {torch.get_num_threads()} threads in one")
    yield _try("training", lambda: f"{num_processes(device())} processes for one network")
    for name in SETTINGS:
        yield Finding(None, name, os.environ.get(name, "not set; the default is used"))
    yield _try("params.yaml", lambda: f"valid, corpus.source is {load_params(root / 'params.yaml').corpus.source}")
    if (root / "params.yaml").exists():
        yield _try(
            "features", lambda: "found: " + ", ".join(weight_digests(load_params(root / "params.yaml").features))
        )
        yield from _speaker_networks(root)
    for path in sorted((root / CODE).glob("*.json")):
        yield from _stage_libraries(path)
    for name in ("decoder", "encoder"):
        path = root / "models" / name / f"{name}.safetensors"
        yield Finding(
            None,
            f"{name} weights",
            f"found ({path})" if path.exists() else "not trained yet; run: dvc repro, or dvc pull",
        )


def report(root: Path) -> tuple[str, bool]:
    """The findings as text, a line each, and whether the pipeline can run."""
    found = list(findings(root))
    marks = {True: "ok", False: "MISSING", None: "-"}
    lines = [f"{marks[f.ok]:8}{f.subject:42}{f.text}" for f in found]
    healthy = all(f.ok is not False for f in found)
    lines.append(
        "Everything that the pipeline needs is here." if healthy else "Fix what is marked MISSING, then run this again."
    )
    return "\n".join(lines), healthy


def _package(name: str, pinned: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(False, name, "not installed; run: make setup, or pip install -r requirements.txt")
    return Finding(True, name, found if found == pinned else f"{found}; tested with {pinned}")


def _page() -> Finding:
    """The packages of the page, which only `speech2face serve` needs."""
    try:
        found = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    except PackageNotFoundError as error:
        found = f"{error.name} is not installed, which only serve needs; run: make setup, or pip install -r requirements-app.txt"
    return Finding(None, "page (speech2face serve)", found)


def _ray() -> Finding:
    """What extraction on several machines needs, which only S2F_CLUSTER asks for."""
    try:
        return Finding(None, "ray (several machines)", version("ray"))
    except PackageNotFoundError:
        wanted = "S2F_CLUSTER" in os.environ
        remedy = "not installed, which only S2F_CLUSTER needs; run: pip install -r requirements-cluster.txt"
        return Finding(False if wanted else None, "ray (several machines)", remedy)


def _speaker_networks(root: Path) -> Iterator[Finding]:
    """The weights of the speaker networks, which only `encoder.network: speaker_embedding` and `encoder.weights.teacher` need."""
    try:
        encoder = load_params(root / "params.yaml").encoder
    except ValueError:
        return  # the line on params.yaml says it
    for name in encoder.speaker_embedding.networks:
        found = _try(f"speaker network {name}", lambda name=name: f"found ({weight_file(name)})")  # type: ignore[misc]
        if not found.ok and not needed(encoder):
            found = Finding(None, found.subject, f"not needed for encoder.network: published; {found.text}")
        yield found


def _stage_libraries(path: Path) -> Iterator[Finding]:
    """A line where a stage's results are made from other versions of its libraries than are installed, which DVC does not see."""
    try:
        recorded = json.loads(path.read_text("utf-8"))["libraries"]
    except (ValueError, KeyError, TypeError):
        yield Finding(None, path.stem, f"{path} is damaged; run: dvc repro --force --single-item code")
        return
    others = [f"{name} {version}" for name, version in recorded.items() if installed_version(name) != version]
    if others:
        remedy = "to make them with what is installed: dvc repro --force --single-item code, then dvc repro"
        yield Finding(None, path.stem, f"its results are of {', '.join(others)}; {remedy}")


def _try(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(True, subject, check())
    except (ValueError, OSError, RuntimeError) as error:
        return Finding(False, subject, in_a_line(str(error)) or type(error).__name__)


def _bfloat16() -> str:
    if device().type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # whether oneDNN, which computes convolutions, has code for it
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "fast here: precision bfloat16 pays" if fast else "slow here: train with precision float32"


def _gpus() -> str:
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f" ({', '.join(names)})" if names else ", no GPU found"
