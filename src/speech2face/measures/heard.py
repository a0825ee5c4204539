"""People whom a frozen speaker encoder may have heard when it was trained, apart from those it cannot have heard.

Public speaker encoders were trained on public corpora, VoxCeleb among them, to tell its people apart by their names.
"""

from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.aligned import Aligned
from speech2face.measures.attributes import ORIGIN
from speech2face.measures.inputs import Inputs
from speech2face.measures.scores import score_groups
from speech2face.measures.systems import System
from speech2face.pipeline.params import Evaluation

LISTS = ("", "manifest", "videos")
"""Sources that do not say where a recording is from."""


def score_heard(inputs: Inputs, aligned: Aligned, system: System, settings: Evaluation, seed: int) -> dict[str, Any]:
    """The scores of `score_groups` for `perhaps_heard` and `not_heard` speakers, by one system, with the
    names of the `corpora` that the encoder was trained on; empty where the inputs name none."""
    if not inputs.heard_by_encoder:
        return {}
    heard = pd.Series(np.where(perhaps_heard(inputs), "perhaps_heard", "not_heard"))
    groups = score_groups(aligned, system, {"heard": heard}, [], settings, seed)
    return {"corpora": ", ".join(sorted(inputs.heard_by_encoder)), **groups.get("heard", {})}


def perhaps_heard(inputs: Inputs) -> np.ndarray:
    """Whether the encoder may have heard each test row's speaker, bool [N]: the clip's origin, or else the source of the corpus, begins
    with the name of a corpus that the encoder was trained on, or is not known."""
    source = "" if inputs.source in LISTS else inputs.source.removeprefix("hq_")
    known = inputs.attributes.get(ORIGIN, pd.Series(dtype=object)).reindex(inputs.clip_ids)
    names = [source if pd.isna(name) else str(name) for name in known]
    prefixes = tuple(corpus.casefold() for corpus in inputs.heard_by_encoder)
    return np.array([not name or name.casefold().startswith(prefixes) for name in names])
