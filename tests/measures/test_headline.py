"""The numbers that experiments are compared by: few, flat, named alike in every corpus."""

import pytest

ALWAYS = {"recall_at_10_percent", "chance", "one_of_two", "centred_cosine", "controls_distinguishable"}
ALWAYS |= {"recall_at_10_percent_raw", "hub_share", "leaks_found", "test_speakers"}


def test_it_is_what_the_results_say(measured):
    results = measured("plain").results
    assert next(iter(results)) == "headline"
    speaker_mean, systems = results["retrieval"]["speaker_mean"], results["systems"]
    assert results["headline"] == {
        "recall_at_10_percent": speaker_mean["recall_at_10_percent"]["value"],
        "chance": speaker_mean["recall_at_10_percent"]["chance"],
        "one_of_two": systems["voice"]["one_of_2"]["value"],
        "mean_spectrogram_one_of_two": systems["ridge_mean_spectrogram"]["one_of_2"]["value"],
        "centred_cosine": systems["voice"]["centred_cosine"]["value"],
        "sex_accuracy": systems["voice"]["sex_accuracy"]["value"],
        "age_correlation": systems["voice"]["age_years_correlation"]["value"],
        "recall_other_video": results["retrieval"]["cross_video"]["recall_at_10_percent"]["value"],
        "ceiling": systems["oracle"]["recall_at_10_percent"]["value"],
        "recall_at_10_percent_raw": systems["voice"]["recall_at_10_percent_raw"]["value"],
        "hub_share": results["hubs"]["speaker_mean"]["hub_share"]["value"],
        "controls_distinguishable": results["controls"]["distinguishable"],
        "leaks_found": results["leaks"]["shared_files"] + results["leaks"]["identical_faces"],
        "test_speakers": 48,
    }
    assert list(results["headline"])[:3] == ["recall_at_10_percent", "chance", "one_of_two"]


@pytest.mark.parametrize(
    ("corpus", "besides"),
    [
        ("bare", {"recall_other_video"}),
        ("labelled", {"recall_other_video", "sex_accuracy"}),
        ("photographed", {"sex_accuracy", "age_correlation", "ceiling"}),
    ],
)
def test_what_a_corpus_does_not_give_is_left_out(measured, corpus, besides):
    headline = measured(corpus).results["headline"]
    assert set(headline) == ALWAYS | besides
    assert all(isinstance(value, int | float) for value in headline.values())


def test_leaks_are_counted(measured):
    assert measured("seen_in_training").results["headline"]["leaks_found"] == 3
    assert measured("leaking").results["headline"]["controls_distinguishable"] == 1
