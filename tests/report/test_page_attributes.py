"""The report's sections on attributes and controls: confusion matrices by source, what guessing gives, what was not tested."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from speech2face.measures.aligned import align
from speech2face.measures.measure import measure
from speech2face.report.page_attributes import attributes_section, controls_section
from speech2face.report.report import number
from tests.simulated import QUICK, simulate


@pytest.fixture(scope="module")
def noisy(measured):
    run = measured("noisy")
    return run.aligned, run.measured


def test_confusion_matrices_of_every_source(noisy):
    aligned, run = noisy
    sex = next(attribute for attribute in run.attributes if attribute.name == "sex")
    sources = {
        "the true feature": aligned.true,
        "the voice": run.systems["voice"].features,
        "the voice's decoded face": run.decoded["voice"],
    }
    alts = [chart.alt for chart in attributes_section(run).charts if chart.alt.startswith("Confusion matrix")]
    assert len(alts) == 3
    for alt, (source, features) in zip(alts, sources.items(), strict=True):
        (ff, fm), (mf, mm) = confusion_matrix(sex.truth, sex.probe.predict(features), labels=["f", "m"])
        counts = f"true f read as f: {ff}; true f read as m: {fm}; true m read as f: {mf}; true m read as m: {mm}."
        assert alt == f"Confusion matrix of sex read from {source}. {counts}"


def guess_of(table, row):
    cells = next(cells for cells in table.rows if cells[0].text == row)
    return cells[table.columns.index("guessing")].text


def test_guessing_is_of_the_measure_shown(noisy):
    _, run = noisy
    (table,) = attributes_section(run).tables
    age, sex = (run.results["attributes"][name]["voice"] for name in ("age_years", "sex"))
    assert guess_of(table, "age (years): mean absolute error") == number(age["error_of_guessing_the_mean"]).text
    assert guess_of(table, "age (years): correlation") == "0.000"
    assert guess_of(table, "sex: accuracy") == number(sex["majority"]).text
    assert guess_of(table, "sex: balanced accuracy") == "0.500"


@pytest.mark.slow
def test_guessing_of_a_control_is_of_the_measure_shown():
    # One prediction for everyone has no correlation, so the error is shown, and beside it the error of guessing.
    inputs = simulate(60)
    same = replace(inputs, predicted={"6 s": np.ones((len(inputs.clip_ids), 32))})
    results = measure(same, align(same), QUICK, 0).results
    (table,) = controls_section(results).tables
    error = results["controls"]["pose"]["voice"]["error_of_guessing_the_mean"]
    assert guess_of(table, "pose: mean absolute error") == number(error, 2).text
    assert guess_of(table, "hair colour: balanced accuracy") == "0.25"


def test_controls_that_were_not_tested_have_no_p_value(noisy):
    _, run = noisy
    section = controls_section(run.results)
    assert "0 of 3 testable controls are distinguishable from chance." in section.texts[0]
    assert "2 cannot be tested this way: accent, room (faces do not show it)" in section.texts[0]
    (table,) = section.tables
    without = {cells[0].text.split(":")[0] for cells in table.rows if cells[-1].text == "–"}
    assert len(table.rows) == 5
    assert without == {"accent", "room"}


def test_no_control_that_can_be_tested():
    inputs = simulate(60)
    table = inputs.attributes[["sex", "accent"]]
    run = measure(replace(inputs, attributes=table), align(inputs), QUICK, 0)
    section = controls_section(run.results)
    assert "1 cannot be tested this way: accent" in section.texts[0]
    assert "distinguishable" not in section.texts[0]
    assert run.results["controls"]["testable"] == run.results["controls"]["distinguishable"] == 0
