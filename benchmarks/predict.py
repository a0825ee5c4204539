"""How many faces a second `speech2face predict` draws of a folder of recordings, after loading, and what each part of it takes.

    python benchmarks/predict.py [number of recordings] [--models models]

Recordings of 6 s, 16-bit wav at 16 kHz, noise. Without --models: the published network and the decoder at the default run's widths,
with random weights. Wall clock time of all together, as many threads as there are processors; and milliseconds of each part for one
recording with one thread, the median of ten.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from speech2face.drawing.model import Speech2Face  # noqa: E402
from speech2face.models.face_decoder import FaceDecoder  # noqa: E402
from speech2face.models.voice_encoder import VoiceEncoder  # noqa: E402
from speech2face.models.weight_files import save_network  # noqa: E402
from speech2face.pipeline.params import load_params  # noqa: E402
from speech2face.predict import predict  # noqa: E402

CLIP_S, RATE_HZ, ROUNDS = 6.0, 16_000, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=100, help="number of recordings (default: %(default)s)")
    parser.add_argument("--models", type=Path, help="folder of trained models (default: random weights)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models or random_models(Path(folder) / "models")
        voices = [noise(Path(folder) / "voices" / f"{number:04d}.wav", number) for number in range(arguments.count)]
        device = torch.device("cpu")
        model = Speech2Face.load(models, device)
        started = time.monotonic()
        Speech2Face.load(models, device)
        loading_s = time.monotonic() - started
        started = time.monotonic()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            predict(voices, Path(folder) / "faces", models, device)
        drawing_s = time.monotonic() - started - loading_s
        print(f"{len(voices)} recordings: {len(voices) / drawing_s:.1f} a second after loading ({loading_s:.1f} s)")
        show_parts(model, voices[0])


def show_parts(model: Speech2Face, voice: Path) -> None:
    torch.set_num_threads(1)
    (segment,) = model.heard(voice)
    features = model.features_of([segment])[None]
    picture = Image.fromarray(model.faces(features)[0])
    parts: dict[str, Callable[[], object]] = {
        "decoding": lambda: list(model.heard(voice)),
        "encoder": lambda: model.features_of([segment]),
        "decoder and warp": lambda: model.faces(features),
        "png": lambda: picture.save(io.BytesIO(), "png"),
    }
    for name, part in parts.items():
        print(f"{name:>18}: {1000 * statistics.median(timed(part) for _ in range(ROUNDS)):6.1f} ms")


def timed(part: Callable[[], object]) -> float:
    started = time.perf_counter()
    part()
    return time.perf_counter() - started


def random_models(root: Path) -> Path:
    params = load_params(ROOT / "params.yaml")
    sizes = {"feature_dim": 128, "base_channels": params.encoder.base_channels, "hidden_dim": params.encoder.hidden_dim}
    save_network(VoiceEncoder(**sizes), root / "encoder" / "encoder", {"segment_s": CLIP_S}, **sizes)
    widths = {"feature_dim": 128, "texture_channels": params.decoder.texture_channels}
    decoder = FaceDecoder(texture=params.decoder.texture, **widths)
    y, x = torch.meshgrid(torch.linspace(40, 180, 9)[:8], torch.linspace(40, 180, 9), indexing="ij")
    decoder.set_means(torch.stack([x.flatten(), y.flatten()], 1)[:68])
    save_network(decoder, root / "decoder" / "decoder", texture=params.decoder.texture, **widths)
    return root


def noise(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 0.1, round(CLIP_S * RATE_HZ)).clip(-1, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


if __name__ == "__main__":
    main()
