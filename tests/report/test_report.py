"""The report as a browser would take it apart: whole, closed, without anything from elsewhere, every text escaped."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from speech2face.evaluation.inputs import align
from speech2face.evaluation.measure import measure
from speech2face.evaluation.run import evaluate, make_tables
from speech2face.report.report import Cell, Section, Table, number, photo, svg_picture, words, write_report
from tests.evaluation.simulated import SETTINGS, simulate, with_pictures

QUICK = SETTINGS | {"resamples": 200}
HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags with their attributes, in order, the text, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    inputs = simulate(quality="linked")
    rejects = pd.DataFrame(
        [
            ("id1/v/1", "crop_faces", "no_face", HOSTILE),
            ("id2/v/1", "crop_faces", "no_face", "no face"),
            ("id3/v/1", "segment_audio", "too_short", "0.2 s"),
        ],
        columns=["item", "stage", "reason", "message"],
    )
    inputs = replace(with_pictures(inputs), rejects=rejects, description={"Corpus": HOSTILE})
    metrics = evaluate(inputs, QUICK, 0, out)
    text = (out / "report.html").read_text()
    return metrics, text, Page(text)


@pytest.fixture(scope="module")
def tables():
    inputs = simulate(quality="linked")
    aligned = align(inputs)
    return make_tables(aligned, measure(inputs, aligned, QUICK, 0))


def test_page_is_closed_and_says_how_it_is_to_be_read(report):
    _, text, page = report
    assert text.startswith("<!doctype html>")
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_nothing_comes_from_elsewhere(report):
    _, text, page = report
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:|//|file:)""", text)
    assert not page.all("script") + page.all("link") + page.all("iframe")
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_every_section_is_there_and_linked(report):
    _, _, page = report
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
    _, _, page = report
    pictures = page.all("img")
    assert (
        len(pictures) == 4 * QUICK["pictures"] + 2 + 5 + 1 + 1 + 1
    )  # faces; recall, ROC; three matrices of sex and two numbers; craniofacial; groups; map
    for picture in pictures:
        assert len(picture["alt"]) > 20
        kind, content = re.fullmatch("data:image/(jpeg|svg\\+xml);base64,(.*)", picture["src"]).groups()
        data = base64.b64decode(content, validate=True)
        if kind == "jpeg":
            assert Image.open(io.BytesIO(data)).convert("RGB").size == (224, 224)
        else:
            assert ElementTree.fromstring(data).tag.endswith("svg")


def test_what_others_wrote_is_escaped(report):
    _, text, page = report
    assert HOSTILE not in text
    assert "".join(page.text).count(HOSTILE) == 2  # the reject's message and the description


def test_headline_table_has_the_run_chance_and_ceiling(report):
    metrics, _, page = report
    text = " ".join("".join(page.text).split())
    recall = metrics["retrieval"]["speaker_mean"]["recall_at_10_percent"]
    assert f"chance is {100 * metrics['chance']:.0f} %" in text
    for value in (recall["value"], recall["chance"], metrics["ceiling"]):
        assert f"{value:.3f}" in text


def test_rejects_are_counted_by_reason(report):
    _, _, page = report
    text = " ".join(" ".join(page.text).split())
    assert "crop_faces: no face 2" in text
    assert "segment_audio: too short 1" in text


def test_best_median_and_worst_are_shown_by_the_mean_rank_of_their_clips(report, tables):
    _, text, _ = report
    titles = re.findall(r"<h3>(id\d+): mean rank ([\d.]+)(?: \((\w+)\))?</h3>", text)
    ranks = tables["clips"].groupby("speaker_id")["rank"].mean()
    order = ranks.sort_values(kind="stable").index.tolist()
    expected = {0: "best", 23: "median", 47: "worst"}
    assert [(order.index(name), standing) for name, _, standing in titles if standing] == list(expected.items())
    assert len(titles) == QUICK["pictures"]
    for name, rank, _ in titles:
        assert float(rank) == pytest.approx(ranks[name], rel=1e-3)


@pytest.mark.parametrize(("speakers", "pictures", "standings"), [(2, 1, ["best"]), (1, 5, [""]), (3, 1, ["median"])])
def test_few_pictures_are_called_what_they_are(speakers, pictures, standings, tmp_path):
    inputs = with_pictures(simulate(speakers + 20, test_fraction=speakers / (speakers + 20)))
    evaluate(inputs, QUICK | {"pictures": pictures}, 0, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert re.findall(r"<h3>id\d+: mean rank [\d.]+(?: \((\w+)\))?</h3>", text) == standings


def test_pictures_are_not_called_photographs(report):
    """Faces of the synthetic corpus are rendered."""
    _, text, _ = report
    assert "hotograph" not in text
    assert 'alt="Picture of speaker id' in text


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"audible": ("skin_tone",)}, "Leak: the voice tells attributes that it cannot know: skin_tone."),
        ({}, None),
    ],
)
def test_a_leak_stands_at_the_top(change, warning, tmp_path):
    evaluate(simulate(dim=64, **change), QUICK, 0, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert ('role="alert"' in text) == (warning is not None)
    if warning:
        assert text.index(warning) < text.index("<nav")


def test_shared_files_stand_at_the_top(tmp_path):
    inputs = simulate(dim=64)
    digests = {clip: ["same"] for clip in (inputs.clip_ids[0], inputs.attributes.index[-1])}
    evaluate(replace(inputs, digests=digests), QUICK, 0, tmp_path)
    assert "Leak: 1 test clips share a file with another split" in (tmp_path / "report.html").read_text()


def test_parts_of_a_page(tmp_path):
    table = Table("Numbers", ["a", "b"], [[Cell("x"), number({"value": 0.5, "low": 0.25, "high": 1.0})]])
    write_report(tmp_path / "page.html", "In short", [Section("s", "S", ["Text"], [table])], ["Careful"])
    page = Page((tmp_path / "page.html").read_text())
    text = " ".join(" ".join(page.text).split())
    for part in ("In short", "Careful", "Text", "Numbers", "0.500 0.250 to 1.000"):
        assert part in text
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_numbers_and_words():
    assert number(None).text == number({}).text == "–"
    assert number(1234).text == "1,234"
    assert number(123.456).text == "123.5"
    assert words("vocal_tract_length_cm") == "vocal tract length (cm)"
    assert words("recall_at_10_percent") == "recall at 10 %"
    assert words("unit_l2") == "unit L2"


def test_pictures_are_data():
    assert svg_picture("<svg/>", "a", "b").source == "data:image/svg+xml;base64,PHN2Zy8+"
    image = np.full((8, 8, 3), 200, np.uint8)
    content = photo(image, "a", "b").source.removeprefix("data:image/jpeg;base64,")
    assert abs(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int) - 200).max() <= 2


@pytest.mark.parametrize("videos", [1, 2])
def test_look_alikes_that_could_not_be_looked_for_are_not_none(videos, tmp_path):
    evaluate(simulate(dim=64, videos=videos), QUICK, 0, tmp_path, tmp_path / "card.md")
    for name in ("report.html", "card.md"):
        text = " ".join((tmp_path / name).read_text().split())
        assert ("could not be checked" in text) == (videos == 1)
        assert ("0 speakers who look alike" in text) == (videos == 2)


def test_the_threshold_is_called_by_its_confidence(tmp_path):
    evaluate(with_pictures(simulate(60)), QUICK | {"confidence": 0.9}, 0, tmp_path)
    assert "90 % of permutations below" in (tmp_path / "report.html").read_text()
