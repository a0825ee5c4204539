"""The model card of a run."""

import pytest

from speech2face.report.model_card import model_card


@pytest.fixture(scope="module")
def plain(evaluated):
    return evaluated("plain")


def words(card):
    return " ".join(card.split())


def test_says_what_the_model_cannot_do(plain):
    card = plain.card
    for text in (
        "never an identity",
        "Not for** identifying",
        "Uneven performance",
        "consent",
        "MIT licence",
        "synthetic",
    ):
        assert text in card


def test_numbers_are_those_of_the_run(plain):
    results, card = plain.results, plain.card
    recall = results["retrieval"]["speaker_mean"]["recall_at_10_percent"]
    row = next(line for line in card.splitlines() if line.startswith("| recall at 10 %, gallery of 48"))
    assert f"{recall['value']:.3g} ({recall['low']:.3g} to {recall['high']:.3g})" in row
    systems = results["systems"]
    ridge = systems["ridge_mean_spectrogram"]["recall_at_10_percent"]["value"]
    assert row.split(" | ")[2:] == [
        f"{recall['chance']:.3g}",
        f"{ridge:.3g} (ridge mean spectrogram)",
        f"{systems['oracle']['recall_at_10_percent']['value']:.3g} |",
    ]
    assert "| Test speakers, none of them in training | 48 |" in card
    text = " ".join(card.split())
    assert "0 of 3 testable controls are distinguishable from chance. 2 cannot be tested this way: accent, room" in text
    assert "Something leaks" not in text


def test_every_table_is_whole(plain):
    card = plain.card
    lines = card.splitlines()
    assert '| Corpus | simulated / piped &lt;script>alert("x")&lt;/script> |' in lines
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            width = line.count("|")
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                assert row.count("|") == width, row


def test_what_a_linear_regression_does_is_said_before_anything_else(plain):
    ridge = plain.results["systems"]["ridge_mean_spectrogram"]
    for difference, said in (
        ({"value": 0.1, "low": 0.05, "high": 0.15}, "finds faces better than this model by choosing one of two"),
        ({"value": 0.1, "low": -0.05, "high": 0.25}, "finds faces about as well as this model by choosing one of two"),
        ({"value": -0.1, "low": -0.15, "high": -0.05}, "finds faces less well than this model by choosing one of two"),
    ):
        system = {"one_of_2": ridge["one_of_2"] | {"difference": difference}}
        systems = plain.results["systems"] | {"ridge_mean_spectrogram": system}
        card = model_card(plain.results | {"systems": systems}, {}, True, 0.95)
        assert card.index(f"**A linear regression from the mean spectrogram {said}") < card.index("\n## ")


def test_a_linear_regression_that_was_not_measured_is_not_mentioned(evaluated):
    assert "A linear regression from the mean spectrogram" not in evaluated("bare").card


def test_raw_cosine_and_hubs_stand_beside_the_centred_one(plain):
    raw = plain.results["retrieval"]["speaker_mean_raw_cosine"]["recall_at_10_percent"]
    assert f"| recall at 10 %, raw cosine | {raw['value']:.3g} (" in plain.card
    for name, by in (("speaker_mean", "centred"), ("speaker_mean_raw_cosine", "raw")):
        share = plain.results["hubs"][name]["hub_share"]
        assert f"| part of the voices that one face is nearest to, {by} cosine | {share['value']:.3g} (" in plain.card


def test_people_who_may_have_been_heard_are_shown_apart(plain, evaluated):
    run = evaluated("labelled")
    for name in ("perhaps_heard", "not_heard"):
        entry = run.results["may_have_been_heard"][name]
        row = next(line for line in run.card.splitlines() if line.startswith(f"| {name.replace('_', ' ')} |"))
        assert row.split(" | ")[1] == "24"
        assert row.split(" | ")[2].startswith(f"{entry['recall_at_10_percent']['value']:.3g} (")
        assert row.split(" | ")[3].startswith(f"{entry['one_of_2']['value']:.3g} (")
    assert "The frozen speaker encoder was trained on recordings of voxceleb" in words(run.card)
    assert "frozen speaker encoder" not in plain.card


def test_a_leak_is_said(evaluated):
    text = words(evaluated("leaking").card)
    assert "1 of 3 testable controls is distinguishable from chance (skin_tone)." in text
    assert "it has not passed. **Something leaks: do not trust the numbers above.**" in text


def test_a_corpus_of_people_names_consent(evaluated):
    text = words(evaluated("labelled").card)
    assert "recordings of people" in text
    assert "names no negative controls" in text


def test_results_stand_beside_mean_face_best_simple_baseline_and_ceiling(plain):
    systems, keys = (
        plain.results["systems"],
        ("cosine", "centred_cosine", "recall_at_1", "recall_at_10_percent", "one_of_2"),
    )
    starts = ("| cosine |", "| centred cosine |", "| recall at 1,", "| recall at 10 %,", "| choosing one of two")
    for key, start in [*zip(keys, starts, strict=True), ("age_years_correlation", "| age years, correlation")]:
        row = next(line for line in plain.card.splitlines() if line.startswith(start))
        chance, best, ceiling = row.split(" | ")[2:]
        ridges = [systems[name][key]["value"] for name in ("ridge_mean_spectrogram", "ridge_f0")]
        winner = "ridge mean spectrogram" if ridges[0] > ridges[1] else "ridge f0"
        assert best == f"{max(ridges):.3g} ({winner})", key
        assert ceiling == f"{systems['oracle'][key]['value']:.3g} |", key
        if "cosine" in key:
            assert chance == f"{systems['mean_feature'][key]['value']:.3g}", key
    assert "| Training speakers | 67 |" in plain.card
    assert "Trained on 134 clips of 67 speakers, tested on 96 clips of 48." in plain.card


def test_test_speakers_who_were_trained_on_are_not_called_new(plain, evaluated):
    card = words(evaluated("seen_in_training").card)
    assert "none of them in training" not in card
    assert "| Test speakers | 48 |" in card
    assert "1 clips with a shared file, 2 videos with an identical face, and 1 speakers who look alike" in card
    assert "Not all test speakers are new to the model, do not trust the numbers above" in card
    assert "id00000/video0" in card
    clean = words(plain.card)
    assert "0 clips with a shared file, 0 videos with an identical face" in clean
    assert "do not trust" not in clean


def test_look_alikes_are_called_perhaps_seen(plain):
    alike = {"shared_files": 0, "identical_faces": 0, "look_alikes": 1, "names": "id00000"}
    card = model_card(plain.results | {"leaks": alike}, {}, True, 0.95)
    assert "**Perhaps not all test speakers are new to the model** (id00000)." in card
    assert "none of them in training" not in card
