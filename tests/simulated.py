"""Simulated corpora: speakers with attributes, features made of them plus noise, and predictions of chosen quality."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from speech2face.corpus.ids import speaker_of
from speech2face.measures.aligned import Aligned, align
from speech2face.measures.attributes import Attribute, fit_attributes
from speech2face.measures.differences import MEASURES
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.opinions import Opinion
from speech2face.pipeline.params import Evaluation

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
SETTINGS = Evaluation(confidence=0.95, resamples=500, pictures=5, second_opinion=None)
QUICK = SETTINGS.model_copy(update={"resamples": 200})


def simulate(
    num_speakers: int = 120,
    test_fraction: float = 0.4,
    videos: int = 2,
    dim: int = 32,
    noise: float = 1.0,
    quality: str = "linked",
    audible: tuple[str, ...] = (),
    visible: tuple[str, ...] = (),
    turn: float = 1.0,
    seed: int = 0,
) -> Inputs:
    """A corpus whose faces show every attribute but accent and room, and those two where `visible` names them.

    quality of the predictions: `linked` (they know the linked attributes and those in `audible`, with `noise`), `perfect`
    (the true mean feature of the speaker) or `random`. turn: how much a face's feature changes with pose.
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
                name: _shown(name, drawn[name], directions[name])
                for name in ROLES
                if name not in ("accent", "room") or name in visible
            }
            heard = [shown[n] for n in shown if ROLES[n] == "linked" or n in audible]
            shown["pose"] = turn * shown["pose"]
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


def with_photographs(inputs: Inputs) -> Inputs:
    """The same faces, but as photographs of the speaker, as HQ-VoxCeleb has them: in a video of their own that no clip is from."""
    faces = inputs.faces
    ids = [f"{speaker}/photos/{number:07d}" for number, speaker in enumerate(faces.speaker_ids)]
    return replace(inputs, faces=replace(faces, face_ids=ids))


def _shown(name: str, value: float | str, directions: np.ndarray) -> np.ndarray:
    levels = {"f": 0, "m": 1, "black": 0, "brown": 1, "blond": 2, "red": 3, "us": 0, "gb": 1, "scotland": 2}
    levels |= {"dry": 0, "office": 1, "hall": 2}
    scales = {"age_years": (50, 17), "vocal_tract_length_cm": (15.6, 1.4), "skin_tone": (0.5, 0.3), "pose": (0, 10)}
    if isinstance(value, str):
        return directions[levels[value]]
    middle, scale = scales[name]
    return directions[0] * (value - middle) / scale


def face(**moved: tuple[float, float]) -> np.ndarray:
    """68 landmarks in round numbers: eyes 60 apart, nose 40 high and 30 wide, mouth 50 wide, jaw 120 wide; `p8` moves point 8."""
    points = np.zeros((68, 2))
    points[[36, 39, 42, 45]] = [(-45, 0), (-15, 0), (15, 0), (45, 0)]
    points[[37, 38, 40, 41]] = [(-35, -4), (-25, -4), (-25, 4), (-35, 4)]
    points[[43, 44, 46, 47]] = [(25, -4), (35, -4), (35, 4), (25, 4)]
    points[27:36] = [(0, 0), (0, 10), (0, 20), (0, 30), (-15, 40), (-7, 40), (0, 40), (7, 40), (15, 40)]
    points[48:60] = [
        (-25, 66),
        (-15, 62),
        (-8, 60),
        (0, 60),
        (8, 60),
        (15, 62),
        (25, 66),
        (15, 72),
        (8, 74),
        (0, 74),
        (-8, 74),
        (-15, 72),
    ]
    points[60:68] = [(-20, 66), (-8, 65), (0, 65), (8, 65), (20, 66), (8, 67), (0, 67), (-8, 67)]
    points[:17] = [(70 * -np.cos(t), 20 + 90 * np.sin(t)) for t in np.linspace(0, np.pi, 17)]
    points[[4, 12, 8]] = [(-60, 60), (60, 60), (0, 114)]
    for index, place in moved.items():
        points[int(index[1:])] = place
    return points


def with_pictures(inputs: Inputs, seed: int = 0) -> Inputs:
    """The same inputs with a linear decoder of flat pictures and landmarks, its inverse for a face network, and crops."""
    rng = np.random.default_rng([seed, 1])
    dim = inputs.faces.features.shape[1]
    shape, colour = rng.normal(size=(dim, 136)) / dim, rng.normal(size=(dim, 3)) * 4
    mean_shape = face() + 100

    def decode(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels = (128 + features @ colour).clip(0, 255).astype(np.uint8)
        images = np.broadcast_to(pixels[:, None, None], (len(features), 224, 224, 3))
        return images, mean_shape + (features @ shape).reshape(-1, 68, 2)

    def embed(images: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return (landmarks - mean_shape).reshape(len(landmarks), -1) @ np.linalg.pinv(shape)

    def pictures(face_ids: Sequence[str]) -> list[np.ndarray]:
        rows = [inputs.faces.face_ids.index(face_id) for face_id in face_ids]
        return list(decode(inputs.faces.features[rows])[0])

    return replace(inputs, decode=decode, embed=embed, pictures=pictures)


def fitted(inputs: Inputs, names: Sequence[str]) -> tuple[Aligned, list[Attribute]]:
    """The aligned inputs and the attributes of these names, every one of which can be evaluated."""
    aligned = align(inputs)
    attributes, skipped = fit_attributes(aligned, inputs.attributes, names)
    assert not skipped
    return aligned, attributes


HOSTILE = '<script>alert("x")</script>'


def plain() -> Inputs:
    """A corpus with all that an evaluation can be given."""
    inputs = with_pictures(simulate())
    clips = inputs.attributes.index
    voices = {
        "mean_spectrogram": inputs.attributes[["age_years", "vocal_tract_length_cm"]],
        "f0": pd.DataFrame(np.random.default_rng(0).normal(size=(len(clips), 2)), clips),
    }
    rejects = pd.DataFrame(
        [
            ("id1/v/1", "crop_faces", "no_face", HOSTILE),
            ("id2/v/1", "crop_faces", "no_face", "no face"),
            ("id3/v/1", "segment_audio", "too_short", "0.2 s"),
        ],
        columns=["item", "stage", "reason", "message"],
    )
    description = {"Corpus": f"simulated | piped\n{HOSTILE}"}
    return replace(inputs, voices=voices, rejects=rejects, description=description, judge=judge)


def judge(images: np.ndarray, landmarks: np.ndarray) -> Opinion:
    """A stand-in for insightface: it reads ages and sexes off a picture's colour."""
    colours = images[:, 0, 0].astype(float)
    return Opinion(landmarks.reshape(len(images), -1), colours[:, 0], colours[:, 1] / 255)


def labelled() -> Inputs:
    """Sex and nationality and no roles, as VoxCeleb has them; one speaker is the only one of her nationality. Every second speaker is
    from VoxCeleb, which the encoder has heard."""
    inputs = simulate()
    number = inputs.attributes.index.map(speaker_of).str[-3:].astype(int)
    table = inputs.attributes[["sex"]].assign(nationality=np.array(["UK", "USA", "India"])[number % 3])
    table.loc[table.index.str.startswith("id00003"), "nationality"] = "Peru"
    table["origin"] = np.array(["VoxCeleb2", "avspeech"])[number % 2]
    return replace(with_pictures(inputs), attributes=table, roles={}, heard_by_encoder=frozenset({"voxceleb"}))


def bare() -> Inputs:
    """No attribute at all."""
    inputs = simulate(60)
    return replace(with_pictures(inputs), attributes=pd.DataFrame(index=inputs.attributes.index), roles={})


def photographed() -> Inputs:
    """Faces in a video of their own, perfect predictions, and three clips that had no face."""
    return replace(with_pictures(with_photographs(simulate(80, quality="perfect"))), num_without_face=3)


def seen_in_training() -> Inputs:
    """The first test speaker's faces are a training speaker's too, and one test clip has the file of a training clip."""
    inputs = simulate(dim=64)
    digests = {clip: ["same"] for clip in (inputs.clip_ids[0], inputs.attributes.index[-1])}
    return replace(add_training_speaker(inputs, inputs.faces.features[:2]), digests=digests)


def add_training_speaker(inputs: Inputs, features: np.ndarray, name: str = "id99999") -> Inputs:
    """The corpus with one more training speaker who has these features."""
    faces = inputs.faces
    ids = [f"{name}/video{i}/0000001" for i in range(len(features))]
    return replace(
        inputs,
        faces=replace(
            faces,
            face_ids=faces.face_ids + ids,
            speaker_ids=faces.speaker_ids + [name] * len(ids),
            splits=faces.splits + ["train"] * len(ids),
            features=np.concatenate([faces.features, features]).astype(np.float32),
        ),
    )


def table_of_clips(better: float = 0.0, seed: int = 0, speakers: int = 60) -> pd.DataFrame:
    """The table of clips of a run whose scores are noise about `better` and what makes a speaker hard, which is the same in every run."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(size=speakers).repeat(2)
    table = pd.DataFrame({"clip_id": [f"id{i // 2:03d}/v{i % 2}/1" for i in range(2 * speakers)]})
    table["speaker_id"] = table["clip_id"].map(speaker_of)
    for name in MEASURES:
        table[name] = hard + better + 0.1 * rng.normal(size=len(table))
    table["sex_true"] = np.where(hard > 0, "f", "m")
    table["sex_from_voice"] = np.where(rng.uniform(size=len(table)) < 0.7 + better, table["sex_true"], "x")
    table["sex_accuracy"] = (table["sex_true"] == table["sex_from_voice"]).astype(float)
    errors = np.random.default_rng(98).normal(size=len(table))  # the same in both runs, but for their size
    table["age_years_true"] = 40 + hard
    table["age_years_from_voice"] = 40 + hard + (1 - better) * errors
    table["age_years_absolute_error"] = np.abs((1 - better) * errors)
    return table


CORPORA = {
    "plain": plain,
    "noisy": lambda: with_pictures(simulate(noise=4.0)),
    "perfect": lambda: with_pictures(simulate(140, videos=1, quality="perfect")),
    "one_video": lambda: simulate(dim=64, videos=1),
    "leaking": lambda: simulate(audible=("skin_tone",)),
    "seen_in_training": seen_in_training,
    "labelled": labelled,
    "bare": bare,
    "photographed": photographed,
}
"""Corpora whose evaluations several tests look at: the fixtures `evaluated` and `measured` run each once."""
