"""What a training stage says of a finished run: its numbers, and its closing line."""

from pathlib import Path

from speech2face.pipeline.atomic import write_json
from speech2face.training.runs import Trained


def write_results(stage: str, trained: Trained, directory: Path) -> str:
    """Write `directory`/training.json with the best epoch, every term of its losses, the number of epochs that were trained and the
    numbers of examples; returns the stage's closing line.

    It is no metrics file of DVC, so that `dvc metrics diff` and `dvc exp show` compare what the evaluation found, and nothing else.
    """
    epochs = {"best_epoch": trained.best_epoch + 1, "epochs": len(trained.history)}
    write_json(directory / "training.json", epochs | trained.best | trained.counts)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in trained.counts.items())
    trained_now = f"{trained.steps} steps" if trained.steps else "trained before, no step"
    return f"{stage}: {counts}, best epoch {trained.best_epoch + 1} of {len(trained.history)}, {trained_now}, {trained.seconds:.1f} s"
