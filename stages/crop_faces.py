"""Find the face in every picture and video, and cut it out with its landmarks."""

from pathlib import Path

from speech2face.corpus.manifest import iterate_clips
from speech2face.corpus.paths import places
from speech2face.dlib_nets.weights import DETECTOR, LANDMARKS, SHA256
from speech2face.faces.crops import FACE_COLUMNS, count_items, face_rows, row_id
from speech2face.faces.extraction import face_shard
from speech2face.faces.table import FACES
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.provenance import chunk
from speech2face.pipeline.stage import run_stage

OUT = Path("data/faces")


def plan(params: Params) -> Plan:
    return Plan(
        "crop_faces",
        face_shard,
        lambda: chunk(face_rows(iterate_clips(FACE_COLUMNS)), params.corpus.clips_per_shard, row_id),
        FACES,
        params.faces,
        places(params.corpus.root),
        weights={name: SHA256[name] for name in (DETECTOR, LANDMARKS)},
        count=count_items,
        on_device=True,
    )


def main(params: Params) -> str:
    summary = map_shards(plan(params), OUT, params.max_reject_fraction)
    write_json(Path("results/faces/counts.json"), summary.counts())
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
