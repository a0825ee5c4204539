"""The report of a run: whole, closed, without anything from elsewhere, and warnings where they are due."""

import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from PIL import Image

from speech2face.measures.differences import Comparisons
from speech2face.measures.leaks import is_certain
from speech2face.measures.tables import make_tables
from speech2face.report.pages import sections, summary, warnings
from tests.report.html_page import Page
from tests.simulated import HOSTILE, QUICK


@pytest.fixture(scope="module")
def report(evaluated):
    text = evaluated("plain").page
    return text, Page(text)


def test_page_is_closed_and_says_how_it_is_to_be_read(report):
    text, page = report
    assert text.startswith("<!doctype html>")
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_nothing_comes_from_elsewhere(report):
    text, page = report
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:|//|file:)""", text)
    assert not page.all("script") + page.all("link") + page.all("iframe")
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_every_section_is_there_and_linked(report):
    _, page = report
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == [
        "headline",
        "pictures",
        "retrieval",
        "attributes",
        "controls",
        "similarity",
        "baselines",
        "craniofacial",
        "groups",
        "map",
        "failures",
        "about",
    ]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in sections]


def test_every_picture_is_whole_and_described(report):
    _, page = report
    pictures = page.all("img")
    assert (
        len(pictures) == 5 * QUICK.pictures + 3 + 5 + 1 + 1 + 1
    )  # faces; recall, ROC, amounts; three matrices of sex and two numbers; craniofacial; groups; map
    for picture in pictures:
        assert len(picture["alt"]) > 20
        kind, content = re.fullmatch("data:image/(jpeg|svg\\+xml);base64,(.*)", picture["src"]).groups()
        data = base64.b64decode(content, validate=True)
        if kind == "jpeg":
            assert Image.open(io.BytesIO(data)).convert("RGB").size == (224, 224)
        else:
            assert ElementTree.fromstring(data).tag.endswith("svg")


def test_what_others_wrote_is_escaped(report):
    text, page = report
    assert HOSTILE not in text
    assert "".join(page.text).count(HOSTILE) == 2  # the reject's message and the description


def test_headline_table_has_the_run_chance_and_ceiling(report, evaluated):
    _, page = report
    headline = evaluated("plain").results["headline"]
    assert f"chance is {100 * headline['chance']:.0f} %" in page.words
    for name in ("recall_at_10_percent", "chance", "ceiling"):
        assert f"{headline[name]:.3f}" in page.words


def test_rejects_are_counted_by_reason(report):
    _, page = report
    text = " ".join(" ".join(page.text).split())
    assert "crop_faces: no face 2" in text
    assert "segment_audio: too short 1" in text


def test_people_are_named_with_their_rank_and_label(report, evaluated):
    text, _ = report
    titles = re.findall(r"<h3>(id\d+): mean rank ([\d.]+)(?: \((\w+)\))?</h3>", text)
    assert [label for _, _, label in titles] == ["best", "", "median", "", "worst"]
    assert [float(rank) for _, rank, _ in titles] == sorted(float(rank) for _, rank, _ in titles)


def test_pictures_are_not_called_photographs(evaluated):
    """Faces of the synthetic corpus are rendered."""
    text = evaluated("noisy").page
    assert "hotograph" not in text
    assert 'alt="Picture of speaker id' in text


def test_a_sound_run_has_no_warning(evaluated):
    assert 'role="alert"' not in evaluated("bare").page


@pytest.mark.parametrize(
    ("corpus", "warning"),
    [
        ("leaking", "Leak: attributes are read from the voice that it cannot know: skin_tone."),
        ("seen_in_training", "Leak: 1 test clips share a file with another split"),
        (
            "one_video",
            "Each test speaker has one video, so a voice is only ever compared with a face from its own video.",
        ),
    ],
)
def test_warnings_stand_at_the_top(evaluated, corpus, warning):
    text = evaluated(corpus).page
    assert warning in text
    assert text.index('role="alert"') < text.index(warning) < text.index("<nav")


REGRESSION = "A linear regression from the mean spectrogram finds faces"


def with_regression(results: dict, low: float, high: float) -> dict:
    """The results, but what a linear regression finds by recall differs from the model's by something from `low` to `high`."""
    ridge = results["systems"]["ridge_mean_spectrogram"]
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    system = {"recall_at_10_percent": ridge["recall_at_10_percent"] | {"difference": difference}}
    return results | {"systems": results["systems"] | {"ridge_mean_spectrogram": system}}


def test_a_better_linear_regression_is_the_first_warning(evaluated):
    results = evaluated("plain").results
    few = results | {"counts": results["counts"] | {"test_speakers": 19}}
    first, second = warnings(with_regression(few, 0.01, 0.05))
    assert first.startswith(f"{REGRESSION} better than this model by recall") and second.startswith("Only 19")


@pytest.mark.parametrize(("low", "high", "said"), [(-0.01, 0.05, "about as well as"), (-0.05, -0.01, "less well than")])
def test_a_linear_regression_that_is_no_better_is_in_the_headline(measured, low, high, said):
    found = measured("plain")
    results = with_regression(found.results, low, high)
    assert warnings(results) == []
    compared, tables = Comparisons(), make_tables(found.aligned, found.measured)
    changed = replace(found.measured, results=results)
    first = sections(found.inputs, found.aligned, changed, tables, [], compared, 0.95)[0]
    assert first.id == "headline" and first.texts[-1].startswith(f"{REGRESSION} {said} this model by recall")


def test_summary_names_both_cosines_and_their_hubs(evaluated):
    results = evaluated("plain").results
    raw = results["retrieval"]["speaker_mean_raw_cosine"]["recall_at_10_percent"]["value"]
    hub, raw_hub = (results["hubs"][f"speaker_mean{by}"]["hub_share"]["value"] for by in ("", "_raw_cosine"))
    assert f"by raw cosine it is {100 * raw:.0f} %" in summary(results)
    assert f"nearest to {100 * hub:.0f} % of the recordings, by raw cosine to {100 * raw_hub:.0f} %" in summary(results)


def test_people_who_may_have_been_heard_are_shown_apart(evaluated):
    text = evaluated("labelled").page
    section = text[text.index('<section id="groups"') :]
    assert section.index("it may have heard some of these people before") < section.index("perhaps heard")
    assert "may have heard" not in evaluated("plain").page


def test_test_speakers_who_were_trained_on_are_not_called_new(evaluated):
    assert "48 speakers who were not in training" in summary(evaluated("plain").results)
    results = evaluated("seen_in_training").results
    assert is_certain(results["leaks"])
    assert "48 speakers, not all of them new to the model" in summary(results)


def test_look_alikes_are_called_perhaps_seen(evaluated):
    alike = {"shared_files": 0, "identical_faces": 0, "look_alikes": 1, "names": "id00000"}
    results = evaluated("bare").results | {"leaks": alike}
    assert "24 speakers, perhaps not all of them new to the model" in summary(results)
    (warning,) = warnings(results)
    assert warning.startswith("1 test speakers look far more like") and "(id00000)" in warning


def test_few_speakers_settle_nothing(evaluated):
    results = evaluated("bare").results
    few = results | {"counts": results["counts"] | {"test_speakers": 19}}
    assert warnings(few)[0].startswith("Only 19 test speakers")


@pytest.mark.parametrize(("corpus", "known"), [("one_video", False), ("plain", True)])
def test_look_alikes_that_could_not_be_looked_for_are_not_none(evaluated, corpus, known):
    for text in (evaluated(corpus).page, evaluated(corpus).card):
        plain = " ".join(text.split())
        assert ("could not be checked" in plain) != known
        assert ("0 speakers who look alike" in plain) == known
