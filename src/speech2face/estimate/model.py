"""The cost model: hours, memory and disk of each stage, from rates that were measured and the numbers of a corpus.

Most stages take some seconds and then as long for each clip. A training takes as long for each step. What grows with a product of
numbers is counted so: predictions are compared with every test speaker's face, the face classifier is fitted over classes and faces, and
of faces to morph every two are compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from speech2face.estimate.corpora import CorpusSize, parts
from speech2face.estimate.rates import Rates
from speech2face.face_networks.backends import feature_dim
from speech2face.models.head import FACES_PER_SPEAKER, MOST_CLASSES
from speech2face.pipeline.machine import gpus_per_worker
from speech2face.pipeline.params import Params

STAGES = (
    "code",
    "make_corpus",
    "segment_audio",
    "embed_voices",
    "crop_faces",
    "extract_features",
    "train_decoder",
    "train_encoder",
    "evaluate",
)
DVC = "dvc"
"""The row of what DVC does besides: it takes digests of the outputs and links them into its cache."""
ON_DEVICE = ("embed_voices", "crop_faces", "extract_features")
BY_WORKERS = ("segment_audio", *ON_DEVICE)
CUT = 0.975
"""Mean size of the shards of `provenance.chunk`, as a part of the size that is asked for."""
MIB = 2**20

CLIP_BYTES = {
    "make_corpus": 60,
    "segment_audio": 60,
    "embed_voices": 60,
    "crop_faces": 250,
    "train_encoder": 150,
    "evaluate": 6_000,
}
"""Memory that a stage's process takes for each clip, beyond what was measured. Reckoned from what the code keeps of a clip, not measured:
a place in the plan; the pair of a voice and a face; in the evaluation descriptions of the voice, twice, and its row."""
FILE_BYTES = 260
"""Of the evaluation, for each file of a clip: path and digest, in the manifest and in the search for leaks."""
DRAWS_HELD, FACES_HELD = 2, 3
"""Of the evaluation, for each test speaker: how often it is drawn in each resample, of all speakers and of those of whom an attribute is
known; its face, as it is, from the mean face, and by groups."""
CANONICAL_BYTES = 4_000
"""Memory of the search for neighbours, for each face (`training.morphs`)."""
CANONICAL_FILE_BYTES = 4 * 224 * 224
"""Of a canonical face, in a file that goes when the decoder's training ends (`training.canonical`)."""


@dataclass(frozen=True)
class Row:
    """What a stage takes: seconds, memory of all its processes together (MiB), and bytes that it leaves on the disk."""

    stage: str
    seconds: float
    memory_mib: float
    bytes: float


@dataclass(frozen=True)
class Machine:
    """Where the pipeline is to run: processors, and GPUs or None."""

    processors: int
    gpus: int


def check_numbers(processors: int | None, gpus: int | None) -> None:
    """Raise ValueError for numbers that no machine has."""
    for name, value, least in (("processors", processors, 1), ("gpus", gpus, 0)):
        if value is not None and value < least:
            raise ValueError(f"--{name} must be at least {least} (got {value})")


def machine_of(rates: Rates, processors: int | None, gpus: int | None) -> Machine:
    """The machine that was asked for, by default the one that was measured.

    Raises ValueError as `check_numbers`, and for GPUs if none was measured or the other way round.
    """
    check_numbers(processors, gpus)
    measured = int(rates.machine["gpus"])
    if gpus is not None and (gpus > 0) != (measured > 0):
        have = f"{measured} GPUs" if measured else "no GPU"
        where = "on a machine that has one" if gpus else "with S2F_DEVICE=cpu"
        raise ValueError(
            f"--gpus {gpus} needs rates of such a machine, and these were measured with {have}; measure {where} "
            "(speech2face estimate --save-rates FILE) and take them from there (--rates FILE)"
        )
    chosen = int(rates.machine["processors"]) if processors is None else processors
    return Machine(chosen, measured if gpus is None else gpus)


def predict(rates: Rates, corpus: CorpusSize, params: Params, machine: Machine) -> list[Row]:
    """The rows of all stages, and DVC's. Raises ValueError for a corpus that was not measured."""
    counts = count(corpus, params)
    seconds = seconds_of(rates, corpus, params, machine, counts)
    rows = []
    for stage in STAGES:
        rate = rates.of(corpus.name, stage)
        memory = rate.memory_mib + memory_growth(stage, params, counts) / MIB
        if stage in BY_WORKERS:
            memory *= max(1.0, workers(rates, stage, machine) / measured_workers(rates, stage))
        num_bytes = rate.fixed_bytes + rate.item_bytes * counts[_disk_items(stage)]
        if stage in BY_WORKERS:
            num_bytes += rate.shard_bytes * counts[_items(stage)] / (CUT * params.corpus.clips_per_shard)
        if stage == "extract_features":
            num_bytes += rates.numbers["class_bytes"] * min(MOST_CLASSES, counts["train_speakers"])
        rows.append(Row(stage, seconds[stage], memory, num_bytes))
    stored = sum(row.bytes for row in rows)
    dvc_s = rates.numbers["dvc_fixed_s"] + rates.numbers["dvc_byte_s"] * stored
    return [*rows, Row(DVC, dvc_s, rates.numbers["dvc_memory_mib"], 0.0)]


def count(corpus: CorpusSize, params: Params) -> dict[str, float]:
    """What the stages' items are, and how many there are of each."""
    part = parts(params.corpus.splits, corpus)
    sights = corpus.sights()
    learned = part["train"] + part["val"]
    return {
        "once": 1.0,
        "clips": corpus.clips,
        "sights": sights,
        "videos": corpus.videos,
        "learned_sights": learned * sights,
        "heard_clips": (part["train"] + part["test"]) * corpus.clips,
        "speakers": corpus.speakers,
        "files_of_clips": corpus.clips * corpus.files_of_a_clip(params.corpus.pictures_per_video),
        **{f"{name}_clips": share * corpus.clips for name, share in part.items()},
        **{f"{name}_speakers": share * corpus.speakers for name, share in part.items()},
    }


def _items(stage: str) -> str:
    """What a stage's seconds are counted by."""
    return {
        "make_corpus": "clips",
        "segment_audio": "clips",
        "embed_voices": "clips",
        "crop_faces": "sights",
        "extract_features": "sights",
        "train_decoder": "learned_sights",
        "train_encoder": "clips",
        "evaluate": "heard_clips",
    }.get(stage, "once")


def _disk_items(stage: str) -> str:
    """What its bytes are counted by."""
    return {"evaluate": "test_clips", "train_decoder": "once", "train_encoder": "once"}.get(stage, _items(stage))


def seconds_of(
    rates: Rates, corpus: CorpusSize, params: Params, machine: Machine, counts: Mapping[str, float]
) -> dict[str, float]:
    """Seconds of each stage."""
    numbers = rates.numbers
    found = {}
    for stage in STAGES:
        rate = rates.of(corpus.name, stage)
        of_items = rate.item_s * counts[_items(stage)]
        if stage in BY_WORKERS:
            of_items *= measured_workers(rates, stage) / workers(rates, stage, machine)
        found[stage] = rate.fixed_s + of_items
    classes = min(MOST_CLASSES, counts["train_speakers"])
    faces = classes * min(FACES_PER_SPEAKER, params.faces.keep * counts["sights"] / counts["speakers"])
    found["extract_features"] += numbers["head_product_s"] * classes * faces * numbers["feature_dim"]
    found["train_decoder"] += _decoder_s(numbers, params, machine, counts)
    found["train_encoder"] += _encoder_s(numbers, params, machine, counts)
    clips, speakers = counts["test_clips"], counts["test_speakers"]
    found["evaluate"] += numbers["evaluate_test_clip_s"] * clips
    found["evaluate"] += numbers["clip_and_speaker_s"] * clips * speakers + numbers["two_speakers_s"] * speakers**2
    return found


def _decoder_s(numbers: Mapping[str, float], params: Params, machine: Machine, counts: Mapping[str, float]) -> float:
    """Seconds of the decoder's epochs, and of the search for neighbours."""
    train, val = (numbers["canonical_part"] * counts[f"{name}_speakers"] for name in ("train", "val"))
    batch = params.decoder.batch_size
    epoch = train / batch * numbers["decoder_step_s"] / processes(machine, batch) + val * numbers["decoder_validate_s"]
    return params.decoder.epochs * epoch + numbers["neighbour_pair_s"] * train**2


def _encoder_s(numbers: Mapping[str, float], params: Params, machine: Machine, counts: Mapping[str, float]) -> float:
    """Seconds of the encoder's epochs: all of them, though patience may end them earlier."""
    small = params.encoder.network == "speaker_embedding"
    settings = params.encoder.speaker_embedding if small else params.encoder
    steps = counts["train_clips"] / settings.batch_size
    epoch = steps * numbers["encoder_step_s"] / processes(machine, settings.batch_size)
    return settings.epochs * (epoch + counts["val_clips"] * numbers["encoder_validate_s"])


def processes(machine: Machine, batch_size: int) -> int:
    """Processes that train together: as many GPUs as divide the batch, one on a CPU (`pipeline.machine.num_processes`)."""
    return max(n for n in range(1, max(1, machine.gpus) + 1) if batch_size % n == 0)


def measured_workers(rates: Rates, stage: str) -> int:
    """Worker processes that a stage was measured with."""
    return int(rates.machine["device_workers" if stage in ON_DEVICE else "workers"])


def workers(rates: Rates, stage: str, machine: Machine) -> int:
    """Worker processes that it would have on a machine (`pipeline.machine.num_workers`)."""
    before = Machine(int(rates.machine["processors"]), int(rates.machine["gpus"]))
    if machine == before:
        return measured_workers(rates, stage)
    if stage in ON_DEVICE and machine.gpus:
        return min(machine.processors, machine.gpus * int(1 / gpus_per_worker()))
    return machine.processors


def memory_growth(stage: str, params: Params, counts: Mapping[str, float]) -> float:
    """Bytes of memory that a stage takes beyond what was measured on some hundred clips."""
    grown = CLIP_BYTES.get(stage, 0) * counts["clips"]
    videos = 4 * feature_dim(params.features) * counts["videos"]
    if stage == "train_decoder":
        return videos + CANONICAL_BYTES * counts["train_speakers"]
    if stage == "train_encoder":
        return grown + videos
    if stage == "evaluate":
        of_speaker = 8 * (DRAWS_HELD * params.evaluation.resamples + FACES_HELD * feature_dim(params.features))
        return grown + videos + FILE_BYTES * counts["files_of_clips"] + of_speaker * counts["test_speakers"]
    return grown
