"""What a training stage says of a finished run: metrics to compare, all numbers beside them, and its closing line."""

from pathlib import Path

from speech2face.pipeline.atomic import write_json
from speech2face.training.runs import Trained

HEADLINE = {"val/total": "validation_loss", "val/recall_at_10_percent": "validation_recall_at_10_percent"}


def write_results(stage: str, trained: Trained, directory: Path) -> str:
    """Write `directory`/metrics.json, a few numbers that `dvc metrics diff` compares, and training.json with every term of the best
    epoch and the numbers of examples; returns the stage's closing line."""
    best = trained.best
    metrics = {"best_epoch": trained.best_epoch + 1}
    write_json(directory / "metrics.json", metrics | {new: best[old] for old, new in HEADLINE.items() if old in best})
    write_json(directory / "training.json", metrics | best | trained.counts)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in trained.counts.items())
    trained_now = f"{trained.steps} steps" if trained.steps else "trained before, no step"
    return f"{stage}: {counts}, best epoch {trained.best_epoch + 1} of {len(trained.history)}, {trained_now}, {trained.seconds:.1f} s"
