"""Turn every recording into what the voice encoder hears: spectrograms, or the waveforms that they are computed from."""

from pathlib import Path

from speech2face.audio.extraction import ROW_KEYS, recordings, table_of
from speech2face.corpus.manifest import iterate_clips
from speech2face.corpus.paths import places
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.stage import run_stage

OUT = Path("data/spectrograms")


def plan(params: Params) -> Plan:
    function, schema = table_of(params.audio)
    return Plan(
        "segment_audio",
        function,
        lambda: recordings(iterate_clips(ROW_KEYS), params.corpus.clips_per_shard),
        schema,
        params.audio,
        places(params.corpus.root),
        unread=frozenset({"stored"}),
    )


def main(params: Params) -> str:
    summary = map_shards(plan(params), OUT, params.max_reject_fraction)
    write_json(Path("results/spectrograms/counts.json"), summary.counts())
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
