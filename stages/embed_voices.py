"""Describe every segment of a recording by the embeddings of frozen speaker networks, where the encoder hears or learns from them."""

from pathlib import Path

from speech2face.audio.extraction import ROW_KEYS, recordings
from speech2face.corpus.manifest import iterate_clips
from speech2face.corpus.paths import places
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.stage import run_stage
from speech2face.speaker_networks.backends import converted_weights, embedding_dim, needed
from speech2face.speaker_networks.extraction import Embedding, embedding_shard
from speech2face.speaker_networks.table import embeddings_schema

OUT = Path("data/embeddings")


def plan(params: Params) -> Plan:
    wanted = needed(params.encoder)
    networks = params.encoder.speaker_embedding.networks if wanted else []
    weights = converted_weights(networks)
    return Plan(
        "embed_voices",
        embedding_shard,
        lambda: recordings(iterate_clips(ROW_KEYS) if wanted else [], params.corpus.clips_per_shard),
        embeddings_schema(params.audio.segment_s, embedding_dim(networks)),
        Embedding(audio=params.audio, networks=list(networks)),
        {**places(params.corpus.root), "weights": weights},
        weights={name: path.stem for name, path in weights.items()},
        on_device=True,
    )


def main(params: Params) -> str:
    summary = map_shards(plan(params), OUT, params.max_reject_fraction)
    write_json(Path("results/embeddings/counts.json"), summary.counts())
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
