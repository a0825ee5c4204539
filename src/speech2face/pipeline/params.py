"""Typed parameters. params.yaml is their manual; here are their types and bounds.

Unknown keys, wrong types and values out of range are refused with the valid ones named.
"""

import difflib
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


MAX_DETECTOR_PX = 5792
"""Largest side of a square picture that the detector takes after doubling: the root of its limit of 2^25 pixels."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Synthetic(_Section):
    seed: Annotated[int, Field(ge=0)]
    num_speakers: Annotated[int, Field(ge=3, le=9999)]
    videos_per_speaker: Annotated[int, Field(ge=2, le=100)]
    clips_per_video: Annotated[int, Field(ge=1, le=100)]
    clip_s: Annotated[float, Field(ge=1, le=60)]
    size_px: Annotated[int, Field(ge=128, le=1024)]
    samples_per_pixel: Annotated[int, Field(ge=1, le=1024)]

    @model_validator(mode="after")
    def _fills_strata(self) -> "Synthetic":
        if math.isqrt(self.samples_per_pixel) ** 2 != self.samples_per_pixel:
            raise ValueError(
                f"samples_per_pixel must be a square number, such as 4, 9 or 16 (got {self.samples_per_pixel})"
            )
        return self


class Splits(_Section):
    by: Literal["hash", "official", "vox1_names", "every_tenth", "column"]
    column: Annotated[str, Field(min_length=1)]
    val: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _leaves_training(self) -> "Splits":
        if self.val + self.test >= 1:
            raise ValueError(
                f"val + test must be below 1, so that speakers are left to train on (got {self.val + self.test:g})"
            )
        return self


class Corpus(_Section):
    source: Literal[
        "synthetic", "voxceleb1", "voxceleb2", "voxceleb1+2", "hq_voxceleb", "avspeech", "videos", "manifest"
    ]
    root: str | None
    clips_per_shard: Count
    pictures_per_video: Count | None
    splits: Splits
    synthetic: Synthetic

    @model_validator(mode="after")
    def _has_root(self) -> "Corpus":
        if (self.root is None) != (self.source == "synthetic"):
            want = (
                "must be null"
                if self.source == "synthetic"
                else "must name the folder of the recordings (docs/data.md)"
            )
            raise ValueError(f"root {want} for source {self.source} (got {self.root!r})")
        if self.splits.by == "column" and self.source != "manifest":
            raise ValueError(
                f"splits.by column is for source manifest, whose list has a column of splits (got {self.source})"
            )
        return self


class Segments(_Section):
    """How recordings are cut; the part of `Audio` on which what is heard of them depends."""

    segment_s: Annotated[float, Field(ge=2.605, le=60)]
    segments: Literal["first", "all"]
    stride_s: Annotated[float, Field(ge=0.1, le=3600)]
    min_clip_s: Annotated[float, Field(ge=0.1)]
    min_speech_fraction: Fraction
    decode_limit_s: Positive

    @model_validator(mode="after")
    def _shortest_fits(self) -> "Segments":
        if self.min_clip_s > self.segment_s:
            raise ValueError(f"min_clip_s must be at most segment_s, {self.segment_s:g} (got {self.min_clip_s:g})")
        return self


class Audio(Segments):
    stored: Literal["spectrogram", "waveform"]


class Faces(_Section):
    size_px: Literal[224]
    margin: Annotated[float, Field(ge=0, le=2)]
    upsample: Annotated[int, Field(ge=0, le=3)]
    min_confidence: NonNegative
    max_image_px: Annotated[int, Field(ge=224)]
    frame_at: Annotated[list[Fraction], Field(min_length=1, max_length=1000)]
    keep: Count
    decode_limit_s: Positive
    jpeg_quality: Annotated[int, Field(ge=50, le=100)]

    @model_validator(mode="after")
    def _detector_can_take_it(self) -> "Faces":
        side_px = self.max_image_px * 2**self.upsample
        if side_px > MAX_DETECTOR_PX:
            raise ValueError(
                f"max_image_px times 2 to the power of upsample must be at most {MAX_DETECTOR_PX} (got {side_px})"
            )
        return self


class Features(_Section):
    backend: Literal["dlib_resnet", "vgg_face", "arcface"]
    weights: str | None
    layer: Literal["fc7", "fc7_relu"]
    head_l2: Positive

    @model_validator(mode="after")
    def _has_weights(self) -> "Features":
        needed = {"vgg_face": "a VGG-Face weight file", "arcface": "the folder of a model pack of insightface"}
        if self.backend in needed and self.weights is None:
            raise ValueError(f"weights must name {needed[self.backend]} for backend {self.backend} (got null)")
        return self


class Frontal(_Section):
    max_yaw_deg: Annotated[float, Field(gt=0, le=90)]
    max_mouth_opening: Positive
    min_sharpness: NonNegative


class DecoderWeights(_Section):
    texture: NonNegative
    landmarks: NonNegative
    embedding: NonNegative


class Decoder(_Section):
    texture: Literal["cnn", "linear", "resize"]
    texture_channels: Count
    lr: Positive
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    precision: Literal["float32", "bfloat16"]
    max_gradient_norm: Positive
    morph_fraction: Fraction
    morph_neighbours: Count
    embedding_fraction: Annotated[float, Field(gt=0, le=1)]
    frontal: Frontal
    weights: DecoderWeights


class EncoderWeights(_Section):
    unit: NonNegative
    distill: NonNegative
    temperature: Positive
    contrastive: NonNegative
    contrastive_temperature: Positive
    teacher: NonNegative


class SpecAugment(_Section):
    frequency_bins: Annotated[int, Field(ge=0, le=256)]
    time_frames: Annotated[int, Field(ge=0, le=258)]


class SpeakerEmbedding(_Section):
    networks: Annotated[list[Literal["ge2e", "campplus"]], Field(min_length=1)]
    hidden_dim: Count
    num_layers: Count
    members: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    lr: Positive
    weight_decay: NonNegative
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    contrastive: NonNegative
    contrastive_temperature: Positive

    @model_validator(mode="after")
    def _names_each_once(self) -> "SpeakerEmbedding":
        if len(set(self.networks)) < len(self.networks):
            raise ValueError(f"networks must name each network once (got {', '.join(self.networks)})")
        return self


class Encoder(_Section):
    network: Literal["published", "speaker_embedding"]
    target: Literal["video", "other_video", "speaker"]
    base_channels: Count
    hidden_dim: Count
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    patience: Count | None
    smooth_start: bool
    crop_frames: Annotated[int, Field(ge=259)] | None
    spec_augment: SpecAugment
    beta1: Annotated[float, Field(ge=0, lt=1)]
    eps: Positive
    weight_decay: NonNegative
    lr_schedule: Literal["cosine", "one_cycle", "steps"]
    lr_decay: Annotated[float, Field(gt=0, le=1)]
    lr_decay_steps: Count
    precision: Literal["float32", "bfloat16"]
    weights: EncoderWeights
    speaker_embedding: SpeakerEmbedding


class Evaluation(_Section):
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    pictures: Annotated[int, Field(ge=1, le=100)]
    second_opinion: Annotated[str, Field(min_length=1)] | None


class Params(_Section):
    lr: Annotated[float, Field(gt=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    max_reject_fraction: Fraction
    corpus: Corpus
    audio: Audio
    faces: Faces
    features: Features
    decoder: Decoder
    encoder: Encoder
    evaluation: Evaluation


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a complete parameter file.

    Raises ValueError with one line for each thing that is wrong: the key, the value, the bound or the valid choices.
    """
    try:
        # Not PyYAML: `-S lr=0.00001` is stored as 1e-05, which PyYAML reads as a string.
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; run from the repository's root") from None
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(f"{path}: {_explain(e)}" for e in error.errors())) from None


def resolve_path(path: str) -> Path:
    """A path of params.yaml: `~` is the home; what is relative is looked for in the working directory, then in the repository, because
    queued experiments run in a copy of it."""
    found = Path(path).expanduser()
    if not found.is_absolute() and not found.exists() and "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"]) / found
    return found


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part not in ("int", "float", "none"))
    match error["type"]:
        case "extra_forbidden":
            section: Any = Params
            for part in error["loc"][:-1]:
                section = _section_of(section.model_fields[part].annotation)
            valid = sorted(section.model_fields)
            near = difflib.get_close_matches(str(error["loc"][-1]), valid, 1)
            return f"{key} is not a parameter{f' (did you mean {near[0]}?)' if near else ''}; valid here: {', '.join(valid)}"
        case "missing":
            return f"{key} is missing; copy it from the repository's params.yaml"
        case "literal_error":
            return f"{key} must be {error['ctx']['expected']} (got {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error":
        return f"{key}: {message}"
    return f"{key or 'the file'} must be {message} (got {error['input']!r})"


def _section_of(annotation: Any) -> Any:
    return next(
        (a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)), None
    )
