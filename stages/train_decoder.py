"""Train the face decoder: from a face's features to a frontal, neutral face."""

from pathlib import Path

from speech2face.corpus.splits import read_splits
from speech2face.face_networks.backends import converted_weights, weight_digests
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.shards import contents
from speech2face.pipeline.stage import run_stage
from speech2face.training.decoder import build_decoder
from speech2face.training.results import write_results
from speech2face.training.runs import TrainingPlan, run

DATA, OUT, RESULTS = Path("data"), Path("models/decoder/decoder"), Path("results/decoder")


def plan(params: Params) -> TrainingPlan:
    decoder, features, splits = params.decoder, params.features, read_splits()
    weights = converted_weights(features)
    tables = {name: json_digest(contents(DATA / name)) for name in ("faces", "features")}
    return TrainingPlan(
        "train_decoder",
        build_decoder,
        {"data": DATA, "splits": splits, "decoder": decoder, "features": features, "weights": weights},
        {**decoder.model_dump(mode="json"), "backend": features.backend, "layer": features.layer},
        params.seed,
        {**tables, "speakers": json_digest(splits), **weight_digests(features)},
    )


def main(params: Params) -> str:
    return write_results("train_decoder", run(plan(params), device, OUT, RESULTS / "live"), RESULTS)


if __name__ == "__main__":
    run_stage(main, __doc__)
