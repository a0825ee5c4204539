"""Time and peak memory of listing a generated VoxCeleb1 tree, once and again, and of loading the manifest. Each in its own process.

    python benchmarks/listing.py [CLIPS]

Forty clips a speaker, eight clips and ten pictures a video. All are hard links to a few files, so the tree is small and its bytes come
from the file cache. On a disk, the first listing takes as long as reading all files once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from ruamel.yaml import YAML
from tests.corpus.trees import VOX1_HEADER, write_meta, write_picture, write_wav

ROOT = Path(__file__).parents[1]
VIDEOS, CLIPS, PICTURES = 5, 8, 10
SPEAKERS_PER_POOL = 1000  # a file has 65,000 links at most on some file systems

LOAD = """
import resource, sys, time
from pathlib import Path
from speech2face.corpus.manifest import iterate_clips, read_manifest
started = time.perf_counter()
rows = read_manifest(Path(sys.argv[1])).num_rows
loaded = time.perf_counter()
walked = sum(1 for _ in iterate_clips(["clip_id", "audio_path", "image_paths"], Path(sys.argv[1])))
print(f"{rows} rows: loaded in {loaded - started:.2f} s, walked in {time.perf_counter() - loaded:.2f} s,",
      f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
"""


def make_tree(root: Path, num_clips: int) -> None:
    rows = []
    for s in range(num_clips // (VIDEOS * CLIPS)):
        if s % SPEAKERS_PER_POOL == 0:
            sounds = [write_wav(root / f".pool/{s}-{n}.wav", 100 + n, 6.0) for n in range(8)]
            picture = write_picture(root / f".pool/{s}.jpg")
        speaker, name = f"id{10001 + s}", f"Speaker_{s:04d}"
        rows.append((speaker, name, "m", "Norway", "dev"))
        for video in range(VIDEOS):
            sound, faces = root / f"wav/{speaker}/video{video}", root / f"unzippedFaces/{name}/1.6/video{video}"
            sound.mkdir(parents=True)
            faces.mkdir(parents=True)
            for n in range(CLIPS):
                (sound / f"{n + 1:05d}.wav").hardlink_to(sounds[n % len(sounds)])
            for n in range(PICTURES):
                (faces / f"{n:07d}.jpg").hardlink_to(picture)
    write_meta(root / "vox1_meta.csv", VOX1_HEADER, rows)


def main(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, work = Path(folder) / "voxceleb1", Path(folder) / "work"
        work.mkdir()
        make_tree(root, num_clips)
        values = YAML(typ="safe").load(ROOT / "params.yaml")
        values["corpus"] |= {"source": "voxceleb1", "root": str(root)}
        YAML().dump(values, work / "params.yaml")
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "DVC_ROOT": str(work)}
        for name in ("first", "again"):
            stage = ROOT / "stages" / "make_corpus.py"
            code = f"import resource, runpy, sys; sys.argv = ['make_corpus']; runpy.run_path({str(stage)!r}, run_name='__main__')"
            peak = "; usage = resource.getrusage(resource.RUSAGE_SELF)"
            peak += "; print(round(usage.ru_utime + usage.ru_stime, 1), 's of processors, peak', usage.ru_maxrss // 1024, 'MiB')"
            done = subprocess.run(
                [sys.executable, "-c", code + peak],
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"{name}: {' '.join(done.stdout.split())}")
        manifest = str(work / "data/corpus/manifest.parquet")
        done = subprocess.run(
            [sys.executable, "-c", LOAD, manifest], env=environment, capture_output=True, text=True, check=True
        )
        print(done.stdout.strip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=int, default=10_000)
    main(parser.parse_args().clips)
