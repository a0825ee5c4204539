"""`speech2face estimate`: measures, or reads what was measured, and says what a corpus takes."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech2face.estimate import measuring, rates
from speech2face.estimate.corpora import CorpusSize, chosen
from speech2face.estimate.model import check_numbers, machine_of, predict
from speech2face.estimate.page import markdown, notes, text
from speech2face.pipeline.params import Params, load_params

MOST_NAMED = 5


def estimate(
    names: list[str],
    version: str,
    *,
    clips: int | None = None,
    videos: int | None = None,
    speakers: int | None = None,
    processors: int | None = None,
    gpus: int | None = None,
    params: Path = Path("params.yaml"),
    measured: Path | None = None,
    save: Path | None = None,
    as_markdown: bool = False,
) -> str:
    """The tables of some corpora, all if no names are given; `version` is the package's. `measured` is a file of rates, without which
    this machine is measured, `save` the file to write them to.

    Raises ValueError for what cannot be, and RuntimeError if a stage fails on a sample.
    """
    check_numbers(processors, gpus)
    corpora, settings = chosen(names, clips, videos, speakers), load_params(params)
    found = (
        rates.load(measured) if measured is not None else replace(_measure(settings, corpora, gpus), version=version)
    )
    if save is not None:
        rates.save(save, found)
    machine = machine_of(found, processors, gpus)
    predicted = [(corpus, predict(found, corpus, settings, machine)) for corpus in corpora]
    if as_markdown:
        return markdown(predicted)
    differences = found.differences(settings, version)
    warning = [_otherwise(differences)] if differences else []
    tables = [text(corpus, machine, rows, notes(corpus, settings)) for corpus, rows in predicted]
    return "\n\n".join([*warning, *tables])


def _measure(settings: Params, corpora: Sequence[CorpusSize], gpus: int | None) -> rates.Rates:
    from speech2face.pipeline.machine import device

    if gpus and device().type != "cuda":
        raise ValueError(
            f"--gpus {gpus}: networks run on the {device().type} here, which says nothing about a GPU; measure on a machine that has one "
            "(speech2face estimate --save-rates FILE) and take the rates from there (--rates FILE)"
        )
    minutes = measuring.MINUTES + measuring.MINUTES_OF_ANOTHER * (len(corpora) - 1)
    print(
        f"measuring this machine, by the pipeline's own stages on generated recordings: some {minutes} minutes on two processors; "
        "let nothing else run",
        file=sys.stderr,
        flush=True,
    )
    return measuring.measure(settings, corpora, Path())


def _otherwise(differences: list[str]) -> str:
    more = f" and {len(differences) - MOST_NAMED} more" if len(differences) > MOST_NAMED else ""
    return f"measured with other settings, so measure again: {', '.join(differences[:MOST_NAMED])}{more}"
