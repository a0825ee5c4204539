"""Train the voice encoder: from what is heard of a voice to the features of the speaker's face."""

from pathlib import Path

from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.stage import run_stage
from speech2face.training.plans import plan_encoder
from speech2face.training.results import write_results
from speech2face.training.runs import TrainingPlan, run

DATA, MODELS, RESULTS = Path("data"), Path("models"), Path("results/encoder")
OUT = MODELS / "encoder" / "encoder"


def plan(params: Params) -> TrainingPlan:
    return plan_encoder(params, DATA, MODELS)


def main(params: Params) -> str:
    return write_results("train_encoder", run(plan(params), device, OUT, RESULTS / "live"), RESULTS)


if __name__ == "__main__":
    run_stage(main, __doc__)
