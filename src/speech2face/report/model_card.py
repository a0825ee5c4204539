"""The model card, filled from a run's results."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined

from speech2face.measures.leaks import is_certain
from speech2face.measures.scores import COSINES
from speech2face.report.front_matter import front_matter
from speech2face.report.verdicts import describe_controls, describe_heard, describe_leaks, describe_regression

NONE = "–"

CARD = """\
{{ front_matter }}
# Model card

Written by the evaluate stage from the run whose numbers are in `results/evaluation/results.json`. Edit the template in
`src/speech2face/report/model_card.py`, not this file.

{% if regression -%}
**{{ regression }}**

{% endif -%}
## What it is

A voice encoder that predicts, from a few seconds of speech, the face features of a typical owner of such a voice, and a
decoder that draws a frontal, neutral face from features (Oh et al. 2019, arXiv 1905.09773; Cole et al. 2017, arXiv
1701.04851).

| | |
|---|---|
{%- for name, value in description.items() %}
| {{ name }} | {{ value }} |
{%- endfor %}
| Test speakers{{ ", none of them in training" if unseen }} | {{ results.counts.test_speakers }} |
| Test clips | {{ results.counts.test_clips }} |

## What it cannot do

* **It draws a typical face for a voice, never an identity.** The picture is an average over people who sound alike. It is
  not a likeness of the speaker, and nobody can see from it who is speaking.
* A prediction lies nearer to the mean face than real faces do. Drawn farther from it (`predict --stretch 2`), its differences from the
  mean face are easier to see, and no more certain.
* Whatever does not shape the voice is not in the picture: hair, skin, glasses and background come from the average of the
  training faces, and must not be read as a finding about the speaker.
* What it does with voices unlike those in training is not known: other languages, children, disordered, sung, disguised
  or synthetic speech, poor recordings.

## Intended use

Research and teaching: what can be known of a speaker from the voice, how such claims are measured, and how a pipeline is
made repeatable.

**Not for** identifying, finding, tracking or verifying anyone; not for guessing sex, age, origin or any other attribute of
a person for a decision about them; not as evidence; not on voices whose speakers have not agreed.

## How well it does

Intervals are {{ confidence }} %, by bootstrap over speakers. One system is called better than another where the interval of their
difference, paired over speakers, does not include 0; else they do about as well.

Chance of a cosine is what the mean training face gives everyone. The simple baselines are linear regressions from the mean
spectrogram and from the fundamental frequency; the one with the higher number is shown, by however little it is higher. The
ceiling is an oracle, a regression from the true linked attributes. Faces are found by centred cosine, where the mean training face
is subtracted first, unless it says raw. By raw cosine a hub, a face that is the nearest to many voices, may decide.

| measure | this run | chance or mean face | best simple baseline | ceiling |
|---|---|---|---|---|
{%- for row in rows %}
| {{ row.name }} | {{ row.value }} | {{ row.chance }} | {{ row.baseline }} | {{ row.ceiling }} |
{%- endfor %}

{{ leaks }}

{% if controls -%}
Negative controls are attributes that are linked to the voice or to the face but never to both. {{ controls }}
{%- if results.controls.distinguishable %} **Something leaks: do not trust the numbers above.**{% endif %}
{%- else -%}
This corpus names no negative controls, so nothing here rules out that what is measured came from something other than the voice.
{%- endif %}

## Uneven performance

{% if groups -%}
Recall at 10 % of the gallery and choosing one of two, by group. Small groups have wide intervals.

| group | speakers | recall at 10 % | one of two |
|---|---|---|---|
{%- for row in groups %}
| {{ row.name }} | {{ row.speakers }} | {{ row.recall }} | {{ row.one_of_2 }} |
{%- endfor %}
{%- else -%}
The corpus has no attribute by which to compare groups. Unevenness is to be expected and has not been measured.
{%- endif %}

{% if heard -%}
{{ heard }}

| people | speakers | recall at 10 % | one of two |
|---|---|---|---|
{%- for row in heard_groups %}
| {{ row.name }} | {{ row.speakers }} | {{ row.recall }} | {{ row.one_of_2 }} |
{%- endfor %}

{% endif -%}
A model learns the correlations of its training speakers, among them those of who was recorded. Classes of sex or
nationality are the corpus's labels; they are not a statement about how anyone describes themselves.

## Data, consent and licence

{{ trained_on }}{{ consent }}

The code is under the MIT licence. Weights inherit the terms of the data and of the face network that they were trained with.
Check both before you pass them on.
"""

SYNTHETIC = """\
The default corpus is synthetic: rendered faces and synthesised voices drawn from a seed. It holds no recording and no
photograph of anyone, so there is nobody's consent to ask. It says nothing about how real voices and faces go together: the links
are those that the corpus was built with."""
REAL = """\
The corpus consists of recordings of people. Whether they agreed to this use is for whoever runs the pipeline to establish, and
so are the data set's terms. A voice and a face are biometric data in many laws; a person may ask to be taken out."""


def model_card(results: Mapping[str, Any], description: Mapping[str, str], synthetic: bool, confidence: float) -> str:
    """The card as Markdown."""
    heard = results.get("may_have_been_heard", {})
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(CARD)
    return template.render(
        front_matter=front_matter(results, description, synthetic, confidence),
        results=results,
        description={_plain(name): _plain(value) for name, value in description.items()},
        confidence=f"{100 * confidence:g}",
        rows=_rows(results),
        controls=_plain(describe_controls(results["controls"])),
        unseen=not is_certain(results["leaks"]) and not results["leaks"]["look_alikes"],
        leaks=_leaks(results["leaks"]),
        trained_on=_trained_on(results, description),
        groups=[
            row
            for name, entries in results["groups"].items()
            for row in _groups({f"{name.replace('_', ' ')}: {group}": entry for group, entry in entries.items()})
        ],
        regression=describe_regression(results["systems"]),
        heard=_plain(describe_heard(heard)) if heard else "",
        heard_groups=_groups({name.replace("_", " "): entry for name, entry in heard.items() if name != "corpora"}),
        consent=SYNTHETIC if synthetic else REAL,
    )


def _rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    gallery = results["retrieval"]["speaker_mean"]
    of_mean_face = results["systems"].get("mean_feature", {})
    rows = [
        _row(results, key, key.replace("_", " "), results["systems"]["voice"][key], _value(of_mean_face.get(key)))
        for key in COSINES
    ]
    for key in ("recall_at_1", "recall_at_10_percent", "median_rank"):
        name = f"{key.replace('_', ' ').replace(' percent', ' %')}, gallery of {gallery['gallery_size']}"
        rows.append(_row(results, key, name, gallery[key], f"{gallery[key]['chance']:.3g}"))
    raw = results["retrieval"]["speaker_mean_raw_cosine"]["recall_at_10_percent"]
    rows.append(_row(results, "recall_at_10_percent_raw", "recall at 10 %, raw cosine", raw, f"{raw['chance']:.3g}"))
    for ranked_by, hubs in zip(("centred", "raw"), results["hubs"].values(), strict=True):
        share = hubs["hub_share"]
        name = f"part of the voices that one face is nearest to, {ranked_by} cosine"
        rows.append(_row(results, "hub_share", name, share, f"{share['chance']:.3g}"))
    if two := results["matching"]["all"].get("one_of_2"):
        rows.append(_row(results, "one_of_2", "choosing one of two faces", two, "0.5"))
    for name, sources in results["attributes"].items():
        voice = sources["voice"]
        for key, chance in (("accuracy", f"{voice.get('majority', 0):.3g} (commonest class)"), ("correlation", "0")):
            if key in voice:
                label = f"{_plain(name).replace('_', ' ')}, {key} read from the voice"
                rows.append(_row(results, f"{name}_{key}", label, voice[key], chance))
    return rows


def _row(results: Mapping[str, Any], key: str, name: str, estimate: Mapping[str, float], chance: str) -> dict[str, str]:
    """A row of the results; baseline and ceiling are found by the `key` that the measure has among the systems."""
    systems = results["systems"]
    ridges = {system: entry[key]["value"] for system, entry in systems.items() if "ridge" in system and key in entry}
    best = max(ridges, key=lambda system: ridges[system], default=None)
    return {
        "name": name,
        "value": _estimate(estimate),
        "chance": chance,
        "baseline": NONE if best is None else f"{ridges[best]:.3g} ({_plain(best).replace('_', ' ')})",
        "ceiling": _value(systems.get("oracle", {}).get(key)),
    }


def _leaks(leaks: Mapping[str, Any]) -> str:
    text = describe_leaks(leaks)
    if is_certain(leaks):
        return f"{text} **Not all test speakers are new to the model, do not trust the numbers above** ({_plain(leaks['names'])})."
    if leaks["look_alikes"]:
        return f"{text} **Perhaps not all test speakers are new to the model** ({_plain(leaks['names'])})."
    return text


def _trained_on(results: Mapping[str, Any], description: Mapping[str, str]) -> str:
    if not {"Training speakers", "Training clips"} <= set(description):
        return ""
    return (
        f"Trained on {description['Training clips']} clips of {description['Training speakers']} speakers, tested on "
        f"{results['counts']['test_clips']} clips of {results['counts']['test_speakers']}.\n\n"
    )


def _groups(entries: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": _plain(name),
            "speakers": str(entry["speakers"]),
            "recall": _estimate(entry.get("recall_at_10_percent", {})),
            "one_of_2": _estimate(entry.get("one_of_2", {})),
        }
        for name, entry in entries.items()
    ]


def _estimate(value: Mapping[str, float]) -> str:
    return f"{value['value']:.3g} ({value['low']:.3g} to {value['high']:.3g})" if "value" in value else NONE


def _value(estimate: Mapping[str, float] | None) -> str:
    return f"{estimate['value']:.3g}" if estimate else NONE


def _plain(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    return " ".join(str(text).replace("|", "/").replace("<", "&lt;").split())
