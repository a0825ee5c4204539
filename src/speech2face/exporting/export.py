"""The command `export`: a folder that draws faces from voices without this package and without PyTorch."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from speech2face.audio.extraction import segment_frames, segment_samples
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.drawing.loading import Trained
from speech2face.exporting.networks import UnwarpedDecoder, with_front_end
from speech2face.exporting.onnx_files import OPSET, OnnxNetwork, write_onnx
from speech2face.exporting.readme import readme
from speech2face.exporting.speech2face_onnx import NOTE
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import MIN_FRAMES, NUM_BINS
from speech2face.pipeline.atomic import replacing_folder, write_json, write_text
from speech2face.speaker_networks.backends import open_networks
from speech2face.speaker_networks.table import stretches_s

FORMAT = "speech2face-onnx"
RUNTIME = Path(__file__).with_name("speech2face_onnx.py")
README = "README.md"
ABOUT = "about.json"
LEFT_BY_PYTHON = "__pycache__"
BATCH = {0: ("batch", 1)}


def export_onnx(out: Path, models: Path, version: str) -> str:
    """Write the folder `out`; returns what to print. `version` is this package's, for the page.

    A folder that is there is replaced if it is an earlier export and nothing else lies in it. Raises ValueError if `out` is something
    else, FileNotFoundError or ValueError for models that are missing or damaged, RuntimeError if a file does not do what its network
    does. Nothing is written then.
    """
    target = out.resolve()
    _check_replaceable(out, target)
    loaded = Trained.load(models)
    networks = onnx_networks(loaded)
    with replacing_folder(target) as partial:
        differences = [
            write_onnx(network, partial / f"{name}.onnx", f"speech2face {version}. {NOTE}")
            for name, network in networks.items()
        ]
        shutil.copyfile(RUNTIME, partial / RUNTIME.name)
        about = about_export(loaded, version, [*(f"{name}.onnx" for name in networks), RUNTIME.name, README, ABOUT])
        write_json(partial / ABOUT, about)
        write_text(partial / README, readme(about, {path.name: path.stat().st_size for path in partial.iterdir()}))
    names = ", ".join(f"{name}.onnx" for name in networks)
    return (
        f"{out}: {names}; from PyTorch's, their outputs differ by at most {max(differences):.0e} of the largest value.\n"
        f"To draw a face: python {out / RUNTIME.name} voice.wav face.png\n{NOTE}"
    )


def onnx_networks(models: Trained) -> dict[str, OnnxNetwork]:
    """Each network of an export by the name of its file, with inputs to trace and to compare it on."""
    random = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    networks: dict[str, OnnxNetwork] = {}
    encoder, feature_dim = models.encoder, models.encoder.feature_dim
    if isinstance(encoder, SpeakerEncoder):
        num_samples, num_stretches = segment_samples(models.segment_s), len(stretches_s(models.segment_s))
        opened = open_networks(models.speaker_weights, torch.device("cpu"))
        for name, speaker_network in zip(models.speaker_weights, opened, strict=True):
            network = with_front_end(speaker_network, models.segment_s)
            sounds = [0.1 * noise(batch, num_samples) for batch in (2, 1)]
            networks[name] = OnnxNetwork(network, "waveform", ("embeddings",), sounds[0], sounds[1], BATCH)
        voices = [noise(batch, num_stretches, encoder.embedding_dim) for batch in (2, 3)]
        networks["encoder"] = OnnxNetwork(encoder, "embeddings", ("feature",), voices[0], voices[1], BATCH)
    else:
        frames = segment_frames(models.segment_s)
        heard = [noise(batch, 2, NUM_BINS, size) for batch, size in ((2, MIN_FRAMES + 7), (1, frames))]
        free = {**BATCH, 3: ("frames", MIN_FRAMES)}
        networks["encoder"] = OnnxNetwork(encoder, "spectrogram", ("feature",), heard[0], heard[1], free)
    faces = [encoder.mean_feature + 0.1 * noise(batch, feature_dim) for batch in (2, 3)]
    networks["decoder"] = OnnxNetwork(
        UnwarpedDecoder(models.decoder), "feature", ("landmarks", "texture"), faces[0], faces[1], BATCH
    )
    return networks


def about_export(models: Trained, version: str, files: list[str]) -> dict[str, Any]:
    """What `about.json` says."""
    return {
        "format": FORMAT,
        "speech2face": version,
        "note": NOTE,
        "files": files,
        "opset": OPSET,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "segment_s": models.segment_s,
        "speaker_networks": list(models.speaker_weights),
        "num_stretches": len(stretches_s(models.segment_s)) if models.speaker_weights else None,
        "embedding_dim": models.encoder.embedding_dim if isinstance(models.encoder, SpeakerEncoder) else None,
        "feature_dim": models.encoder.feature_dim,
        "stretch": models.stretch,
        "regularization": models.decoder.regularization,
        "training": {part: _training(about) for part, about in models.about.items()},
        "mean_landmarks": models.decoder.mean_landmarks.tolist(),
        "mean_feature": models.encoder.mean_feature.tolist(),
    }


def _training(about: Mapping[str, Any]) -> dict[str, Any]:
    """Which training a network is of, as far as its file says."""
    history, best = about.get("history", []), about.get("best_epoch")
    found = {"fingerprint": about.get("fingerprint"), "counts": about.get("counts")}
    found["speaker_networks"] = about.get("speaker_networks")
    if history:
        measured = {name: value for name, value in history[best].items() if name.startswith("val/")}
        found |= {"epochs": len(history), "best_epoch": best, "validation": measured}
    return {name: value for name, value in found.items() if value is not None}


def _check_replaceable(out: Path, target: Path) -> None:
    """Raises ValueError unless `target` can be made, or is empty, or is an export with nothing else in it."""
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise ValueError(
            f"{out} cannot be written: {target.parent} must be a folder that exists and that you may write to"
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"{out} is a file: give a folder")
    names = {path.name for path in target.iterdir()}
    if not names:
        return
    try:
        about = json.loads((target / ABOUT).read_text("utf-8"))
        known = set(about["files"]) if about["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known is None:
        raise ValueError(f"{out} is not empty and no export of this command: give another folder, or empty it")
    if strange := sorted(names - known - {LEFT_BY_PYTHON}):
        raise ValueError(f"{out} also holds {strange[0]}, which would be lost: move it away, or give another folder")
