"""Descriptions of synthetic speakers: what ties a voice to a face, and what must not.

A speaker is drawn from `(seed, index)` alone, so adding speakers changes none of the earlier ones, and voice and face are
made from the same description. Links follow published acoustics, with noise added; everything else is drawn
independently, so that a model which predicts it from the voice has found a leak.

Sources: fundamental frequency by sex and age, Hollien & Shipp 1972 and Stathopoulos et al. 2011; vocal-tract length by
sex, Fitch & Giedd 1999 and Goldstein 1980; speaking rate by age, Quené 2013; tremor and breathiness by age, Linville 2001.
"""

from dataclasses import dataclass

import numpy as np

LINKED = ("sex", "age_years", "vocal_tract_length_cm")
"""Attributes that shape both the voice and the face."""

SPEAKER_CONTROLS = ("skin_tone", "hair_colour", "eye_spacing", "nose_shape", "accent")
VIDEO_CONTROLS = ("words", "room", "lighting", "pose")
CONTROLS = SPEAKER_CONTROLS + VIDEO_CONTROLS
"""Negative controls: each shapes the voice or the face, never both."""

HAIR_COLOURS = ("black", "brown", "blond", "red")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029")
"""Voice names of espeak-ng: American, British, Scottish and Caribbean English."""
ROOMS = ("dry", "office", "hall")
LIGHTINGS = ("left", "front", "right")
NUM_TEXTS = 24
"""Number of distinct texts; `words` is the index of the one that is read in a video."""

MEAN_VOCAL_TRACT_LENGTH_CM = {"f": 14.4, "m": 16.9}
SD_VOCAL_TRACT_LENGTH_CM = 0.7


@dataclass(frozen=True)
class Speaker:
    """What does not change between a speaker's videos. Unless a unit is named, numbers are in -1..1 or 0..1 as said."""

    speaker_id: str
    name: str
    sex: str  # "f" or "m"
    age_years: float  # 20..80
    vocal_tract_length_cm: float

    # the voice, from the three above with noise
    f0_hz: float
    rate_wpm: float
    tremor: float  # depth of the 5 Hz modulation of the fundamental frequency, as a fraction of it
    breathiness: float  # level of aspiration noise over the voice, 0..1

    # the face, from the first three with noise
    lower_face_length: float  # z-score, clipped to -2.5..2.5: length of jaw and lower face

    # unlinked: the face only
    skin_tone: float  # 0 lightest .. 1 darkest
    ancestry: tuple[float, float, float]  # african, asian, caucasian; sums to 1
    hair_colour: str
    hair_cut: int  # 0..3; the cuts themselves depend on nothing else
    eye_colour: int  # 0..3
    eye_spacing: float  # -1 narrow .. 1 wide
    nose_shape: float  # -1 narrow .. 1 wide
    ear_size: float  # -1..1
    weight: float  # 0..1

    # unlinked: the voice only
    accent: str


@dataclass(frozen=True)
class Video:
    """What differs between a speaker's videos. Nothing in it depends on the speaker."""

    video: str
    words: int  # 0..NUM_TEXTS-1
    room: str
    noise_db: float  # level of background noise relative to speech, dB
    level_db: float  # peak level of the recording, dB full scale
    lighting: str  # where the key light stands, seen from the camera
    light_strength: float  # 0.7..1.3
    yaw_deg: float  # positive: the face turns to the picture's right
    pitch_deg: float  # positive: the face looks up
    expression: float  # 0 neutral .. 1 slight smile
    distance_m: float
    background: tuple[float, float, float]  # linear RGB, 0..1
    shirt: tuple[float, float, float]

    @property
    def pose(self) -> float:
        """The control named `pose`: yaw in degrees."""
        return self.yaw_deg


def draw_speaker(seed: int, index: int) -> Speaker:
    """The speaker number `index` (0 and up) of the corpus drawn from `seed`."""
    rng = np.random.default_rng([seed, index])
    sex = str(rng.choice(["f", "m"]))
    age_years = float(rng.uniform(20, 80))
    age = (age_years - 20) / 60
    vtl_z = float(np.clip(rng.normal(), -2.5, 2.5))
    f0_hz = (215 - 40 * age if sex == "f" else 112 + 22 * (age - 0.35) ** 2) * float(np.exp(rng.normal(0, 0.06)))
    return Speaker(
        speaker_id=f"id9{index:04d}",
        name=f"Synthetic_{index:04d}",
        sex=sex,
        age_years=age_years,
        vocal_tract_length_cm=MEAN_VOCAL_TRACT_LENGTH_CM[sex] + SD_VOCAL_TRACT_LENGTH_CM * vtl_z,
        f0_hz=f0_hz,
        rate_wpm=float(np.clip(195 - 60 * age + rng.normal(0, 7), 110, 220)),
        tremor=float(np.clip(0.002 + 0.065 * age**1.5 + rng.normal(0, 0.006), 0.0, 0.08)),
        breathiness=float(np.clip(0.03 + 0.94 * age + rng.normal(0, 0.06), 0.0, 1.0)),
        lower_face_length=float(np.clip(0.95 * vtl_z + rng.normal(0, 0.3), -2.5, 2.5)),
        skin_tone=float(rng.uniform()),
        ancestry=tuple(float(x) for x in rng.dirichlet([0.6, 0.6, 0.6])),  # type: ignore[arg-type]
        hair_colour=str(rng.choice(HAIR_COLOURS)),
        hair_cut=int(rng.integers(4)),
        eye_colour=int(rng.integers(4)),
        eye_spacing=float(rng.uniform(-1, 1)),
        nose_shape=float(rng.uniform(-1, 1)),
        ear_size=float(rng.uniform(-1, 1)),
        weight=float(rng.uniform(0.3, 0.7)),
        accent=str(rng.choice(ACCENTS)),
    )


def draw_video(seed: int, index: int, number: int) -> Video:
    """Video `number` (0 and up) of speaker `index`; its words, room, light and pose are drawn without regard to the speaker."""
    rng = np.random.default_rng([seed, index, 1 + number])
    return Video(
        video=f"video{number:05d}",
        words=int(rng.integers(NUM_TEXTS)),
        room=str(rng.choice(ROOMS)),
        noise_db=float(rng.uniform(-45, -28)),
        level_db=float(rng.uniform(-12, -1)),
        lighting=str(rng.choice(LIGHTINGS)),
        light_strength=float(rng.uniform(0.7, 1.3)),
        yaw_deg=float(rng.uniform(-18, 18)),
        pitch_deg=float(rng.uniform(-6, 6)),
        expression=float(rng.uniform(0, 1)),
        distance_m=float(rng.uniform(0.85, 1.1)),
        background=_muted_colour(rng, 0.15, 0.6, 0.06),
        shirt=_muted_colour(rng, 0.06, 0.45, 0.08),
    )


def _muted_colour(rng: np.random.Generator, darkest: float, lightest: float, tint: float) -> tuple[float, float, float]:
    """A grey between two levels (linear, 0..1) with a tint, as walls and clothes have."""
    red, green, blue = np.clip(rng.uniform(darkest, lightest) + rng.uniform(-tint, tint, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)
