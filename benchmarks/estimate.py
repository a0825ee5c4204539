"""What `speech2face estimate` predicts, against a run: the whole pipeline by `dvc repro`, on generated recordings.

    PYTHONPATH=src python benchmarks/estimate.py [--clips 10000] [--clock wall] [--write docs/scale.md]

First this machine is measured and the run predicted, then it is run, in a copy of the repository as it is in the working tree. The corpus
is of VoxCeleb1's kind, 18 videos of a speaker with 7 clips each, and each speaker is another. Parameters are those of params.yaml, with one
epoch of each training and three pictures of a video. Half of the speakers train, a quarter validates, a quarter tests. 10,000 clips take
some 30 minutes on two processors, of which a quarter is the measurement. `--clock processor` counts the seconds that processors worked,
where other work runs on the machine; with S2F_WORKERS=1 and OMP_NUM_THREADS=1 these are those of the clock.
"""

import argparse
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from ruamel.yaml import YAML

from speech2face.estimate.bench import read_outs, size_of
from speech2face.estimate.corpora import CORPORA, CorpusSize
from speech2face.estimate.measuring import measure
from speech2face.estimate.model import DVC, STAGES, Row, machine_of, predict
from speech2face.estimate.page import disk_text, machine_text, memory_text, time_text
from speech2face.estimate.sample import make_voices, write_corpus
from speech2face.estimate.watching import Clock, run
from speech2face.pipeline.params import Params

ROOT = Path(__file__).parents[1]
VIDEOS, CLIPS, PICTURES = 18, 7, 3
START, END = "<!-- a run against its estimate -->", "<!-- end of a run against its estimate -->"
PYTHON = """#!{python}
import json, os, sys
from pathlib import Path
sys.path.insert(0, {source!r})
from speech2face.estimate.watching import run
done = run([{python!r}, *sys.argv[1:]], Path(), os.environ, {clock!r})
with open({log!r}, "a") as log:
    log.write(json.dumps([Path(sys.argv[1]).stem, done.seconds, done.memory_mib]) + "\\n")
print(done.text, end="")
"""


def parameters(root: Path | None) -> Params:
    """Those of the run, on the corpus in the folder `root`; None for the synthetic one."""
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["corpus"] |= {"pictures_per_video": PICTURES}
    values["corpus"]["splits"] |= {"by": "hash", "val": 0.25, "test": 0.25}
    values["decoder"]["epochs"] = values["encoder"]["epochs"] = 1
    if root is not None:  # the list has a column of splits
        values["corpus"] |= {"source": "manifest", "root": str(root)}
    return Params.model_validate(values)


def copy_repository(target: Path) -> None:
    """A repository with the files of the working tree, where nothing has run."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    (target / "dvc.lock").unlink(missing_ok=True)
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "as it is"]):
        subprocess.run(["git", *command], cwd=target, check=True)


def run_pipeline(work: Path, params: Params, clock: Clock) -> list[Row]:
    """Run the whole pipeline in a copy of the repository: what each stage took, and DVC besides."""
    with (work / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params.model_dump(mode="json"), file)
    commands, log = work / ".work/bin", work / ".work/log"
    commands.mkdir(parents=True)
    python = commands / "python"
    python.write_text(
        PYTHON.format(python=sys.executable, source=str(ROOT / "src"), clock=clock, log=str(log)), encoding="utf-8"
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("DVC", "PYTHONPATH"))}
    environment |= {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    whole = run([sys.executable, "-m", "dvc", "repro"], work, environment, clock)
    outs = read_outs(work / "dvc.yaml")
    found = {}
    for line in log.read_text("utf-8").splitlines():
        stage, seconds, memory = json.loads(line)
        found[stage] = Row(stage, seconds, memory, sum(size_of(work / out) for out in outs[stage]))
    rows = [found[stage] for stage in STAGES]
    return [*rows, Row(DVC, whole.seconds - sum(row.seconds for row in rows), 0.0, 0.0)]


def table(predicted: list[Row], measured: list[Row]) -> str:
    """Predicted against measured, as Markdown; of the time and of the bytes the ratio as well."""
    predicted, measured = ([*rows, total(rows)] for rows in (predicted, measured))
    lines = [
        "| stage | time, predicted | measured | ratio | memory, predicted | measured | disk, predicted | measured |"
    ]
    lines.append(f"|{'---|' * 8}")
    for one, other in zip(predicted, measured, strict=True):
        ratio = f"{one.seconds / other.seconds:.2f}"
        times, memories, sizes = (
            (text(getattr(one, name)), text(getattr(other, name)))
            for text, name in ((time_text, "seconds"), (memory_text, "memory_mib"), (disk_text, "bytes"))
        )
        cells = [one.stage, *times, ratio, *(memories if other.memory_mib else ("", "")), *sizes]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def total(rows: list[Row]) -> Row:
    return Row("total", sum(r.seconds for r in rows), max(r.memory_mib for r in rows), sum(r.bytes for r in rows))


def write(page: Path, text: str) -> None:
    """Put a text between the marks of a page."""
    before = page.read_text("utf-8")
    after = re.sub(f"{START}.*?{END}", lambda _: f"{START}\n{text}\n{END}", before, flags=re.DOTALL)
    if START not in before:
        raise SystemExit(f"{page} has no line {START}")
    page.write_text(after, "utf-8")


def sized(num_clips: int) -> CorpusSize:
    speakers = max(8, round(num_clips / VIDEOS / CLIPS))
    return CORPORA["voxceleb1"].resized(speakers * VIDEOS * CLIPS, speakers * VIDEOS, speakers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000, help="about so many (default: %(default)s)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement (default: %(default)g)")
    parser.add_argument("--write", type=Path, help="the page that the table goes into")
    arguments = parser.parse_args()
    corpus = sized(arguments.clips)
    with tempfile.TemporaryDirectory(prefix="speech2face-run-") as name:
        folder = Path(name)
        params = parameters(None)
        rates = measure(params, [corpus], ROOT, arguments.seconds, arguments.clock)
        predicted = predict(rates, corpus, params, machine_of(rates, None, None))
        print(f"predicted: {time_text(total(predicted).seconds)}. Now the run.", flush=True)
        voices = list(make_voices(folder / "voices", corpus, corpus.speakers, seed=1))
        root = write_corpus(folder / "corpus", voices, PICTURES, corpus.speakers, VIDEOS, CLIPS)
        work = folder / "repository"
        copy_repository(work)
        measured = run_pipeline(work, parameters(root), arguments.clock)
    title = f"{corpus.clips:,} clips, {corpus.videos:,} videos, {corpus.speakers} speakers; {machine_text(machine_of(rates, None, None))}"
    clock = "" if arguments.clock == "wall" else "; seconds that processors worked"
    text = f"{title}{clock}.\n\n{table(predicted, measured)}"
    print(text)
    if arguments.write is not None:
        write(arguments.write, text)


if __name__ == "__main__":
    main()
