"""Describe every face by the features of a face network, and fit the classifier that the distillation term looks at."""

from pathlib import Path

from speech2face.face_networks.backends import load_backend, own_head, weight_digests
from speech2face.face_networks.extraction import feature_shard
from speech2face.face_networks.table import features_schema
from speech2face.models.head import fit_head_of_table
from speech2face.models.weight_files import save_network
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Params
from speech2face.pipeline.shards import count_rows, footer, shard_paths
from speech2face.pipeline.stage import run_stage


def main(params: Params) -> str:
    faces, out, features = Path("data/faces"), Path("data/features"), params.features
    backend = load_backend(features)
    summary = map_shards(
        "extract_features",
        feature_shard,
        [[{"shard": path.name, "rows": footer(path)[0]}] for path in shard_paths(faces)],
        schema=features_schema(backend.feature_dim),
        out=out,
        settings=features.model_dump(include={"backend", "layer"}),
        context={"faces": str(faces), "weights": features.weights},
        max_reject_fraction=params.max_reject_fraction,
        weights=weight_digests(features),
        rows_in=count_rows(faces),
        on_device=True,
    )
    head = own_head(backend) or fit_head_of_table(out, features.head_l2)
    save_network(head, out / "head", feature_dim=head.in_features, num_classes=head.out_features, relu=head.relu)
    write_json(Path("results/features/metrics.json"), summary.metrics())
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
