"""Describe every face by the features of a face network, and fit the classifier that the distillation term looks at."""

from pathlib import Path

from speech2face.corpus.splits import read_splits
from speech2face.face_networks.backends import converted_weights, feature_dim, head_of, weight_digests
from speech2face.face_networks.extraction import feature_shard
from speech2face.face_networks.table import features_schema
from speech2face.models.weight_files import save_network
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.shards import footer, footer_text, shard_paths
from speech2face.pipeline.stage import run_stage

FACES, OUT, HEAD = Path("data/faces"), Path("data/features"), Path("models/head/head")


def plan(params: Params) -> Plan:
    paths = shard_paths(FACES)
    return Plan(
        "extract_features",
        feature_shard,
        lambda: ([{"shard": path.name, "content": footer_text(path, "content")}] for path in paths),
        features_schema(feature_dim(params.features)),
        params.features,
        {"faces": str(FACES), "weights": converted_weights(params.features)},
        unread=frozenset({"weights", "head_l2"}),
        weights=weight_digests(params.features),
        count=lambda row: footer(FACES / row["shard"]).num_rows,
        on_device=True,
    )


def main(params: Params) -> str:
    summary = map_shards(plan(params), OUT, params.max_reject_fraction)
    head = head_of(params.features, OUT, read_splits())
    save_network(head, HEAD, feature_dim=head.in_features, num_classes=head.out_features, relu=head.relu)
    write_json(Path("results/features/counts.json"), summary.counts())
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
