"""Peak memory of the stages that map over clips, for a corpus and for one four times as large.

Usage: PYTHONPATH=src python benchmarks/memory.py [CORPUS]   (default: data/recordings, which `dvc repro make_corpus` makes)

The larger corpus holds links to the same files under new speakers' names. Memory is the resident memory of all processes of a stage,
sampled every 20 ms; the largest sum counts. Shared pages count once for each process, so it is an upper bound.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
STAGES = ("segment_audio", "crop_faces", "extract_features")


def grow(source: Path, target: Path, times: int) -> None:
    """A VoxCeleb1 tree with `times` copies of every speaker of `source`."""
    header, *lines = (source / "vox1_meta.csv").read_text().splitlines()
    meta = [header]
    for copy in range(times):
        for line in lines:
            speaker_id, name, *rest = line.split("\t")
            meta.append("\t".join((f"{speaker_id}{copy}", f"{name}_{copy}", *rest)))
            for folder, old, new in (
                ("wav", speaker_id, f"{speaker_id}{copy}"),
                ("unzippedFaces", name, f"{name}_{copy}"),
            ):
                shutil.copytree(source / folder / old, target / folder / new, copy_function=os.link)
    (target / "vox1_meta.csv").write_text("\n".join(meta) + "\n")


def peak_mb(command: list[str], cwd: Path) -> tuple[float, float, str]:
    """Peak memory in MB (10^6 bytes) and duration in s of a command and its children, and its last line."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | {"PYTHONPATH": "src"}, stdout=subprocess.PIPE, text=True
    )
    tree = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for member in (tree, *tree.children(recursive=True)):
                total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, total)
        time.sleep(0.02)
    output = process.stdout.read().strip() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return peak / 1e6, time.monotonic() - started, output.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=Path, default=ROOT / "data/recordings")
    corpus = parser.parse_args().corpus.resolve()
    results: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for times in (1, 4):
        with tempfile.TemporaryDirectory(dir=corpus.parent) as folder:
            copy = Path(folder) / "pipeline"
            for name in ("src", "stages"):
                shutil.copytree(ROOT / name, copy / name)
            grow(corpus, Path(folder) / "corpus", times)
            params = (ROOT / "params.yaml").read_text().replace("source: synthetic", "source: voxceleb1", 1)
            (copy / "params.yaml").write_text(params.replace("root: null", f"root: {folder}/corpus", 1))
            subprocess.run(
                [sys.executable, "stages/make_corpus.py"], cwd=copy, env=os.environ | {"PYTHONPATH": "src"}, check=True
            )
            for stage in STAGES:
                peak, seconds, line = peak_mb([sys.executable, f"stages/{stage}.py"], copy)
                results[stage].append(peak)
                print(f"{times} x: {stage} {peak:.0f} MB, {seconds:.1f} s ({line})", flush=True)
    for stage, (once, four) in results.items():
        print(f"{stage}: {once:.0f} MB, 4 x the clips {four:.0f} MB, ratio {four / once:.2f}")


if __name__ == "__main__":
    main()
