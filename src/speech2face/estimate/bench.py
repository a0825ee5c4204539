"""Folders in which the pipeline's own stages run on samples, and what they leave there."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from speech2face.corpus.splits import SPEAKERS_PATH, read_splits, write_splits
from speech2face.estimate.corpora import CorpusSize
from speech2face.estimate.sample import Voice, write_corpus
from speech2face.estimate.tables import multiply
from speech2face.estimate.watching import Clock, Watched, run
from speech2face.pipeline.params import Params, resolve_path
from speech2face.pipeline.shards import shard_paths

TABLES = {
    "segment_audio": Path("data/spectrograms"),
    "embed_voices": Path("data/embeddings"),
    "crop_faces": Path("data/faces"),
    "extract_features": Path("data/features"),
}
DIGEST_BYTES = 20
"""Of a row, in the footer of its shard."""
MOST_ROWS_PER_SHARD = 32


class Bench:
    """A temporary folder with samples of corpora, and folders to work in. `root` is the repository, whose stages run; `clock` as of
    `watching.run`."""

    def __init__(self, params: Params, root: Path, folder: Path, clock: Clock = "wall") -> None:
        self.params, self.folder, self.clock = params, folder, clock
        self._root = root.resolve()
        self._outs = read_outs(self._root / "dvc.yaml")
        self._roots: dict[tuple[str, int, int], Path] = {}
        self._voices: dict[str, list[Voice]] = {}
        self._count = 0

    def add_voices(self, corpus: CorpusSize, voices: list[Voice]) -> None:
        """The files that a corpus's samples are made from."""
        self._voices[corpus.name] = voices

    def corpus(self, corpus: CorpusSize, speakers: int, clips: int = 1) -> Path:
        """The folder of a sample with two videos of each speaker, and `clips` clips of each video."""
        key = corpus.name, speakers, clips
        if key not in self._roots:
            folder = self.folder / "-".join(map(str, ("corpus", *key)))
            pictures = self.params.corpus.pictures_per_video
            self._roots[key] = write_corpus(folder, self._voices[corpus.name], pictures, speakers, clips=clips)
        return self._roots[key]

    def work(self, corpus_root: Path, clips_per_shard: int = MOST_ROWS_PER_SHARD) -> Path:
        """A new folder to run stages in, on a sample. Few clips in a shard give all workers something to do, and cost a little."""
        self._count += 1
        work = self.folder / f"work-{self._count}"
        work.mkdir()
        for name in ("src", "stages"):
            (work / name).symlink_to(self._root / name)
        with (work / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(sample_params(self.params, corpus_root, clips_per_shard), file)
        return work

    def listed(self, corpus: CorpusSize, speakers: int, clips_per_shard: int = MOST_ROWS_PER_SHARD) -> Path:
        """A new folder in which make_corpus has run on a sample; arguments as of `work`."""
        work = self.work(self.corpus(corpus, speakers), clips_per_shard)
        self.stage(work, "make_corpus")
        return work

    def derived(self, base: Path, corpus: CorpusSize, speakers: int, *tables: str) -> Path:
        """A new folder in which make_corpus has run, with tables of so many speakers by `multiply`: those of the stages `tables`, of which
        `base` has the outputs of a few speakers. Rejects and models are those of `base`."""
        work = self.listed(corpus, speakers)
        own = {path.name for path in (work / "data/rejects").iterdir()}
        for path in (base / "data/rejects").iterdir():
            if path.name not in own:
                shutil.copy(path, work / "data/rejects")
        if (base / "models").exists():
            shutil.copytree(base / "models", work / "models")
        for stage in tables:
            if any((base / TABLES[stage]).glob("shard-*")):
                rows = min(self.params.corpus.clips_per_shard, MOST_ROWS_PER_SHARD)
                multiply(base / TABLES[stage], work / TABLES[stage], speakers, rows)
            else:
                shutil.copytree(base / TABLES[stage], work / TABLES[stage])
        return work

    def stage(self, work: Path, stage: str) -> Watched:
        """Run a stage in a folder, as DVC does."""
        return run([sys.executable, f"stages/{stage}.py"], work, self.environment(work), self.clock)

    def probe(self, work: Path, name: str, **arguments: Any) -> tuple[dict[str, float], float]:
        """What `probe` finds, and its memory in MiB."""
        command = [sys.executable, "-m", "speech2face.estimate.probe", name, json.dumps(arguments), self.clock]
        watched = run(command, work, self.environment(work), self.clock)
        return json.loads(watched.text.strip().splitlines()[-1]), watched.memory_mib

    def environment(self, work: Path) -> dict[str, str]:
        """That of this process, with the repository's source; one machine is measured, not a cluster."""
        own = {
            name: text for name, text in os.environ.items() if name not in ("S2F_CLUSTER", "DVC_STAGE", "DVC_EXP_NAME")
        }
        return own | {"PYTHONPATH": str(self._root / "src"), "DVC_ROOT": str(work), "PYTHONWARNINGS": "ignore"}

    def bytes_left(self, work: Path, stage: str) -> int:
        """Bytes of the files that a stage has left of what dvc.yaml names as its outputs."""
        return sum(size_of(work / out) for out in self._outs[stage])

    def bytes_beside_table(self, work: Path, stage: str) -> int:
        """Those that are not of its table."""
        return self.bytes_left(work, stage) - size_of(work / TABLES[stage])


def read_outs(dvc_yaml: Path) -> dict[str, list[str]]:
    """The outputs of each stage, but for the model card, which is a page of the repository. Raises ValueError where there is no
    dvc.yaml."""
    if not dvc_yaml.is_file():
        raise ValueError(f"{dvc_yaml} does not exist; run from the repository's root")
    stages = YAML(typ="safe").load(dvc_yaml)["stages"]
    found = {}
    for name, stage in stages.items():
        entries = [*stage.get("outs", []), *stage.get("metrics", [])]
        paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        found[name] = [path for path in paths if not path.startswith("docs/")]
    return found


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0


def table_bytes(table: Path, num_items: int) -> tuple[float, float]:
    """Bytes of a table for each item, and for each of its shards besides; 0 where it is empty."""
    if not any(table.glob("shard-*")):
        return 0.0, 0.0
    of_rows, of_shards, paths = 0, 0, shard_paths(table)
    for path in paths:
        metadata = pq.read_metadata(path)
        groups = (metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        rows = sum(groups) + DIGEST_BYTES * metadata.num_rows
        of_rows, of_shards = of_rows + rows, of_shards + path.stat().st_size - rows
    return of_rows / num_items, of_shards / len(paths)


def sample_params(params: Params, corpus_root: Path, clips_per_shard: int) -> dict[str, Any]:
    """The parameters, with a sample as the corpus, and one epoch of each training."""
    values = params.model_dump(mode="json")
    splits = values["corpus"]["splits"] | {"by": "column", "column": "split"}
    values["corpus"] |= {
        "source": "manifest",
        "root": str(corpus_root),
        "clips_per_shard": clips_per_shard,
        "splits": splits,
    }
    values["max_reject_fraction"] = 1.0
    values["decoder"]["epochs"] = values["encoder"]["epochs"] = values["encoder"]["speaker_embedding"]["epochs"] = 1
    for section, name in (("features", "weights"), ("evaluation", "second_opinion")):
        if values[section][name] is not None:
            values[section][name] = str(resolve_path(values[section][name]).resolve())
    return values


def grown(
    seconds_at: Callable[[int], float], start: int, most: int, enough_s: float
) -> tuple[tuple[int, float], tuple[int, float]]:
    """Two sizes and the seconds of each: `start`, and one, at most `most`, that takes `enough_s` longer or as near to it as that gives.

    Sizes are multiples of four, as many speakers as there are in a turn of the splits, and at least four more than `start`."""
    first, size, factor = seconds_at(start), start, 2.0
    while True:
        size = max(start + 4, min(most, -(-round(size * factor) // 4) * 4))
        seconds = seconds_at(size)
        gained = seconds - first
        if gained >= enough_s or size >= most:
            return (start, first), (size, seconds)
        factor = min(16.0, max(2.0, 1.5 * enough_s / max(gained, 0.1)))


def line(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Height and slope of the line through two points (x, y), neither below 0."""
    slope = max(0.0, (second[1] - first[1]) / (second[0] - first[0]))
    return max(0.0, first[1] - slope * first[0]), slope


def splits_swapped(work: Path) -> None:
    """Let the training speakers of a folder test, and the test speakers train."""
    swap = {"train": "test", "test": "train", "val": "val"}
    path = work / SPEAKERS_PATH
    write_splits(path, {speaker: swap[split] for speaker, split in read_splits(path).items()})
