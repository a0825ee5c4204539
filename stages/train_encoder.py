"""Train the voice encoder: from a spectrogram to the features of the speaker's face."""

from pathlib import Path

from speech2face.corpus.splits import read_splits
from speech2face.models.weight_files import tensors_digest
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.shards import contents
from speech2face.pipeline.stage import run_stage
from speech2face.training.encoder import build_encoder
from speech2face.training.results import write_results
from speech2face.training.runs import TrainingPlan, run

DATA, MODELS, RESULTS = Path("data"), Path("models"), Path("results/encoder")
OUT = MODELS / "encoder" / "encoder"


def plan(params: Params) -> TrainingPlan:
    splits = read_splits()
    tables = {name: json_digest(contents(DATA / name)) for name in ("spectrograms", "features")}
    networks = {name: tensors_digest(MODELS / name / f"{name}.safetensors") for name in ("decoder", "head")}
    return TrainingPlan(
        "train_encoder",
        build_encoder,
        {"data": DATA, "models": MODELS, "splits": splits, "encoder": params.encoder, "lr": params.lr},
        {**params.encoder.model_dump(mode="json"), "lr": params.lr},
        params.seed,
        {**tables, **networks, "speakers": json_digest(splits)},
    )


def main(params: Params) -> str:
    return write_results("train_encoder", run(plan(params), device, OUT, RESULTS / "live"), RESULTS)


if __name__ == "__main__":
    run_stage(main, __doc__)
