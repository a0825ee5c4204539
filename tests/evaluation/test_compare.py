"""Files of other runs beside a run's own, and what its report and results have of them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from speech2face.evaluation.compare import compare, compare_with_all, read_clips
from speech2face.evaluation.run import evaluate
from speech2face.measures.aligned import align
from speech2face.measures.differences import OF_DECODED, REPORTED, Comparisons, differences
from speech2face.measures.measure import measure
from speech2face.measures.tables import make_tables
from tests.simulated import CORPORA, QUICK, SETTINGS, simulate, table_of_clips

pytestmark = pytest.mark.slow

BETTER_IF_HIGHER = ("cosine", "centred_cosine", "recall_at_10_percent", "reciprocal_rank", "one_of_2", "decoded_cosine")


def write(path: Path, better: float = 0.0, seed: int = 0, speakers: int = 60) -> Path:
    table_of_clips(better, seed, speakers).to_csv(path, index=False)
    return path


def test_files_are_compared_as_their_tables(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", better=0.1, seed=1)
    expected = differences(table_of_clips(), table_of_clips(better=0.1, seed=1), SETTINGS, 0)
    pd.testing.assert_frame_equal(compare(first, second, SETTINGS, 0), expected)


def test_other_clips_are_refused(tmp_path):
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", speakers=40)
    with pytest.raises(ValueError, match="same test clips"):
        compare(first, second, SETTINGS, 0)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "recall.csv").write_text("rank,recall\n1,0.5\n")
    with pytest.raises(ValueError, match="lacks the columns clip_id"):
        compare(tmp_path / "recall.csv", write(tmp_path / "b.csv"), SETTINGS, 0)


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv is not a table"):
        compare(write(tmp_path / "a.csv"), tmp_path / "empty.csv", SETTINGS, 0)


def test_classes_and_speakers_that_look_like_other_things(tmp_path):
    """Classes that a file does not tell from truth values, gaps and numbers; speakers that differ by a nought, or are called NA."""
    names = {"True": "1", "False": "2"}
    paths, tables = [], []
    for run, noise in (("a", 0.5), ("b", 4.0)):
        inputs = simulate(noise=noise)
        sex = inputs.attributes["sex"].map({"f": "True", "m": "False"})
        attributes = pd.DataFrame(
            {"said": sex, "digit": sex.map(names), "origin": sex.map({"True": "NA", "False": "SA"})}
        )
        attributes.loc[attributes.index.str.startswith("id00003"), "said"] = None
        attributes["age_years"] = inputs.attributes["age_years"]
        inputs = replace(inputs, attributes=attributes, roles=dict.fromkeys(attributes, "linked"))
        aligned = align(inputs)
        table = make_tables(aligned, measure(inputs, aligned, QUICK, 0))["clips"]
        table["speaker_id"] = table["speaker_id"].replace({"id00000": "07", "id00001": "7", "id00002": "NA"})
        table.to_csv(tmp_path / f"{run}.csv", index=False, float_format="%.6g")
        paths.append(tmp_path / f"{run}.csv")
        tables.append(table)
    found = compare(*paths, QUICK, 0).set_index("measure")
    for place, table in zip(("first", "second"), tables, strict=True):
        for name in ("said", "digit", "origin"):
            known = table[f"{name}_true"].notna()
            right = [t == r for t, r in zip(table[f"{name}_true"], table[f"{name}_from_voice"], strict=True)]
            assert 0.6 < np.mean(np.array(right)[known]) <= 1
            assert found.loc[f"{name}_accuracy", place] == pytest.approx(np.mean(np.array(right)[known])), name
        error = (table["age_years_true"] - table["age_years_from_voice"]).abs().mean()
        assert found.loc["age_years_absolute_error", place] == pytest.approx(error, rel=1e-5)
    assert tables[0]["said_true"].isna().sum() == 2
    assert read_clips(paths[0])["speaker_id"].nunique() == 48
    digits = tables[0].assign(speaker_id=tables[0]["speaker_id"].replace("NA", "007").str.removeprefix("id"))
    digits.to_csv(paths[0], index=False)
    assert read_clips(paths[0])["speaker_id"].tolist() == digits["speaker_id"].tolist()


class TestWithAll:
    def test_each_file_is_compared_or_set_aside(self, tmp_path):
        own, others = write(tmp_path / "own.csv"), tmp_path / "others"
        others.mkdir()
        write(others / "better.csv", better=0.1, seed=1)
        write(others / "other_corpus.csv", speakers=40)
        # As it was written when faces were found by raw cosine, whose recall is no match for today's.
        table_of_clips().drop(columns="recall_at_10_percent_raw").to_csv(others / "other_measures.csv", index=False)
        (others / "README.md").write_text("not a table")
        found = compare_with_all(own, others, SETTINGS, 0)
        assert found.skipped == ["other_corpus", "other_measures"]
        entry = found.as_results()
        assert list(entry) == ["better"]
        assert list(entry["better"]) == [name for name in REPORTED if name not in OF_DECODED]
        whole = compare(own, others / "better.csv", SETTINGS, 0).set_index("measure")
        for name, values in entry["better"].items():
            assert values == whole.loc[name, ["difference", "low", "high", "p_value"]].to_dict()

    def test_another_table_there_is_an_error(self, tmp_path):
        (tmp_path / "others").mkdir()
        (tmp_path / "others/recall.csv").write_text("rank,recall\n1,0.5\n")
        with pytest.raises(ValueError, match=r"recall\.csv lacks the columns"):
            compare_with_all(write(tmp_path / "own.csv"), tmp_path / "others", SETTINGS, 0)

    @pytest.mark.parametrize("directory", [None, "missing"])
    def test_nothing_there_is_nothing_found(self, directory, tmp_path):
        where = None if directory is None else tmp_path / directory
        assert compare_with_all(write(tmp_path / "own.csv"), where, SETTINGS, 0) == Comparisons()


@pytest.fixture(scope="module")
def compared(evaluated, tmp_path_factory):
    """A noisy run beside a better one of the same clips, itself, and one of other clips: its folder and its results."""
    root = tmp_path_factory.mktemp("compared")
    others = root / "comparisons"
    others.mkdir()
    for name, run in {"l1_alone": "noisy", "with_contrastive": "plain", "other_corpus": "bare"}.items():
        (others / f"{name}.csv").write_bytes((evaluated(run).out / "tables/clips.csv").read_bytes())
    return root / "run", evaluate(CORPORA["noisy"](), QUICK, 0, root / "run", comparisons=others)


class TestInARun:
    def test_a_better_run_is_reported_as_better(self, compared):
        _, results = compared
        found = results["comparisons"]["with_contrastive"]
        for name in BETTER_IF_HIGHER:
            assert 0 < found[name]["low"] < found[name]["difference"] < found[name]["high"], name
            assert found[name]["p_value"] == pytest.approx(1 / 201, rel=1e-4), name
        assert found["age_years_absolute_error"]["high"] < 0
        # One decoder drew both runs, so what it makes of true features cannot differ.
        assert found["decoded_true_cosine"] == {"difference": 0, "low": 0, "high": 0, "p_value": 1}

    def test_a_run_does_not_differ_from_itself(self, compared):
        _, results = compared
        for entry in results["comparisons"]["l1_alone"].values():
            assert entry == {"difference": 0, "low": 0, "high": 0, "p_value": 1}

    def test_comparisons_come_last_and_change_nothing_else(self, compared, evaluated):
        _, results = compared
        assert list(results)[-1] == "comparisons"
        assert list(results["comparisons"]) == ["l1_alone", "with_contrastive"]
        assert results == evaluated("noisy").results | {"comparisons": results["comparisons"]}

    def test_report_shows_both_values_and_says_what_was_set_aside(self, compared, evaluated):
        out, results = compared
        text = (out / "report.html").read_text()
        section = re.search(r'<section id="comparisons".*?</section>', text, re.DOTALL).group()
        plain = " ".join(re.sub("<[^>]+>", " ", section).split())
        assert "Settings against each other" in plain
        assert "The other: with contrastive" in plain
        assert "Set aside: other corpus was evaluated on other test clips" in plain
        own, other = (
            pd.read_csv(evaluated(name).out / "tables/clips.csv")["cosine"].mean() for name in ("noisy", "plain")
        )
        difference = results["comparisons"]["with_contrastive"]["cosine"]["difference"]
        assert difference == pytest.approx(other - own, abs=1e-5)
        assert f"cosine {own:.3f} {other:.3f} {difference:.4f}" in plain

    def test_clips_of_another_corpus_leave_a_line_and_no_results(self, evaluated, tmp_path):
        (tmp_path / "comparisons").mkdir()
        (tmp_path / "comparisons/README.md").write_text("how a file gets here")
        (tmp_path / "comparisons/old.csv").write_bytes((evaluated("plain").out / "tables/clips.csv").read_bytes())
        results = evaluate(simulate(20), QUICK, 0, tmp_path / "run", comparisons=tmp_path / "comparisons")
        assert "comparisons" not in results
        assert "Set aside: old was evaluated" in (tmp_path / "run/report.html").read_text()

    def test_none_gives_no_section(self, evaluated):
        assert "comparisons" not in evaluated("plain").results
        assert 'id="comparisons"' not in evaluated("plain").page
