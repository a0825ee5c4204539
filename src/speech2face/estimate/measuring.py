"""Measuring the rates of this machine: the pipeline's own stages, on samples of two sizes, and a line through the two."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from speech2face.estimate.bench import MOST_ROWS_PER_SHARD, TABLES, Bench, grown, line, splits_swapped, table_bytes
from speech2face.estimate.corpora import CorpusSize
from speech2face.estimate.rates import Rate, Rates, settings_of
from speech2face.estimate.sample import make_voices
from speech2face.estimate.watching import Clock, run
from speech2face.face_networks.backends import feature_dim
from speech2face.pipeline import machine
from speech2face.pipeline.params import Params
from speech2face.pipeline.progress import progress
from speech2face.speaker_networks.backends import needed

VOICES = 8
MOST_SPEAKERS = 2048
OF_TRAINING, EVALUATED = 16, 64
QUICK_S = 0.2
"""For a clip of the validation."""
SHARDS_OF_A_WORKER = 4
FEW_CLIPS = 4
"""In a shard of a stage that takes long for a clip."""
COMPARED = 1.5e9
"""Clips times speakers times numbers of a feature, in the measurement of comparisons."""
HEAD_CLASSES = 128
NEIGHBOURS = 1024
MINUTES = 9
"""What measuring one corpus takes on two processor cores with params.yaml's defaults."""
MINUTES_OF_ANOTHER = 2


def measure(
    params: Params, corpora: Sequence[CorpusSize], root: Path, enough_s: float = 5.0, clock: Clock = "wall"
) -> Rates:
    """The rates of this machine for the kinds of some corpora, with the workers and devices that the environment asks for; `root` is the
    repository. Of two sizes the larger takes `enough_s` longer, where that can be had. `clock` as of `watching.run`.

    Raises RuntimeError if a stage fails, ValueError where `root` is no repository.
    """
    with tempfile.TemporaryDirectory(prefix="speech2face-estimate-") as folder:
        measuring = _Measuring(params, corpora, Bench(params, root, Path(folder), clock), enough_s)
        steps = measuring.steps()
        for step in progress(steps, len(steps), "measuring", "steps"):
            step()
        return measuring.rates()


class _Measuring:
    """The measurements, in their order, each of which notes what it finds."""

    def __init__(self, params: Params, corpora: Sequence[CorpusSize], bench: Bench, enough_s: float) -> None:
        device = machine.device()
        self.workers, self.device_workers = machine.num_workers(), machine.num_workers(on_device=True)
        usual = min(params.corpus.clips_per_shard, MOST_ROWS_PER_SHARD)
        few = usual if device.type == "cuda" else min(usual, FEW_CLIPS)
        self.per_shard = {"segment_audio": usual, "embed_voices": few, "crop_faces": few}
        self.params, self.corpora, self.enough_s, self.device = params, corpora, enough_s, device
        self.bench = bench
        self.start = self._speakers(few)
        self.embeds = needed(params.encoder)
        self.base: dict[str, Path] = {}
        self.of_corpus: dict[str, dict[str, Rate]] = {corpus.name: {} for corpus in corpora}
        self.common: dict[str, Rate] = {}
        self.numbers: dict[str, float] = {"feature_dim": float(feature_dim(params.features))}
        self.largest: dict[str, Path] = {}

    def _speakers(self, per_shard: int) -> int:
        """The speakers of two clips each that give all workers some shards."""
        return max(8, SHARDS_OF_A_WORKER * per_shard * max(self.workers, self.device_workers) // 2)

    def steps(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for corpus in self.corpora:
            found += [partial(self.prepare, corpus), partial(self.listing, corpus)]
            found += [
                partial(self.extraction, corpus, stage) for stage in ("segment_audio", "embed_voices", "crop_faces")
            ]
        common = (self.features, self.decoder, self.encoder, self.evaluation, self.products, self.dvc)
        return found + [partial(step) for step in common]

    def rates(self) -> Rates:
        """What has been measured."""
        import torch

        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        on_gpu = self.device.type == "cuda"
        gpus = (torch.cuda.device_count() if "S2F_DEVICE" not in os.environ else 1) if on_gpu else 0
        about = {"device": self.device.type, "processors": processors, "gpus": gpus}
        about |= {"workers": self.workers, "device_workers": self.device_workers}
        return Rates(about, settings_of(self.params), self.of_corpus, self.common, self.numbers)

    def prepare(self, corpus: CorpusSize) -> None:
        """Make the files that a corpus's samples consist of, and the tables of a few speakers, untimed: that also brings into memory what
        later runs find there."""
        voices = make_voices(self.bench.folder / f"voices-{corpus.name}", corpus, VOICES)
        self.bench.add_voices(corpus, list(voices))
        base = self.base[corpus.name] = self.bench.listed(corpus, self.start, self.per_shard["crop_faces"])
        extraction = ["segment_audio", "embed_voices", "crop_faces"]
        for stage in [*extraction, "extract_features"] if len(self.base) == 1 else extraction:
            self.bench.stage(base, stage)

    def listing(self, corpus: CorpusSize) -> None:
        """make_corpus: as many clips of a video as the corpus has."""
        clips, found = max(1, round(corpus.clips / corpus.videos)), {}

        def seconds_at(speakers: int) -> float:
            work = self.bench.work(self.bench.corpus(corpus, speakers, clips))
            watched = self.bench.stage(work, "make_corpus")
            found[speakers] = watched.memory_mib, self.bench.bytes_left(work, "make_corpus")
            return watched.seconds

        (small, small_s), (large, large_s) = grown(seconds_at, self.start, MOST_SPEAKERS // clips, self.enough_s / 2)
        sizes = [2 * clips * speakers for speakers in (small, large)]
        fixed_s, item_s = line((sizes[0], small_s), (sizes[1], large_s))
        fixed, each = line((sizes[0], found[small][1]), (sizes[1], found[large][1]))
        self.of_corpus[corpus.name]["make_corpus"] = Rate(fixed_s, item_s, found[large][0], fixed, each)

    def extraction(self, corpus: CorpusSize, stage: str) -> None:
        """A stage that reads the corpus's files; items are clips, of which each is another video's."""
        works: dict[int, Path] = {}
        memory: dict[int, float] = {}

        def seconds_at(speakers: int) -> float:
            works[speakers] = self.bench.listed(corpus, speakers, self.per_shard[stage])
            watched = self.bench.stage(works[speakers], stage)
            memory[speakers] = watched.memory_mib
            return watched.seconds

        if stage == "embed_voices" and not self.embeds:
            seconds, rate = seconds_at(self.start), self.bench.bytes_left(works[self.start], stage)
            self.of_corpus[corpus.name][stage] = Rate(seconds, 0.0, memory[self.start], rate)
            return
        first, second = grown(seconds_at, self._speakers(self.per_shard[stage]), MOST_SPEAKERS, self.enough_s)
        self.of_corpus[corpus.name][stage] = self._table_rate(stage, works[second[0]], first, second, memory[second[0]])
        self.largest[stage] = works[second[0]]

    def _table_rate(
        self, stage: str, work: Path, first: tuple[int, float], second: tuple[int, float], memory_mib: float
    ) -> Rate:
        """The rate of a stage that writes a table; `first` and `second` are speakers, of two clips each, and seconds."""
        fixed_s, item_s = line((2 * first[0], first[1]), (2 * second[0], second[1]))
        of_item, of_shard = table_bytes(work / TABLES[stage], 2 * second[0])
        return Rate(fixed_s, item_s, memory_mib, self.bench.bytes_beside_table(work, stage), of_item, of_shard)

    def features(self) -> None:
        """extract_features, on tables that are multiplied; and the stage `code`, which reads no data."""
        base, corpus = self.base[self.corpora[0].name], self.corpora[0]
        works: dict[int, Path] = {}
        memory: dict[int, float] = {}

        def seconds_at(speakers: int) -> float:
            works[speakers] = self.bench.derived(base, corpus, speakers, "crop_faces")
            watched = self.bench.stage(works[speakers], "extract_features")
            memory[speakers] = watched.memory_mib
            return watched.seconds

        first, second = grown(seconds_at, self._speakers(MOST_ROWS_PER_SHARD), MOST_SPEAKERS // 2, self.enough_s)
        rate = self._table_rate("extract_features", works[second[0]], first, second, memory[second[0]])
        # Of its outputs the classifier's last layer grows with the training speakers, half of the sample's, unless it is VGG-Face's own.
        own_head = self.params.features.backend == "vgg_face"
        self.numbers["class_bytes"] = of_class = 0.0 if own_head else 4 * (self.numbers["feature_dim"] + 1)
        self.common["extract_features"] = replace(rate, fixed_bytes=rate.fixed_bytes - of_class * second[0] / 2)
        watched = self.bench.stage(base, "code")
        self.common["code"] = Rate(watched.seconds, 0.0, watched.memory_mib, self.bench.bytes_left(base, "code"))
        shutil.rmtree(base / "results/code")  # of which the stages would ask whether it is theirs

    def few(self) -> int:
        """Speakers of the smallest training: half of them train, with two clips each, and fill a batch."""
        batch = 0 if self.params.encoder.network == "speaker_embedding" else self.params.encoder.batch_size
        return -(-max(OF_TRAINING, batch, 2 * self.params.decoder.batch_size) // 4) * 4

    def decoder(self) -> None:
        """train_decoder: items of its preparation are the clips of training and validation speakers."""
        self._training("train_decoder", ("crop_faces", "extract_features"), items_of_speaker=1.5)

    def encoder(self) -> None:
        """train_encoder: items of its preparation are all clips."""
        self._training("train_encoder", ("segment_audio", "embed_voices", "extract_features"), items_of_speaker=2.0)

    def _training(self, stage: str, tables: tuple[str, ...], items_of_speaker: float) -> None:
        base, corpus, name = self.base[self.corpora[0].name], self.corpora[0], stage.removeprefix("train_")
        few = self.few()
        batch = self.params.encoder.speaker_embedding.batch_size if self.embeds and name == "encoder" else 0
        many = max(4 * few, -(-batch // 4) * 4)
        small = self.bench.derived(base, corpus, few, *tables)
        large = self.bench.derived(base, corpus, many, *tables)
        seconds = self.enough_s
        start, _ = self.bench.probe(small, "train", stage=stage, seconds=seconds / 5, validate=True)
        slow = start["validate_s"] * many / few > 4 * self.enough_s
        long, memory_mib = self.bench.probe(large, "train", stage=stage, seconds=seconds, validate=not slow)
        validated, of = (start["validate_s"], few) if slow else (long["validate_s"], many)
        whole = self.bench.stage(small, stage)
        shutil.copytree(small / f"models/{name}", base / f"models/{name}")
        counts = items_of_speaker * few, items_of_speaker * many
        _, item_s = line((counts[0], start["build_s"]), (counts[1], long["build_s"]))
        epoch_s = start["num_batches"] * long["step_s"] + start["validate_s"]
        fixed_s = max(0.0, whole.seconds - epoch_s - item_s * counts[0])
        left = self.bench.bytes_left(small, stage)
        self.common[stage] = Rate(fixed_s, item_s, max(memory_mib, whole.memory_mib), left)
        self.numbers[f"{name}_step_s"] = long["step_s"]
        # a quarter of the speakers validate: half as many faces, or as many clips
        self.numbers[f"{name}_validate_s"] = validated / (of / 4 if name == "decoder" else of / 2)
        if name == "decoder":
            self.numbers["canonical_part"] = min(1.0, long["canonical_faces"] / (0.75 * many))

    def evaluation(self) -> None:
        """evaluate, with few and with many test speakers."""
        base, corpus = self.base[self.corpora[0].name], self.corpora[0]
        works: dict[int, Path] = {}
        memory: dict[int, float] = {}

        def seconds_at(speakers: int) -> float:
            works[speakers] = self.bench.derived(base, corpus, speakers, *TABLES)
            watched = self.bench.stage(works[speakers], "evaluate")
            memory[speakers] = watched.memory_mib
            return watched.seconds

        # More than for a training, where the encoder is quick: with a handful of test speakers much is left out, or has no clip to look at.
        start = max(self.few(), EVALUATED if self.numbers["encoder_validate_s"] < QUICK_S else 0)
        (few, few_s), (many, many_s) = grown(seconds_at, start, MOST_SPEAKERS // 2, 2 * self.enough_s)
        left = [(speakers / 2, float(self.bench.bytes_left(works[speakers], "evaluate"))) for speakers in (few, many)]
        splits_swapped(works[many])
        swapped_s = self.bench.stage(works[many], "evaluate").seconds
        # of two clips a speaker: a quarter of the clips test, half when swapped; three quarters train or test
        test_s = max(0.0, (swapped_s - many_s) / (many / 2))
        fixed_s, item_s = line((1.5 * few, few_s - test_s * few / 2), (1.5 * many, many_s - test_s * many / 2))
        fixed, each = line(left[0], left[1])
        self.common["evaluate"] = Rate(fixed_s, item_s, memory[many], fixed, each)
        self.numbers["evaluate_test_clip_s"] = test_s

    def products(self) -> None:
        """What grows with a product of numbers of speakers, faces or clips."""
        work, dim = self.base[self.corpora[0].name], int(self.numbers["feature_dim"])
        found, _ = self.bench.probe(work, "compare", dim=dim, amount=COMPARED * min(1.0, self.enough_s / 5))
        self.numbers |= found
        own_head = self.params.features.backend == "vgg_face"
        l2 = self.params.features.head_l2
        fit = {} if own_head else self.bench.probe(work, "head", dim=dim, classes=HEAD_CLASSES, l2=l2)[0]
        self.numbers["head_product_s"] = fit.get("product_s", 0.0)
        self.numbers["neighbour_pair_s"] = self.bench.probe(work, "neighbours", count=NEIGHBOURS)[0]["pair_s"]

    def dvc(self) -> None:
        """`dvc repro` of as many stages as there are, which do nothing but link a table."""
        table = self.largest["segment_audio"] / TABLES["segment_audio"]
        paths = sorted(table.glob("shard-*"))
        points, memory_mib = [], 0.0
        for number, some in enumerate((paths[: max(1, len(paths) // 16)], paths)):
            work = self.bench.folder / f"dvc-{number}"
            work.mkdir()
            (work / "list.txt").write_text("\n".join(map(str, some)), "utf-8")
            (work / "fill.py").write_text(FILL, "utf-8")
            (work / "dvc.yaml").write_text(STAGES_OF_DVC, "utf-8")
            environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_ROOT": str(work)}
            dvc = [sys.executable, "-m", "dvc"]
            run([*dvc, "init", "--no-scm", "--quiet"], work, environment, self.bench.clock)
            (work / ".dvc/config").write_text(CACHE, "utf-8")
            watched = run([*dvc, "repro"], work, environment, self.bench.clock)
            points.append((float(sum(path.stat().st_size for path in some)), watched.seconds))
            memory_mib = watched.memory_mib
        fixed_s, byte_s = line(points[0], points[1])
        self.numbers |= {"dvc_fixed_s": fixed_s, "dvc_byte_s": byte_s, "dvc_memory_mib": memory_mib}


FILL = """from pathlib import Path
out = Path("table")
out.mkdir()
for line in Path("list.txt").read_text("utf-8").splitlines():
    (out / Path(line).name).hardlink_to(line)
"""
STAGES_OF_DVC = "stages:\n" + "".join(
    f"  s{number}:\n    cmd: {f'{sys.executable} fill.py' if number == 0 else 'exit 0'}\n"
    f"    {'outs: [table]' if number == 0 else 'deps: [list.txt]'}\n"
    for number in range(9)
)
CACHE = '[core]\n    analytics = false\n    no_scm = true\n[cache]\n    type = "reflink,hardlink,symlink,copy"\n'
