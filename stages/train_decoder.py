"""Train the face decoder: from a face's features to a frontal, neutral face."""

from pathlib import Path

from speech2face.corpus.splits import read_splits
from speech2face.face_networks.backends import converted_weights, weight_digests
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.shards import shard_names
from speech2face.pipeline.stage import run_stage
from speech2face.training.decoder import decoder_task, read_decoder_inputs
from speech2face.training.results import write_results
from speech2face.training.runs import TrainingPlan, run

DATA, OUT, RESULTS = Path("data"), Path("models/decoder/decoder"), Path("results/decoder")


def plan(params: Params) -> TrainingPlan:
    splits, weights = read_splits(), converted_weights(params.features)
    tables = {name: json_digest(shard_names(DATA / name)) for name in ("faces", "features")}
    return TrainingPlan(
        "train_decoder",
        lambda device: decoder_task(
            params.decoder,
            params.seed,
            read_decoder_inputs(DATA, splits, params.decoder, params.features, weights),
            device,
        ),
        (read_decoder_inputs, decoder_task),
        params.decoder.model_dump(mode="json"),
        params.seed,
        {**tables, "speakers": json_digest(splits), **weight_digests(params.features)},
    )


def main(params: Params) -> str:
    return write_results("train_decoder", run(plan(params), device, OUT, RESULTS / "live"), RESULTS)


if __name__ == "__main__":
    run_stage(main, __doc__)
