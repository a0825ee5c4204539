"""The section on retrieval, matching and verification shows each gallery with its chance."""

import pytest

from speech2face.measures.tables import make_tables
from speech2face.report.page_retrieval import _decoded_table, retrieval_section


@pytest.fixture(scope="module")
def section(measured):
    run = measured("plain")
    return run.results, retrieval_section(run.results, make_tables(run.aligned, run.measured))


def cell(table, row, column):
    cells = next(cells for cells in table.rows if cells[0].text == row)
    return cells[table.columns.index(column)]


def test_every_gallery_is_a_column(section):
    results, (retrieval, hubs, matching, _, _) = section[0], section[1].tables
    cosines = ["measure", "mean face, centred cosine", "mean face, raw cosine"]
    assert hubs.columns == cosines
    assert retrieval.columns[:5] == [*cosines, "mean face, L1", "mean face, L2"]
    assert retrieval.columns[5:] == ["same video", "other video", "same sex"]
    assert len(retrieval.columns) == 1 + len(results["retrieval"])
    assert matching.columns == ["measure", "others: all", "others: same sex"]


def test_numbers_stand_above_their_interval_and_chance(section):
    results, (retrieval, hubs, matching, _, _) = section[0], section[1].tables
    share = results["hubs"]["speaker_mean_raw_cosine"]["hub_share"]
    found = cell(hubs, "voices whose nearest face is the commonest one", "mean face, raw cosine")
    assert found.text == f"{share['value']:.3f}"
    assert found.details == (f"{share['low']:.3f} to {share['high']:.3f}", f"chance {share['chance']:.3g}")
    recall = results["retrieval"]["cross_video"]["recall_at_10_percent"]
    found = cell(retrieval, "recall at 10 %", "other video")
    assert found.text == f"{recall['value']:.3f}"
    assert found.details == (f"{recall['low']:.3f} to {recall['high']:.3f}", "chance 0.104")
    two = results["matching"]["same_sex"]["one_of_2"]
    assert cell(matching, "one of 2", "others: same sex").text == f"{two['value']:.3f}"
    area = results["verification"]["all"]["area_under_curve"]["value"]
    assert cell(matching, "verification: area under curve", "others: all").text == f"{area:.3f}"


def test_charts_say_in_words_what_they_show(section):
    results, (recall, roc, _) = section[0], section[1].charts
    assert f"reaches {results['headline']['recall_at_10_percent']:.2f} at 10 %" in recall.alt
    assert f"area under it is {results['verification']['all']['area_under_curve']['value']:.3f}" in roc.alt


@pytest.mark.parametrize(("taught", "words"), [(True, "is no evidence"), (False, "had no part in training")])
def test_the_table_says_who_read_the_decoded_faces(section, taught: bool, words: str):
    results = section[0] | {"decoded": section[0]["decoded"] | {"read_by": "dlib_resnet", "taught_the_decoder": taught}}
    table = _decoded_table(results["decoded"])
    assert words in table.note and "read again by dlib resnet" in table.note
    value = results["decoded"]["voice"]["recall_at_10_percent"]["value"]
    assert cell(table, "recall at 10 %", "decoded from the voice").text == f"{value:.3f}"


def test_amounts_of_speech_are_columns_and_points(section):
    results, table, chart = section[0], section[1].tables[3], section[1].charts[-1]
    assert table.columns == ["measure", "all recordings of a speaker", "6 s"]
    for name, label in (("speaker", "all recordings of a speaker"), ("6 s", "6 s")):
        recall = results["amount_of_speech"][name]["recall_at_10_percent"]
        found = cell(table, "recall at 10 %", label)
        assert found.text == f"{recall['value']:.3f}"
        assert found.details == (f"{recall['low']:.3f} to {recall['high']:.3f}", "chance 0.104")
        assert f"{label} {recall['value']:.2f}" in chart.alt


def test_a_gallery_without_a_measure_has_a_dash(measured, section):
    results = section[0] | {"retrieval": section[0]["retrieval"] | {"galleries_of_100": {"gallery_size": 100}}}
    run = measured("plain")
    retrieval = retrieval_section(results, make_tables(run.aligned, run.measured)).tables[0]
    assert cell(retrieval, "median rank", "galleries of 100").text == "–"
