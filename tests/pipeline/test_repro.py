"""The whole pipeline through DVC, on six synthetic speakers, in a clone of the repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from speech2face.face_networks.arcface import load_arcface
from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network
from tests.face_networks.test_arcface import write_recognition

ROOT = Path(__file__).parents[2]
STAGES = [
    "make_corpus",
    "segment_audio",
    "crop_faces",
    "extract_features",
    "train_decoder",
    "train_encoder",
    "evaluate",
]
SMALL = {
    "num_speakers: 200": "num_speakers: 6",
    "samples_per_pixel: 6": "samples_per_pixel: 4",
    "clips_per_shard: 32": "clips_per_shard: 2",
    "    val: 0.1": "    val: 0.34",
    "    test: 0.25": "    test: 0.33",
    "  epochs: 16": "  epochs: 1",
    "  epochs: 14": "  epochs: 2",
    "  batch_size: 8": "  batch_size: 2",
    "  resamples: 2000": "  resamples: 100",
}
pytestmark = pytest.mark.slow


class Clone:
    """A clone of the repository with what is not committed yet, and a small corpus."""

    def __init__(self, path: Path) -> None:
        self.path = path
        run(["git", "clone", "--quiet", str(ROOT), str(path)], ROOT)
        tracked = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).stdout.split("\0")
        for name in filter(None, tracked):
            if (ROOT / name).is_file():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, path / name)
        params = (path / "params.yaml").read_text()
        for old, new in SMALL.items():
            assert old + "\n" in params, old
            params = params.replace(old + "\n", new + "\n")
        (path / "params.yaml").write_text(params)
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--message", "six speakers")

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run(list(command), self.path)

    def metrics(self) -> dict:
        return json.loads((self.path / "results/evaluation/metrics.json").read_text())


def environment() -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "S2F"))}
    return clean | who | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [name for name in STAGES if f"Running stage '{name}'" in done.stdout]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("clone") / "speech2face")
    assert ran(made("dvc", "repro")) == STAGES
    made("git", "add", "--all")
    made("git", "commit", "--quiet", "--message", "run")
    return made


def test_one_command_makes_everything(clone: Clone):
    for name in (
        "models/encoder/encoder.safetensors",
        "models/decoder/decoder.safetensors",
        "results/evaluation/report.html",
    ):
        assert (clone.path / name).stat().st_size > 10_000
    assert clone.metrics()["gallery_size"] >= 2
    assert "metrics.json" not in clone("git", "status", "--short").stdout
    ignored = clone("git", "check-ignore", "data/corpus", "data/faces", "models/encoder", ".work").stdout.split()
    assert len(ignored) == 4  # neither recordings nor weights get into git


def test_a_second_run_runs_nothing(clone: Clone):
    done = clone("dvc", "repro")
    assert ran(done) == []
    assert "up to date" in done.stdout
    assert clone("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_a_learning_rate_reruns_the_last_two_stages_and_the_metrics_differ(clone: Clone):
    done = clone("dvc", "exp", "run", "-S", "lr=0.00003", "--name", "slower")
    assert ran(done) == ["train_encoder", "evaluate"]
    assert "lr: 3e-05" in (clone.path / "params.yaml").read_text()
    encoder = json.loads((clone.path / "results/encoder/metrics.json").read_text())
    assert encoder["lr"] == 3e-5
    difference = json.loads(clone("dvc", "metrics", "diff", "--json").stdout)
    assert difference["results/encoder/metrics.json"]["lr"]["new"] == 3e-5
    assert difference["results/evaluation/metrics.json"]
    clone("git", "checkout", "--quiet", "--", ".")
    clone("dvc", "checkout", "--quiet")


def narrow_weights(backend: str, folder: Path) -> tuple[Path, int]:
    """Untrained weights of a face network, and the number of its features."""
    torch.manual_seed(0)
    if backend == "arcface":
        folder = folder / "pack"
        folder.mkdir()
        write_recognition(folder / "recognition.onnx")
        return folder, load_arcface(folder).feature_dim
    torch.save(VggFace((4, 8, 16, 32, 32), 48, 40, 32).state_dict(), folder / "vgg_face.pth")
    return folder / "vgg_face.pth", 40


@pytest.mark.parametrize("backend", ["vgg_face", "arcface"])
def test_another_face_network_changes_the_whole_chain(clone: Clone, tmp_path: Path, backend: str):
    weights, feature_dim = narrow_weights(backend, tmp_path)
    done = clone("dvc", "exp", "run", "-S", f"features.backend={backend}", "-S", f"features.weights={weights}")
    assert ran(done) == STAGES[3:]
    encoder = load_network(VoiceEncoder, clone.path / "models/encoder/encoder")
    decoder = load_network(FaceDecoder, clone.path / "models/decoder/decoder")
    assert encoder.fc2.out_features == decoder.feature_dim == feature_dim != 128
    assert 0 <= clone.metrics()["recall_at_10_percent"] <= 1
    clone("git", "checkout", "--quiet", "--", ".")
    clone("dvc", "checkout", "--quiet")


def test_a_misspelt_parameter_stops_before_anything_runs(clone: Clone):
    path = clone.path / "params.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("  margin:", "  margn:"))
        command = ["dvc", "repro"]
        done = subprocess.run(command, cwd=clone.path, env=environment(), capture_output=True, text=True)
        assert done.returncode != 0
        message = [line for line in done.stderr.splitlines() if "margn" in line and "did you mean margin" in line]
        assert message or "margin" in done.stderr  # dvc itself may notice a tracked key that is gone
        assert "Traceback" not in done.stderr
    finally:
        path.write_text(text)


def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(clone: Clone):
    out = clone.path / "data/spectrograms"
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    store = clone.path / ".work/shards/segment_audio"
    shutil.rmtree(store)
    command = [sys.executable, "stages/segment_audio.py"]
    settings = environment() | {"PYTHONPATH": "src", "S2F_WORKERS": "1"}
    process = subprocess.Popen(command, cwd=clone.path, env=settings, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "no shard in time"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = len(list(store.glob("*.parquet")))
    assert finished < len(expected) - 1, "killed too late to show anything"
    done = subprocess.run(command, cwd=clone.path, env=settings, capture_output=True, text=True)
    assert f"{len(expected) - 1 - finished} of {len(expected) - 1} shards computed" in done.stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
