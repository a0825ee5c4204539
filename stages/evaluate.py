"""Evaluate on unseen speakers: metrics, curves, pictures, report."""

import time
from pathlib import Path

from speech2face.evaluation.loading import load_inputs
from speech2face.evaluation.run import evaluate
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.stage import run_stage


def main(params: Params) -> str:
    started = time.monotonic()
    inputs = load_inputs(Path("data"), Path("models"), params, device())
    out, card, comparisons = Path("results/evaluation"), Path("docs/model-card.md"), Path("results/comparisons")
    headline = evaluate(inputs, params.evaluation, params.seed, out, card, comparisons)["headline"]
    recall = f"recall at 10 % of the gallery {headline['recall_at_10_percent']:.3f}"
    return f"evaluate: {len(inputs.clip_ids)} clips in, {recall}, {time.monotonic() - started:.1f} s"


if __name__ == "__main__":
    run_stage(main, __doc__)
