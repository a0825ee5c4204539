"""Sections on similarity, systems, other experiments, proportions of faces and groups show what was measured."""

import pytest

from speech2face.measures.differences import Comparisons, differences
from speech2face.report.page_measures import (
    comparisons_section,
    craniofacial_section,
    groups_section,
    similarity_section,
    systems_section,
)
from tests.simulated import SETTINGS, table_of_clips


@pytest.fixture(scope="module")
def results(measured):
    return measured("plain").results


def row(table, name):
    return next(cells for cells in table.rows if cells[0].text == name)


def test_similarity_has_means_and_spreads(results):
    table = similarity_section(results).tables[0]
    entry = results["similarity"]["6 s"]["centred_cosine"]
    (cell,) = row(table, "centred cosine")[1:]
    assert cell.text == f"{entry['value']:.3f}"
    assert cell.details[1:] == (
        f"sd over clips {entry['sd_clips']:.3g}",
        f"speakers' mean {entry['over_speakers']['value']:.3g}",
        f"their sd {entry['over_speakers']['sd']:.3g}",
    )


def test_second_opinions_stand_beside_their_chance(results, measured):
    table = similarity_section(results).tables[1]
    opinions = results["insightface"]
    sex = row(table, "sex accuracy")
    assert sex[table.columns.index("decoded voice")].text == f"{opinions['decoded_voice']['sex_accuracy']['value']:.3f}"
    assert sex[-1].text == f"{opinions['decoded_voice']['sex_majority']:.3f}"
    assert row(table, "age correlation")[-1].text == "0.000"
    assert row(table, "identity: cosine of the two")[1].text == "–"
    assert len(similarity_section(measured("noisy").results).tables) == 1  # nobody was asked


def test_systems_have_their_difference_from_the_voice(results):
    (table,) = systems_section(results).tables
    assert table.columns == ["measure", "voice", "mean feature", "ridge mean spectrogram", "ridge f0", "oracle"]
    cells = row(table, "recall at 10 % of the gallery")
    difference = results["systems"]["oracle"]["recall_at_10_percent"]["difference"]
    assert cells[-1].details[1:] == (
        f"Δ {difference['value']:+.3f}",
        f"{difference['low']:+.3f} to {difference['high']:+.3f}",
    )
    assert len(cells[1].details) == 1
    assert row(table, "age (years) correlation")[2].text == "–"  # one face for all has no correlation


def test_comparisons_have_both_values_and_what_was_set_aside():
    table = differences(table_of_clips(), table_of_clips(better=0.1, seed=1), SETTINGS, 0, ["cosine"])
    section = comparisons_section(Comparisons({"with_morphs": table}, ["old"]), 0.95)
    (shown,), entry = section.tables, table.iloc[0]
    assert shown.title == "The other: with morphs"
    assert [cell.text for cell in shown.rows[0]] == [
        "cosine",
        f"{entry['first']:.3f}",
        f"{entry['second']:.3f}",
        f"{entry['difference']:.4f}",
        f"{entry['p_value']:.4f}",
    ]
    assert section.texts[1].startswith("Set aside: old was evaluated on other test clips")


def test_the_threshold_of_proportions_is_called_by_its_confidence(results):
    (table,) = craniofacial_section(results, 0.9).tables
    assert "90 % of permutations below" in table.columns
    assert len(table.rows) == 12
    assert not craniofacial_section(results | {"craniofacial": {}}, 0.9).tables


def test_groups_are_shown_by_attribute(results):
    section = groups_section(results)
    assert [table.title for table in section.tables] == ["sex", "age (years)", "accent", "skin tone"]
    entry = results["groups"]["sex"]["f"]
    cells = row(section.tables[0], "f")
    assert cells[1].text == str(entry["speakers"])
    assert f"sex: f {entry['recall_at_10_percent']['value']:.2f}" in section.charts[0].alt
    assert "no attribute by which to compare groups" in groups_section(results | {"groups": {}}).texts[0]
