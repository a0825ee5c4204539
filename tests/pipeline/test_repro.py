"""The whole pipeline through DVC, on six synthetic speakers, in a clone of the repository."""

import fcntl
import json
import math
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.encoders import load_encoder
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network
from tests.face_networks.test_arcface import write_recognition
from tests.pipeline.clones import STAGES, Clone, Run, environment

pytestmark = pytest.mark.slow


def test_one_command_makes_everything(clone: Clone):
    for name in (
        "models/encoder/encoder.safetensors",
        "models/decoder/decoder.safetensors",
        "results/evaluation/report.html",
    ):
        assert (clone.path / name).stat().st_size > 10_000
    assert clone.metrics()["test_speakers"] >= 2
    assert clone("git", "status", "--short").stdout == ""
    names = ("data/corpus", "data/recordings", "data/speakers.parquet", "data/faces", "models/encoder", ".work")
    assert clone("git", "check-ignore", *names).stdout.split() == list(
        names
    )  # neither recordings nor weights get into git


def test_a_second_run_runs_nothing(clone: Clone):
    found = clone.repro()
    assert found.stages == []
    assert "up to date" in found.text
    assert clone("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_a_learning_rate_reruns_the_last_two_stages_and_the_metrics_differ(clone: Clone):
    found = Run(clone("dvc", "exp", "run", "-S", "lr=0.00003", "--name", "slower"))
    assert found.stages == ["train_encoder", "evaluate"]
    assert "lr: 3e-05" in (clone.path / "params.yaml").read_text()
    encoder = json.loads((clone.path / "results/encoder/training.json").read_text())
    per_epoch = found.steps["train_encoder"] // encoder["epochs"]
    of_best = range((encoder["best_epoch"] - 1) * per_epoch, encoder["best_epoch"] * per_epoch)
    cosines = [math.cos(math.pi * step / found.steps["train_encoder"]) for step in of_best]
    assert encoder["lr"] == pytest.approx(3e-5 * sum(1 + cosine for cosine in cosines) / 2 / per_epoch)
    table = clone("dvc", "metrics", "diff", "--all").stdout.splitlines()
    assert 8 <= len(table) <= 24 and max(map(len, table)) <= 120  # fits a screen
    shown = json.loads(clone("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert list(shown) == ["results/evaluation/metrics.json"]
    numbers = shown["results/evaluation/metrics.json"]["data"]
    assert next(iter(numbers)) == "recall_at_10_percent" and len(numbers) <= 20
    assert all(isinstance(value, int | float) for value in numbers.values())
    # `make experiments`, without setting up an environment first
    command = next(line for line in (clone.path / "Makefile").read_text().splitlines() if "dvc exp show" in line)
    rows = clone(
        "env", "COLUMNS=160", *shlex.split(command.replace("$(RUN)", "").replace("$$", "$"))
    ).stdout.splitlines()
    assert max(map(len, rows)) <= 160 and "…" not in "".join(rows)
    assert any(" lr " in line for line in rows) and any("slower" in line for line in rows)
    # In a terminal `less` shows the left part of lines and scrolls to the right.
    rows = [line[:160] for line in in_terminal(clone, "dvc", "exp", "show") if line.strip()]
    assert "…" not in "".join(rows)
    header = next(line for line in rows if "Experiment" in line)
    assert re.search(r"Experiment +Created +recall_at_10_percent +chance +one_of_two", header)
    assert any("slower" in line and re.search(r"[01]\.?\d*", line) for line in rows)
    clone.reset()


def in_terminal(clone: Clone, *command: str) -> list[str]:
    """What a command gives the pager in a terminal of 160 columns, line by line, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    settings = environment() | {"DVC_PAGER": "cat", "TERM": "xterm"}
    with subprocess.Popen(
        [shutil.which(command[0], path=settings["PATH"]), *command[1:]],
        cwd=clone.path,
        env=settings,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how the end of a terminal reads
            while part := os.read(ours, 1 << 16):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).splitlines()


def narrow_weights(backend: str, folder: Path) -> tuple[Path, int]:
    """Untrained weights of a face network, and the number of its features."""
    torch.manual_seed(0)
    if backend == "arcface":
        folder = folder / "pack"
        folder.mkdir()
        write_recognition(folder / "recognition.onnx")
        return folder, 512
    torch.save(VggFace((4, 8, 16, 32, 32), 48, 40, 32).state_dict(), folder / "vgg_face.pth")
    return folder / "vgg_face.pth", 40


@pytest.mark.parametrize("backend", ["vgg_face", "arcface"])
def test_another_face_network_changes_the_whole_chain(clone: Clone, tmp_path: Path, backend: str):
    weights, feature_dim = narrow_weights(backend, tmp_path)
    settings = ["-S", f"features.backend={backend}", "-S", f"features.weights={weights}"]
    assert Run(clone("dvc", "exp", "run", *settings)).stages == STAGES[STAGES.index("extract_features") :]
    encoder = load_network(VoiceEncoder, clone.path / "models/encoder/encoder")
    decoder = load_network(FaceDecoder, clone.path / "models/decoder/decoder")
    assert encoder.fc2.out_features == decoder.feature_dim == feature_dim != 128
    assert 0 <= clone.metrics()["recall_at_10_percent"] <= 1
    clone.reset()


def test_the_encoder_of_speaker_embeddings_hears_a_table_of_its_own(clone: Clone):
    assert not list((clone.path / "data/embeddings").glob("shard-*"))  # the published network asks for none
    assert "is empty" not in clone("dvc", "repro", "--force", "--single-item", "train_encoder").stderr
    run = Run(clone("dvc", "exp", "run", "-S", "encoder.network=speaker_embedding"))
    assert run.stages == ["embed_voices", "train_encoder", "evaluate"]
    assert run.computed == {"embed_voices": 12} and run.steps["train_encoder"] > 0
    assert isinstance(load_encoder(clone.path / "models"), SpeakerEncoder)
    assert 0 <= clone.metrics()["recall_at_10_percent"] <= 1
    assert "speaker embeddings (campplus)" in (clone.path / "docs/model-card.md").read_text("utf-8")
    face = clone.path / "face.png"
    voice = next((clone.path / "data/recordings").rglob("*.wav"))
    clone("env", "PYTHONPATH=src", "python", "-m", "speech2face.cli", "predict", str(voice), "-o", str(face))
    assert face.is_file()
    clone.reset()


def test_a_misspelt_parameter_stops_before_anything_runs(clone: Clone):
    clone.edit("params.yaml", "  margin:", "  margn:")
    try:
        done = subprocess.run(["dvc", "repro"], cwd=clone.path, env=environment(), capture_output=True, text=True)
        assert done.returncode != 0 and "shards computed" not in done.stdout
        assert "faces.margn is not a parameter (did you mean margin?)" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        clone.reset()


def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(clone: Clone):
    # Shards that are nowhere yet, because they are made with another setting.
    clone.edit("params.yaml", "decode_limit_s: 300.0", "decode_limit_s: 299.0")
    out, store = clone.path / "data/spectrograms", clone.path / ".work/shards/segment_audio"
    known = set(store.iterdir())
    command = [sys.executable, "stages/segment_audio.py"]
    settings = environment() | {"PYTHONPATH": "src", "S2F_WORKERS": "1"}

    def finished() -> list[Path]:
        return [path for path in store.glob("*.parquet") if path not in known]

    process = subprocess.Popen(command, cwd=clone.path, env=settings, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(finished()) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "no shard in time"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(finished())
    assert kept < 12, "killed too late to show anything"
    again = ["env", "PYTHONPATH=src", "python", command[-1]]
    assert f" {12 - kept} of 12 shards computed" in clone(*again).stdout
    resumed = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(out)
    for path in finished():
        path.unlink()
    assert " 12 of 12 shards computed" in clone(*again).stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == resumed
    clone.reset()
