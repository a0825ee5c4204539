"""Simulated corpora: speakers with attributes, features made of them plus noise, and predictions of chosen quality."""

import numpy as np
import pandas as pd

from speech2face.evaluation.inputs import Faces, Inputs

ROLES = {
    "sex": "linked",
    "age_years": "linked",
    "vocal_tract_length_cm": "linked",
    "skin_tone": "control",
    "hair_colour": "control",
    "accent": "control",
    "room": "control",
    "pose": "control",
}
SETTINGS = {"confidence": 0.95, "resamples": 500, "pictures": 5}


def simulate(
    num_speakers: int = 120,
    test_fraction: float = 0.4,
    videos: int = 2,
    dim: int = 32,
    noise: float = 1.0,
    quality: str = "linked",
    audible: tuple[str, ...] = (),
    seed: int = 0,
) -> Inputs:
    """A corpus whose faces show every attribute but accent and room.

    quality of the predictions: `linked` (they know the linked attributes and those in `audible`, with `noise`), `perfect`
    (the true mean feature of the speaker) or `random`.
    """
    rng = np.random.default_rng(seed)
    directions = {name: rng.normal(size=(4, dim)) for name in ROLES}
    rows, faces, features, predicted, clip_ids = [], [], [], [], []
    num_test = round(num_speakers * test_fraction)
    for index in range(num_speakers):
        speaker = f"id{index:05d}"
        split = "test" if index < num_test else "val" if index < num_test + 5 else "train"
        sex = str(rng.choice(["f", "m"]))
        fixed = {
            "sex": sex,
            "age_years": rng.uniform(20, 80),
            "vocal_tract_length_cm": rng.normal(14.4 if sex == "f" else 16.9, 0.7),
            "skin_tone": rng.uniform(),
            "hair_colour": str(rng.choice(["black", "brown", "blond", "red"])),
            "accent": str(rng.choice(["us", "gb", "scotland"])),
        }
        identity = rng.normal(size=dim)
        own, guess = [], np.zeros(dim)
        for number in range(videos):
            clip = f"{speaker}/video{number}/00001"
            drawn = fixed | {"room": str(rng.choice(["dry", "office", "hall"])), "pose": rng.uniform(-18, 18)}
            shown = {
                name: _shown(name, drawn[name], directions[name]) for name in ROLES if name not in ("accent", "room")
            }
            heard = [shown[n] for n in shown if ROLES[n] == "linked" or n in audible]
            rows.append({"clip_id": clip, **drawn})
            faces.append((f"{speaker}/video{number}/0000001", speaker, split))
            features.append(5 + identity + sum(shown.values()) + 0.3 * rng.normal(size=dim))
            own.append(features[-1])
            guess = 5 + np.sum(heard, axis=0) + noise * rng.normal(size=dim)
            if split == "test":
                clip_ids.append(clip)
                predicted.append({"linked": guess, "random": rng.normal(size=dim), "perfect": np.zeros(dim)}[quality])
        if split == "test" and quality == "perfect":
            predicted[-videos:] = [np.mean(own, axis=0)] * videos
    table = pd.DataFrame(rows).set_index("clip_id")
    ids, speakers, splits = (list(column) for column in zip(*faces, strict=True))
    return Inputs(
        clip_ids,
        {"6 s": np.array(predicted)},
        Faces(ids, speakers, splits, np.array(features, np.float32)),
        table,
        ROLES,
    )


def _shown(name: str, value: float | str, directions: np.ndarray) -> np.ndarray:
    levels = {"f": 0, "m": 1, "black": 0, "brown": 1, "blond": 2, "red": 3}
    scales = {"age_years": (50, 17), "vocal_tract_length_cm": (15.6, 1.4), "skin_tone": (0.5, 0.3), "pose": (0, 10)}
    if isinstance(value, str):
        return directions[levels[value]]
    middle, scale = scales[name]
    return directions[0] * (value - middle) / scale
