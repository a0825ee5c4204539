"""The evaluation of one run: numbers, tables, pictures, report and model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from speech2face.evaluation.compare import compare_with_all
from speech2face.evaluation.people import choose_people
from speech2face.measures.aligned import Aligned, align
from speech2face.measures.inputs import Inputs
from speech2face.measures.measure import measure
from speech2face.measures.statistics import rounded
from speech2face.measures.tables import make_tables
from speech2face.pipeline.atomic import write_json, write_text
from speech2face.pipeline.params import Evaluation
from speech2face.report.figures import draw_strip
from speech2face.report.model_card import model_card
from speech2face.report.pages import Shown, sections, summary, warnings
from speech2face.report.report import write_report


# Many small sums: threads would cost more than they give, and one order of adding gives the same bytes everywhere.
@threadpool_limits.wrap(1)
def evaluate(
    inputs: Inputs,
    settings: Evaluation,
    seed: int,
    out: Path,
    card: Path | None = None,
    comparisons: Path | None = None,
) -> dict[str, Any]:
    """Evaluate the first of `inputs.predicted`; return the results, and write into `out`:

    results.json, all of them; metrics.json, their `headline`; report.html; strip.png (with `inputs.decode` and `inputs.pictures`);
    tables/*.csv. `card` is where the model card goes; `comparisons` is a directory of other experiments' clips.csv, with each of which
    this run is compared. The same inputs and seed give the same bytes. Raises ValueError for inputs that do not fit, a speaker in two
    splits, or a comparison that is not the clips.csv of an evaluation.
    """
    out.mkdir(parents=True, exist_ok=True)
    aligned = align(inputs)
    measured = measure(inputs, aligned, settings, seed)
    tables = make_tables(aligned, measured)
    _write_tables(out / "tables", tables)
    compared = compare_with_all(out / "tables" / "clips.csv", comparisons, settings, seed)
    shown = choose_people(inputs, aligned, measured, settings.pictures)
    if shown:
        _draw(out / "strip.png", shown)
    results = measured.results | ({"comparisons": rounded(compared.as_results())} if compared.tables else {})
    parts = sections(inputs, aligned, measured, tables, shown, compared, settings.confidence)
    write_report(out / "report.html", summary(results), parts, warnings(results))
    if card is not None:
        description = {**inputs.description, **_trained_on(aligned)}
        write_text(card, model_card(results, description, bool(inputs.roles), settings.confidence))
    write_json(out / "results.json", results)
    write_json(out / "metrics.json", results["headline"])
    return results


def _write_tables(directory: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    directory.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(directory / f"{name}.csv", index=False, float_format="%.6g")


def _draw(path: Path, shown: Sequence[Shown]) -> None:
    """The strip: a column a speaker, a row a kind of picture."""
    titles = [f"{person.label} {person.speaker}, mean rank {person.rank:.4g}".strip() for person in shown]
    rows = [(name, [person.pictures[name] for person in shown]) for name in shown[0].pictures]
    draw_strip(path, rows, titles)


def _trained_on(aligned: Aligned) -> dict[str, str]:
    speakers = aligned.training["speaker_id"]
    if speakers.empty:
        return {}
    return {"Training speakers": str(speakers.nunique()), "Training clips": str(len(speakers))}
