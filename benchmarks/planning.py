"""Time and peak memory of planning each stage, for a generated manifest of some clips and for one of ten times as many.

    python benchmarks/planning.py [CLIPS]

A manifest as that of VoxCeleb1, 180 clips a speaker, eight clips and ten pictures a video; its files do not exist. The stages find what
is finished and hand the rest to workers, whose work is replaced by writing an empty shard (first); then all is finished (again). Memory
is that of the parent, workers left out.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import pyarrow as pa
import pyarrow.parquet as pq

from speech2face.corpus.manifest import COLUMNS, CORPUS, MANIFEST_NAME

ROOT = Path(__file__).parents[1]
CLIPS_PER_SPEAKER, CLIPS_PER_VIDEO, PICTURES = 180, 8, 10
ROWS_PER_GROUP = 10_000

PLAN = """
import dataclasses, resource, sys, time
sys.path[:0] = [{root!r}, {root!r} + "/src"]
from pathlib import Path
from benchmarks.planning import nothing
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import load_params
from speech2face.why import stage_script

if __name__ == "__main__":
    script = stage_script(sys.argv[1])
    params = load_params()
    if sys.argv[1] == "embed_voices":
        encoder = params.encoder.model_copy(update={{"network": "speaker_embedding"}})
        params = params.model_copy(update={{"encoder": encoder}})
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    started, used = time.perf_counter(), time.process_time()
    plan = dataclasses.replace(script.plan(params), function=nothing, on_device=False)
    names = len(set(map(plan.fingerprint, plan.shards())))
    planned = time.perf_counter() - started
    summary = map_shards(plan, script.OUT, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{{summary.rows_in}} rows, {{names}} shards planned in {{planned:.1f}} s, mapped in",
          f"{{time.perf_counter() - started - planned:.1f}} s ({{summary.computed}} computed), parent's processor time",
          f"{{time.process_time() - used:.1f}} s, peak {{peak}} MiB, of which {{loaded}} MiB before planning")
"""


def nothing(rows, settings, context) -> Iterator[dict]:
    """A shard without rows."""
    yield from ()


def write_manifest(path: Path, num_clips: int) -> None:
    """Clips in the order of their ids, a row group at a time."""
    path.parent.mkdir(parents=True)
    with pq.ParquetWriter(path, COLUMNS) as writer:
        for start in range(0, num_clips, ROWS_PER_GROUP):
            rows = [_row(number) for number in range(start, min(start + ROWS_PER_GROUP, num_clips))]
            writer.write_table(pa.Table.from_pylist(rows, COLUMNS))


def _row(number: int) -> dict[str, object]:
    speaker, of_speaker = divmod(number, CLIPS_PER_SPEAKER)
    video, utterance = divmod(of_speaker, CLIPS_PER_VIDEO)
    speaker_id, folder = f"id{10001 + speaker:06d}", f"video{video:06d}"
    pictures = [f"unzippedFaces/Speaker_{speaker:06d}/1.6/{folder}/{n:07d}.jpg" for n in range(PICTURES)]
    clip_id = f"{speaker_id}/{folder}/{utterance + 1:05d}"
    return dict.fromkeys(COLUMNS.names) | {
        "clip_id": clip_id,
        "speaker_id": speaker_id,
        "audio_path": f"wav/{clip_id}.wav",
        "audio_sha256": hashlib.sha256(clip_id.encode()).hexdigest(),
        "audio_bytes": 192_044,
        "image_paths": pictures,
        "image_sha256": [hashlib.sha256(picture.encode()).hexdigest() for picture in pictures],
        "image_bytes": [15_112] * PICTURES,
        "source": "voxceleb1",
    }


def plan(stage: str, work: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "DVC_ROOT": str(work)}
    script = work / "plan.py"
    script.write_text(PLAN.format(root=str(ROOT)))
    for name in ("first", "again"):
        command = [sys.executable, str(script), stage]
        done = subprocess.run(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{stage}, {name}: {done.stdout.strip()}", flush=True)


def main(num_clips: int) -> None:
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            (work / "stages").symlink_to(ROOT / "stages")
            (work / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
            write_manifest(work / CORPUS / MANIFEST_NAME, num_clips * times)
            print(f"{num_clips * times} clips", flush=True)
            for stage in ("segment_audio", "embed_voices", "crop_faces", "extract_features"):
                plan(stage, work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=int, default=10_000)
    main(parser.parse_args().clips)
