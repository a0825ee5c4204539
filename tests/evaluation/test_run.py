"""A whole evaluation into a folder: which files, what is in them, the same bytes, and corpora of all kinds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speech2face.evaluation.run import evaluate
from tests.simulated import CORPORA, QUICK, simulate, with_pictures

pytestmark = pytest.mark.slow


class TestFiles:
    def test_all_are_written(self, evaluated):
        out = evaluated("plain").out
        files = {"metrics.json", "results.json", "report.html", "strip.png", "tables", "card.md"}
        assert {path.name for path in out.iterdir()} == files
        assert {path.name for path in (out / "tables").iterdir()} == {
            f"{name}.csv"
            for name in ("amount_of_speech", "clips", "confusions", "embeddings", "groups", "measures", "recall", "roc")
        }

    def test_results_are_all_and_metrics_their_headline(self, evaluated):
        run = evaluated("plain")
        assert json.loads((run.out / "results.json").read_text()) == run.results
        metrics = json.loads((run.out / "metrics.json").read_text())
        assert list(metrics.items()) == list(run.results["headline"].items())
        assert (
            len(metrics) <= 20
        )  # no more than dvc can show side by side; those of the trainings are not shown beside them

    def test_tables_are_those_that_were_made(self, evaluated):
        run = evaluated("plain")
        clips = pd.read_csv(run.out / "tables/clips.csv")
        assert len(clips) == run.results["counts"]["test_clips"]
        assert clips["centred_cosine"].mean() == pytest.approx(run.results["headline"]["centred_cosine"], abs=1e-5)

    def test_the_same_inputs_give_the_same_bytes(self, evaluated, tmp_path):
        out = evaluated("plain").out
        evaluate(CORPORA["plain"](), QUICK, 0, tmp_path, tmp_path / "card.md")
        for path in sorted(out.rglob("*.*")):
            assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name


class TestFacesOfSpeakers:
    """Faces in a video of their own, as in HQ-VoxCeleb, so that no clip's own video has one."""

    def test_pictures_are_of_the_speakers(self, evaluated):
        assert (evaluated("photographed").out / "strip.png").exists()

    def test_clips_without_any_face_are_counted_and_shown(self, evaluated):
        assert evaluated("photographed").results["counts"]["test_clips_without_face"] == 3
        assert "no face to be compared with, and were left out: 3." in evaluated("photographed").page
        assert "own video has no face: 64." in evaluated("photographed").page
        assert "no face to be compared with" not in evaluated("plain").page


class TestSmallOrBare:
    def test_one_clip_of_one_test_speaker_with_a_decoder(self, tmp_path):
        inputs = with_pictures(simulate(12, test_fraction=1 / 12, videos=1))
        assert len(inputs.clip_ids) == 1
        results = evaluate(inputs, QUICK, 0, tmp_path, tmp_path / "card.md")
        assert results["craniofacial"] == {}
        assert "No correlation is defined" in (tmp_path / "report.html").read_text()
        assert "one_of_two" not in results["headline"]

    def test_a_collapsed_encoder_with_a_decoder(self, tmp_path):
        inputs = with_pictures(simulate(40))
        same = np.tile(inputs.predicted["6 s"][:1], (len(inputs.clip_ids), 1))
        results = evaluate(replace(inputs, predicted={"6 s": same}), QUICK, 0, tmp_path, tmp_path / "card.md")
        assert results["craniofacial"] == {}
        assert "No correlation is defined" in (tmp_path / "report.html").read_text()
        assert results["headline"]["recall_at_10_percent"] == pytest.approx(results["headline"]["chance"], rel=1e-4)

    def test_classes_of_any_name(self, tmp_path):
        inputs = simulate(40)
        odd = inputs.attributes[["sex"]].replace({"f": r"$\frac$", "m": "<&$"})
        evaluate(replace(inputs, attributes=odd, roles={}), QUICK, 0, tmp_path, tmp_path / "card.md")
        assert r"$\frac$" in (tmp_path / "report.html").read_text()

    def test_no_attributes(self, evaluated):
        assert "rules out" in evaluated("bare").card
        assert "no attribute that could be read" in evaluated("bare").page

    def test_no_decoder(self, evaluated):
        assert not (evaluated("leaking").out / "strip.png").exists()
        assert "No pictures: this evaluation was given no decoder" in evaluated("leaking").page
