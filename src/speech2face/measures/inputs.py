"""What an evaluation looks at: predictions for unseen speakers, and the truth beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from speech2face.measures.opinions import Judge
from speech2face.measures.views import Features

Decode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Features [B, D] to pictures uint8 RGB [B, H, W, 3] and landmarks [B, 68, 2] (x, y)."""
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures uint8 RGB [B, H, W, 3] and landmarks [B, 68, 2] to features [B, D]."""
Pictures = Callable[[Sequence[str]], list[np.ndarray]]
"""Face ids to their crops, uint8 RGB [H, W, 3] each."""


@dataclass(frozen=True)
class Faces:
    """True features float32 [F, D] of every face of the corpus, held or in a file, with its id, speaker and the speaker's split."""

    face_ids: list[str]
    speaker_ids: list[str]
    splits: list[str]
    features: Features


@dataclass(frozen=True)
class Inputs:
    """An evaluation's inputs.

    clip_ids: the test clips that were predicted, [N]; each is listed once, however many segments it has.
    predicted: features [N, D] by how much of each clip was heard (for example "all", the mean over its segments, then "6 s" and "3 s"),
        the most first; the first is what is evaluated.
    attributes: one row a clip, indexed by clip_id; numbers as floats, names as strings, null where unknown.
    roles: `linked` or `control` by attribute; empty where the corpus does not say.
    decode, embed, pictures, judge: None leaves out what needs them.
    voices: simpler descriptions of voices for the ridge baselines, by name; one row a clip of training and test speakers,
        indexed by clip_id.
    rejects: table of `item`, `stage`, `reason`, `message` from the earlier stages.
    digests: SHA-256 of files by clip_id, to find a recording or picture that is in two splits.
    description: lines for the report and the model card, for example {"Face features": "dlib_resnet"}.
    num_without_face: test clips that are not among `clip_ids` because they have no face to be compared with.
    heard_by_encoder: names of the corpora that a frozen speaker encoder was trained on, as clips' origins begin ("voxceleb"); empty
        where there is none, or none that is known to overlap.
    reader: name of the network of `embed`; reader_taught_decoder: whether its gradient had a part in training the decoder.
    stretch: how many times farther from the mean face real faces lie than the predictions, by the validation.
    source: `corpus.source`, by which clips without an `origin` are taken to be from one of these corpora or not.
    """

    clip_ids: list[str]
    predicted: Mapping[str, Features]
    faces: Faces
    attributes: pd.DataFrame
    roles: Mapping[str, str] = field(default_factory=dict)
    decode: Decode | None = None
    embed: Embed | None = None
    pictures: Pictures | None = None
    judge: Judge | None = None
    voices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rejects: pd.DataFrame | None = None
    digests: Mapping[str, Sequence[str]] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    num_without_face: int = 0
    reader: str = ""
    reader_taught_decoder: bool = False
    heard_by_encoder: frozenset[str] = frozenset()
    source: str = ""
    stretch: float = 1.0
