"""What a training says: its numbers, and one line."""

import json
from pathlib import Path

import pytest

from speech2face.training.results import write_results
from speech2face.training.runs import Trained

TERMS = ("total", "dec", "unit", "distill", "contrastive")
COUNTS = {"clips": 120, "clips_without_face": 7}


def epoch(loss: float, recall: float | None) -> dict[str, float]:
    metrics = {f"{part}/{term}": loss + i for part in ("train", "val") for i, term in enumerate(TERMS)}
    if recall is not None:
        metrics |= {"val/recall_at_10_percent": recall, "val/mean_rank": 4.5}
    return metrics | {"lr": 2e-4}


def trained(recall: float | None, steps: int = 30) -> Trained:
    return Trained([epoch(3.0, recall), epoch(1.25, recall), epoch(2.0, recall)], 1, COUNTS, steps, 4.25)


@pytest.mark.parametrize("recall", [0.375, None], ids=["encoder", "decoder"])
def test_all_numbers_of_the_best_epoch_are_written(tmp_path: Path, recall: float | None):
    write_results("train_encoder", trained(recall), tmp_path / "deep")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["training.json"]
    training = json.loads((tmp_path / "deep" / "training.json").read_text())
    assert training == {"best_epoch": 2, "epochs": 3, **epoch(1.25, recall), **COUNTS}


def test_the_results_are_those_of_the_run_however_long_it_took_now(tmp_path: Path):
    for name, steps in (("first", 30), ("again", 0)):
        write_results("train_encoder", trained(0.375, steps), tmp_path / name)
    first, again = (tmp_path / name / "training.json" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_the_closing_line(tmp_path: Path):
    line = write_results("train_encoder", trained(0.375), tmp_path)
    assert line == "train_encoder: 120 clips, 7 clips without face, best epoch 2 of 3, 30 steps, 4.2 s"
    again = write_results("train_encoder", trained(0.375, steps=0), tmp_path)
    assert again.endswith("best epoch 2 of 3, trained before, no step, 4.2 s")
