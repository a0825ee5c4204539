"""Describe every face by the features of a face network, and fit the classifier that the distillation term looks at."""

from pathlib import Path

from speech2face.engine import map_shards
from speech2face.features.backends import BACKENDS, weight_digests
from speech2face.features.extraction import feature_shard
from speech2face.features.head import fit_head_of_table
from speech2face.models.weights_io import save_network
from speech2face.params import Params
from speech2face.shards import count_rows, features_schema, shard_paths
from speech2face.stage import run_stage, write_json


def main(params: Params) -> str:
    faces, out, backend = Path("data/faces"), Path("data/features"), params.features.backend
    feature_dim = BACKENDS[backend].feature_dim
    summary = map_shards(
        "extract_features",
        feature_shard,
        [[{"shard": path.name}] for path in shard_paths(faces)],
        schema=features_schema(feature_dim),
        out=out,
        settings={"backend": backend},
        context={"faces": str(faces)},
        max_reject_fraction=params.max_reject_fraction,
        weights=weight_digests(backend),
        rows_in=count_rows(faces),
    )
    head, accuracy = fit_head_of_table(out, params.features.head_l2)
    save_network(head, out / "head", feature_dim=feature_dim, num_classes=head.out_features)
    write_json(Path("results/features/metrics.json"), summary.metrics() | {"head_training_accuracy": accuracy})
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
