"""What the training of an encoder is made from, for each of the two networks."""

from pathlib import Path

from speech2face.corpus.splits import read_splits
from speech2face.models.weight_files import tensors_digest
from speech2face.pipeline.params import Params
from speech2face.pipeline.provenance import json_digest
from speech2face.pipeline.shards import contents
from speech2face.training.encoder import build_encoder
from speech2face.training.runs import TrainingPlan
from speech2face.training.speaker_encoder import build_speaker_encoder


def plan_encoder(params: Params, data: Path, models: Path) -> TrainingPlan:
    """The training that `params.encoder` asks for, on the tables and networks in these folders."""
    if params.encoder.network == "published":
        return _plan_published(params, data, models)
    return _plan_speaker_embedding(params, data)


def _plan_published(params: Params, data: Path, models: Path) -> TrainingPlan:
    splits = read_splits(data / "speakers.parquet")
    heard = ("spectrograms", "features", *(["embeddings"] if params.encoder.weights.teacher else []))
    tables = {name: json_digest(contents(data / name)) for name in heard}
    networks = {name: tensors_digest(models / name / f"{name}.safetensors") for name in ("decoder", "head")}
    settings = params.encoder.model_dump(mode="json", exclude={"speaker_embedding"})
    return TrainingPlan(
        "train_encoder",
        build_encoder,
        {"data": data, "models": models, "splits": splits, "encoder": params.encoder, "lr": params.lr},
        {**settings, "lr": params.lr},
        params.seed,
        {**tables, **networks, "speakers": json_digest(splits)},
    )


def _plan_speaker_embedding(params: Params, data: Path) -> TrainingPlan:
    splits, settings = read_splits(data / "speakers.parquet"), params.encoder.speaker_embedding
    tables = {name: json_digest(contents(data / name)) for name in ("embeddings", "features")}
    return TrainingPlan(
        "train_encoder",
        build_speaker_encoder,
        {"data": data, "splits": splits, "target": params.encoder.target, "settings": settings},
        {**settings.model_dump(mode="json"), "network": "speaker_embedding", "target": params.encoder.target},
        params.seed,
        {**tables, "speakers": json_digest(splits)},
    )
