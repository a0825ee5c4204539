"""What a GPU does in a second: training steps and extraction of every stage that has networks.

python benchmarks/gpu.py [--device cuda] [--quick]

All networks have their published or default sizes; weights are random where none come with a package, which take the same time. Inputs
are on the device already: reading and decoding are other benchmarks. On a CPU, --quick takes networks of an eighth of the width.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import chain

import torch

from speech2face.dlib_nets.detector import load_detector
from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.face_networks.vgg_face import VggFace
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline import machine
from vgg_face import best_s

FRAMES, REPEATS = 601, 10
PRECISIONS = ("float32", "bfloat16")


def encoder_step(device: torch.device, batch: int, width: int, precision: str) -> Callable[[], None]:
    network = VoiceEncoder(width, 4096, 64 * width).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
    clips = torch.randn(batch, 2, 257, FRAMES, device=device).contiguous(memory_format=torch.channels_last)
    target = torch.randn(batch, 4096, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            predicted = network(clips)
        (predicted.float() - target).abs().mean().backward()
        optimizer.step()

    return step


def decoder_step(device: torch.device, batch: int, precision: str) -> Callable[[], None]:
    network, embedder = FaceDecoder(128), DlibResnet().to(device)
    y, x = torch.meshgrid(torch.linspace(50, 170, 8), torch.linspace(50, 170, 9), indexing="ij")
    network.set_means(torch.stack([x.flatten(), y.flatten()], 1)[:68])
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
    features = torch.randn(batch, 128, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            decoded = network(features)
        seen = embedder.embed(decoded.image.clamp(0, 1), decoded.landmarks)
        (decoded.image.abs().mean() - seen.mean()).backward()
        optimizer.step()

    return step


def training_rates(device: torch.device, quick: bool) -> Iterator[tuple[str, float]]:
    """Name of each training and its examples a second."""
    for precision in PRECISIONS if device.type == "cuda" else PRECISIONS[:1]:
        for batch in (8,) if quick else (8, 32, 128):
            step = encoder_step(device, batch, 8 if quick else 64, precision)
            yield f"train_encoder, {precision}, batch {batch}: clips of 6 s", batch / best_s(step, device, REPEATS)
            if batch < 128:
                step = decoder_step(device, batch, precision)
                yield f"train_decoder, {precision}, batch {batch}: faces", batch / best_s(step, device, REPEATS)


@torch.inference_mode()
def extraction_rates(device: torch.device, quick: bool) -> Iterator[tuple[str, float]]:
    """Name of each extraction and its pictures a second."""
    detector, side = load_detector(device=device), 128 if quick else 224
    for batch in (1, 16):
        images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=device)
        yield (
            f"crop_faces, batch {batch}: pictures of {side} px",
            batch / best_s(lambda i=images: detector(i), device, REPEATS),
        )
    crops, landmarks = torch.rand(16, 3, 224, 224, device=device), torch.rand(16, 68, 2, device=device) * 120 + 50
    embedder = DlibResnet().to(device)
    yield (
        "extract_features, dlib_resnet, batch 16: crops",
        16 / best_s(lambda: embedder.embed(crops, landmarks), device, REPEATS),
    )
    network = (VggFace((8,) * 5, 64, 64, 8) if quick else VggFace()).to(device).eval()
    yield "extract_features, vgg_face, batch 16: crops", 16 / best_s(lambda: network.embed(crops), device, REPEATS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="narrow networks, one batch size")
    arguments = parser.parse_args()
    machine.device()  # full float32, as in the stages
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}")
    for part, rate in chain(training_rates(device, arguments.quick), extraction_rates(device, arguments.quick)):
        print(f"{part:64} {rate:10.1f} a second", flush=True)
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
