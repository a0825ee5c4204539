"""What a GPU does in a second: every stage that has networks, and how much of what the card can do that is.

    python benchmarks/gpu.py [--device cuda] [--size full] [--seconds 2] [--write docs/scale.md] [--json FILE]

Prints a Markdown table. --write puts it between the marks of docs/scale.md that are for this kind of device, --json writes a line of
JSON for each row. Networks have the sizes of params.yaml, or those of the paper; weights are random where none come with a package, which
take the same time. `GFLOP` is what a clip, face or picture takes, counted on the real networks (torch.utils.flop_counter: convolutions
and matrix products, those with padding included, forward and backward). `share` is that, times what is done in a second, of the fastest
product of large square matrices on this device in the same precision, measured here. Rows of whole stages read files from the system's
cache, decode, and write nothing; those of networks alone begin with what is in the CPU's memory. On processors, seconds are those of
processor time.
"""

import argparse
import json
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.dlib_nets.pictures import background, head  # noqa: E402
from tests.speaker_networks.sounds import voice  # noqa: E402

from loader import write_tables  # noqa: E402
from speech2face.audio.extraction import segment_samples  # noqa: E402
from speech2face.audio.table import STORED  # noqa: E402
from speech2face.dlib_nets.detector import load_detector  # noqa: E402
from speech2face.face_networks.dlib_resnet import DlibResnet  # noqa: E402
from speech2face.face_networks.extraction import feature_shard, to_crops  # noqa: E402
from speech2face.face_networks.vgg_face import VggFace  # noqa: E402
from speech2face.faces.extraction import face_shard  # noqa: E402
from speech2face.faces.table import FACES  # noqa: E402
from speech2face.models.face_decoder import FaceDecoder  # noqa: E402
from speech2face.models.head import LinearHead  # noqa: E402
from speech2face.pipeline import machine  # noqa: E402
from speech2face.pipeline.params import Encoder, Params, load_params  # noqa: E402
from speech2face.pipeline.shards import write_shard  # noqa: E402
from speech2face.speaker_networks.backends import SOURCES, converted_weights, open_networks  # noqa: E402
from speech2face.speaker_networks.extraction import Embedding, embed, embedding_shard  # noqa: E402
from speech2face.training.canonical import CanonicalFaces  # noqa: E402
from speech2face.training.decoder import DecoderInputs, decoder_task  # noqa: E402
from speech2face.training.encoder import EncoderInputs, encoder_task, to_input  # noqa: E402
from speech2face.training.loop import State, Task, steps  # noqa: E402
from speech2face.training.pairs import Pairs, Targets, read_targets  # noqa: E402

PRECISIONS = ("float32", "tf32", "bfloat16")
ROUNDS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `matrix`: side of the matrices of the product; batches of each kind, the last of an encoder's with
    torch.compile as well; `pictures`, `clips`, `recordings`: numbers of files or rows of the whole stages."""

    matrix: int = 8192
    precisions: tuple[str, ...] = PRECISIONS
    encoder_batches: tuple[int, ...] = (8, 64)
    paper_batches: tuple[int, ...] = (8, 64)
    decoder_batches: tuple[int, ...] = (8, 32)
    picture_sizes: tuple[tuple[int, int], ...] = ((224, 224), (640, 480))
    detector_batches: tuple[int, ...] = (1, 16)
    crop_batches: tuple[int, ...] = (16, 128)
    voice_batches: tuple[int, ...] = (1, 32)
    frames: int = 601
    clips: int = 1024
    pictures: int = 1024
    recordings: int = 512
    narrow: bool = False


ALONE = {"detector_batches": (1,), "crop_batches": (16,), "voice_batches": (1,), "precisions": ("float32",)}
SIZES = {
    "full": Sizes(),
    "small": Sizes(2048, encoder_batches=(8,), paper_batches=(2,), decoder_batches=(8,), clips=128, pictures=64, recordings=16, **ALONE),
    "tiny": Sizes(
        128, ("float32", "bfloat16"), (2,), (2,), (2,), ((128, 160),), (2,), (2,), (2,), 261, 20, 3, 2, narrow=True
    ),
}  # fmt: skip
"""full: for a GPU. small: on a few processors in some minutes. tiny: networks of a few weights, to see that all of it works."""


@dataclass(frozen=True)
class Row:
    """What was measured: `rate` things a second, None where the memory was too small; `gflop` for each of them; `share` of the peak."""

    part: str
    precision: str
    batch: int | None
    rate: float | None
    unit: str
    gflop: float | None = None
    share: float | None = None
    memory_gib: float | None = None


class Bench:
    """Measures on a device for about `seconds` a row."""

    def __init__(self, device: torch.device, sizes: Sizes, seconds: float, compiler: str | None) -> None:
        self.device, self.sizes, self.seconds, self.compiler = device, sizes, seconds, compiler
        # On processors, the time of all threads, which other work on the machine does not change.
        self.clock = time.perf_counter if device.type == "cuda" else time.process_time
        self.precisions = [name for name in sizes.precisions if name != "tf32" or device.type == "cuda"]
        self.peaks = {name: self.matrix_peak(name) for name in self.precisions}

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def repeats_a_second(self, function: Callable[[], object]) -> float:
        """Best of some rounds, which last `seconds` together, or of one if that lasts longer; once before, to warm up."""
        function()
        self.synchronize()
        best = spent = 0.0
        while not best or spent < self.seconds:
            started, count, passed = self.clock(), 0, 0.0
            while not count or passed < self.seconds / ROUNDS:
                function()
                count += 1
                passed = self.clock() - started
            self.synchronize()
            passed = max(self.clock() - started, 1e-9)
            best, spent = max(best, count / passed), spent + passed
        return best

    def matrix_peak(self, precision: str) -> float:
        """Operations a second of the product of large square matrices, as such or as a convolution of 1 x 1: on processors these are
        computed by two libraries, and either may be faster."""
        size, dtype = self.sizes.matrix, torch.bfloat16 if precision == "bfloat16" else torch.float32
        left, right = (torch.rand(size, size, device=self.device).to(dtype) for _ in range(2))
        pixels, weights = left.T.reshape(1, size, size, 1), right.T.reshape(size, size, 1, 1)
        with tf32(precision == "tf32"), torch.inference_mode():
            ways = (lambda: torch.mm(left, right), lambda: torch.conv2d(pixels, weights))
            return 2 * size**3 * max(map(self.repeats_a_second, ways))

    def row(
        self,
        part: str,
        unit: str,
        count: int,
        build: Callable[[], Callable[[], object]],
        *,
        batch: int | None = None,
        precision: str = "float32",
        gflop: float | None = None,
        once: bool = False,
    ) -> Row:
        """Measure what `build()` returns, which does `count` things whenever it is called; `once`: a single time, and nothing before."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            with tf32(precision == "tf32"):
                function = build()
                if once:
                    started = self.clock()
                    function()
                    rate = count / (self.clock() - started)
                else:
                    rate = count * self.repeats_a_second(function)
        except torch.cuda.OutOfMemoryError:
            return Row(part, precision, batch, None, unit, gflop)
        share = None if gflop is None else gflop * 1e9 * rate / self.peaks[precision]
        memory = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else None
        return Row(part, precision, batch, rate, unit, gflop, share, memory)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let float32 products on a GPU round to TF32, or not."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def gflop_of(function: Callable[[], object]) -> float:
    """Billions of multiplications and additions of the convolutions and matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def stepping(task: Task) -> Callable[[], None]:
    """One training step of the project's loop at each call, on batches that are in memory."""
    batches = list(islice(task.batches(0), 2))
    endless = steps(replace(task, batches=lambda *_: cycle(batches)), State(), 0)
    return lambda: next(endless)


def training_rows(
    bench: Bench, part: str, unit: str, batches: Sequence[int], make: Callable[[int, str], Task], compiler: str | None
) -> Iterator[Row]:
    """Steps of a training at each precision and batch; `make` takes the batch and the precision that the settings have for it. With a
    `compiler`, those of the last batch with torch.compile, too."""
    for batch in batches:
        gflop = gflop_of(stepping(make(batch, "float32"))) / batch
        for precision in bench.precisions:
            row = partial(bench.row, unit=unit, count=batch, batch=batch, precision=precision, gflop=gflop)
            build = partial(make, batch, "bfloat16" if precision == "bfloat16" else "float32")
            yield row(part, build=lambda b=build: stepping(b()))
            if compiler is not None and batch == batches[-1]:
                yield row(f"{part}, compiled", build=lambda b=build: stepping(compiled(b(), compiler)))


def compiled(task: Task, compiler: str) -> Task:
    torch.compiler.reset()
    task.network.compile(backend=compiler, dynamic=False)
    return task


def encoder_rows(bench: Bench, folder: Path, encoders: dict[str, Encoder]) -> Iterator[Row]:
    sizes = bench.sizes
    splits = write_tables(folder, sizes.clips, sizes.frames)
    dim = 128
    inputs = EncoderInputs(
        folder / "spectrograms",
        read_targets(folder / "features", splits),
        FaceDecoder(dim).f_dec,
        LinearHead(dim, len(splits)),
    )
    for name, encoder in encoders.items():
        narrow = {"base_channels": 1, "hidden_dim": 8} if sizes.narrow else {}

        def make(batch: int, precision: str, encoder: Encoder = encoder, narrow: dict[str, int] = narrow) -> Task:
            settings = encoder.model_copy(update={"batch_size": batch, "precision": precision, **narrow})
            return encoder_task(settings, 1e-4, 0, inputs, bench.device)

        width = narrow.get("base_channels", encoder.base_channels)
        heard = min(encoder.crop_frames or sizes.frames, sizes.frames)
        batches = sizes.paper_batches if name == "paper" else sizes.encoder_batches
        yield from training_rows(
            bench, f"train_encoder, width {width}, {heard} frames", "clips", batches, make, bench.compiler
        )
    for stored in STORED:
        part = f"loader, {stored}s of {sizes.frames} frames, table to network's input"
        table = folder / stored
        splits = dict.fromkeys(write_tables(table, sizes.clips, sizes.frames, stored), "train")
        pinned = bench.device.type == "cuda"
        pairs = Pairs(table / "spectrograms", read_targets(table / "features", splits), "train", pinned)

        def load(pairs: Pairs = pairs) -> None:
            for batch in pairs.shuffled(8, 0, 0):
                to_input(batch.heard, bench.device)
            bench.synchronize()

        yield bench.row(part, "clips", len(pairs), lambda run=load: run, batch=8)


def decoder_rows(bench: Bench, params: Params) -> Iterator[Row]:
    rng, dim, backend = np.random.default_rng(0), DlibResnet.feature_dim, DlibResnet(device="cpu")
    y, x = np.meshgrid(np.linspace(50, 170, 8), np.linspace(50, 170, 9), indexing="ij")
    mean = np.stack([x.ravel(), y.ravel()], 1)[:68].astype(np.float32)

    def make(batch: int, precision: str) -> Task:
        people = tuple(f"p{number:03}" for number in range(batch + 2))
        splits = ("train",) * batch + ("val",) * 2
        textures = rng.integers(0, 256, (len(people), 3, 224, 224), dtype=np.uint8)
        landmarks = (mean + rng.normal(size=(len(people), 68, 2))).astype(np.float32)
        masks = np.ones((len(people), 224, 224), bool)
        faces = CanonicalFaces(people, splits, textures, masks, landmarks, mean, len(people), 0)
        index = {f"{person}/v": number for number, person in enumerate(people)}
        features = rng.standard_normal((len(people), dim), np.float32)
        targets = Targets(features, index, dict(zip(people, splits, strict=True)))
        settings = {"batch_size": batch, "precision": precision} | (
            {"texture_channels": 8} if bench.sizes.narrow else {}
        )
        return decoder_task(
            params.decoder.model_copy(update=settings), 0, DecoderInputs(faces, targets, backend), bench.device
        )

    yield from training_rows(bench, "train_decoder", "faces", bench.sizes.decoder_batches, make, None)


def face_rows(bench: Bench, folder: Path, params: Params) -> Iterator[Row]:
    """The detector, crop_faces on pictures with one face, and the face networks."""
    detector, sizes, gflop, rng = load_detector(device=bench.device), bench.sizes, {}, np.random.default_rng(0)
    for width, height in sizes.picture_sizes:
        for batch in sizes.detector_batches:
            images = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8)
            gflop[width] = gflop_of(partial(detector, images)) / batch
            part = f"crop_faces: detector, {width} x {height}"
            yield bench.row(
                part, "pictures", batch, lambda i=images: partial(detector, i), batch=batch, gflop=gflop[width]
            )
    for width, height in sizes.picture_sizes:
        row = write_pictures(folder / f"{width}", rng, width, height, sizes.pictures)
        context = {"root": str(folder / f"{width}"), "device": bench.device}
        shard = partial(face_shard, [row], params.faces.model_copy(update={"keep": sizes.pictures}), context)
        faces = list(shard()) if sizes.pictures < 100 or width == sizes.picture_sizes[0][0] else []  # also to warm up
        if faces:
            write_shard(folder / "faces" / "shard-a.parquet", faces, FACES, {})
        part = f"crop_faces: whole stage, {width} x {height} JPEG"
        yield bench.row(
            part, "pictures", sizes.pictures, lambda s=shard: lambda: list(s()), gflop=gflop[width], once=True
        )
    yield from feature_rows(bench, folder / "faces", params)


def write_pictures(folder: Path, rng: np.random.Generator, width: int, height: int, count: int) -> dict[str, Any]:
    """JPEG pictures with a face each; returns the row that a shard of crop_faces has for them."""
    folder.mkdir()
    pictures = []
    for number in range(count):
        canvas = background(rng, height, width)
        canvas.paste(head(rng, min(width, height)), (0, 0))
        path = folder / f"{number}.jpg"
        canvas.save(path, quality=92)
        pictures.append([path.name, "", path.stat().st_size])
    return {"clip_id": "s/v/1", "speaker_id": "s", "pictures": pictures}


def feature_rows(bench: Bench, faces: Path, params: Params) -> Iterator[Row]:
    sizes, device = bench.sizes, bench.device
    vgg_face = VggFace((1,) * 5, 8, 8, 2) if sizes.narrow else VggFace()
    gflop = {}
    for name, network in {"dlib_resnet": DlibResnet(device="cpu"), "vgg_face": vgg_face}.items():
        network = network.to(device).eval().requires_grad_(False)
        for batch in sizes.crop_batches:
            images = [np.asarray(Image.new("RGB", (224, 224), (number, 99, 99))) for number in range(batch)]
            landmarks = torch.rand(batch, 68, 2, device=device) * 120 + 50

            def run(
                network: Any = network, images: list[np.ndarray] = images, landmarks: torch.Tensor = landmarks
            ) -> None:
                with torch.inference_mode():
                    network.embed(to_crops(images, device), landmarks)

            gflop[name] = gflop_of(run) / batch
            part = f"extract_features: {name}"
            yield bench.row(part, "faces", batch, lambda r=run: r, batch=batch, gflop=gflop[name])
    context = {"faces": str(faces), "weights": None, "device": device}
    shard = partial(feature_shard, [{"shard": "shard-a.parquet", "content": ""}], params.features, context)
    count = len(list(shard()))
    part = "extract_features: whole stage, dlib_resnet"
    yield bench.row(part, "faces", count, lambda: lambda: list(shard()), gflop=gflop["dlib_resnet"], once=True)


def voice_rows(bench: Bench, folder: Path, params: Params) -> Iterator[Row]:
    """The speaker networks: rows of the table, which are a clip, its windows and its beginnings."""
    sizes, length = bench.sizes, segment_samples(params.audio.segment_s)
    clips = np.stack([voice(length / 16_000, 90 + 5 * i, seed=i)[:length] for i in range(max(sizes.voice_batches))])
    gflop = {}
    for name in SOURCES:
        weights = converted_weights([name])
        gflop[name] = gflop_of_recurrent(partial(embed, open_networks(weights, CPU), clips[:1], CPU))
        networks = open_networks(weights, bench.device)
        for batch in sizes.voice_batches:
            run = partial(embed, networks, clips[:batch], bench.device)
            yield bench.row(f"embed_voices: {name}", "clips", batch, lambda r=run: r, batch=batch, gflop=gflop[name])
    rows = []
    for number in range(sizes.recordings):
        path = folder / f"{number}.flac"
        soundfile.write(path, clips[number % len(clips)], 16_000)
        row = {"clip_id": f"s/v/{number:05}", "speaker_id": "s", "audio_path": path.name}
        rows.append(row | {"audio_bytes": path.stat().st_size, "start_s": None, "end_s": None})
    settings = Embedding(audio=params.audio, networks=["campplus"])
    context = {"root": str(folder), "weights": converted_weights(["campplus"]), "device": bench.device}
    list(embedding_shard(rows[:64], settings, context))
    part, run = "embed_voices: whole stage, campplus, FLAC of 6 s", partial(embedding_shard, rows, settings, context)
    yield bench.row(part, "clips", len(rows), lambda: lambda: list(run()), gflop=gflop["campplus"], once=True)


def gflop_of_recurrent(function: Callable[[], object]) -> float:
    """As `gflop_of` on the CPU, where oneDNN's recurrent layers, which nobody counts, are made of matrix products."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a setting for Intel's GPUs that goes along
        with torch.backends.mkldnn.flags(enabled=False):
            return gflop_of(function)


def all_rows(bench: Bench) -> Iterator[Row]:
    params, paper = load_params(ROOT / "params.yaml"), load_params(ROOT / "presets" / "paper.yaml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("clips", "pictures", "recordings"):
            (folder / part).mkdir()
        yield from encoder_rows(bench, folder / "clips", {"default": params.encoder, "paper": paper.encoder})
        yield from decoder_rows(bench, params)
        yield from face_rows(bench, folder / "pictures", params)
        yield from voice_rows(bench, folder / "recordings", params)


HEADER = """| part | precision | batch | a second | GFLOP each | share of the peak | memory |
|---|---|---|---|---|---|---|"""


def line(row: Row) -> str:
    """A row of the Markdown table."""
    rate = "out of memory" if row.rate is None else f"{row.rate:,.{0 if row.rate >= 100 else 2}f} {row.unit}"
    gflop = "" if row.gflop is None else f"{row.gflop:,.{0 if row.gflop >= 100 else 2}f}"
    share = "" if row.share is None else f"{row.share:.1%}"
    memory = "" if row.memory_gib is None else f"{row.memory_gib:.1f} GiB"
    batch = "" if row.batch is None else str(row.batch)
    return f"| {row.part} | {row.precision} | {batch} | {rate} | {gflop} | {share} | {memory} |"


def title(bench: Bench) -> str:
    """The device, and its peaks, in a line."""
    peaks = ", ".join(
        f"{rate / 1e12:,.{0 if rate >= 1e14 else 2}f} TFLOP/s in {name}" for name, rate in bench.peaks.items()
    )
    threads = f"{torch.get_num_threads()} threads"
    device = (
        f"{torch.cuda.get_device_name(bench.device)}, {threads} beside it"
        if bench.device.type == "cuda"
        else f"CPU, {threads}"
    )
    seconds = "" if bench.device.type == "cuda" else " Seconds are those of processor time."
    return f"{device}, torch {torch.__version__}. Products of matrices reach {peaks}.{seconds}"


def put(path: Path, kind: str, text: str) -> None:
    """Write a text between the marks of a page that are for one kind of device. Raises ValueError if they are not there."""
    page = path.read_text("utf-8")
    begin, end = f"<!-- rates on {kind} -->", f"<!-- end of rates on {kind} -->"
    if begin not in page or end not in page:
        raise ValueError(f"{path} has no place for the table: the lines {begin} and {end}")
    path.write_text(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for a row (default: %(default)s)")
    parser.add_argument("--compiler", default="inductor", help="of torch.compile; none: without (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="the page that the table goes into")
    parser.add_argument("--json", type=Path, help="the file that a line for each row is written to")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "no GPU here (torch.cuda.is_available() is false): nothing is measured; on processors: --device cpu --size small"
        )
        return
    machine.device()  # full float32, as in the stages
    compiler = None if arguments.compiler == "none" else arguments.compiler
    bench = Bench(device, SIZES[arguments.size], arguments.seconds, compiler)
    lines = [title(bench), "", *HEADER.splitlines()]
    print("\n".join(lines), flush=True)
    rows = []
    for row in all_rows(bench):
        rows.append(row)
        lines.append(line(row))
        print(lines[-1], flush=True)
    if arguments.json is not None:
        arguments.json.write_text(
            "".join(json.dumps({"device": lines[0], **asdict(row)}) + "\n" for row in rows), "utf-8"
        )
    if arguments.write is not None:
        put(arguments.write, device.type, "\n".join(lines))


if __name__ == "__main__":
    main()
