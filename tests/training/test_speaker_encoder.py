"""Training on top of speaker networks: a face that depends linearly on the voice is learned, whatever part of a recording is heard."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.pipeline.shards import write_shard
from speech2face.speaker_networks.table import embeddings_schema
from speech2face.training.loop import Task, step_generator
from speech2face.training.pairs import Pairs, read_targets
from speech2face.training.session import train
from speech2face.training.speaker_encoder import build_speaker_encoder, embedding_statistics, random_stretch
from tests.training.tables import feature_row, write_features
from tests.training.toy import SPEAKER_EMBEDDING

CPU = torch.device("cpu")
VOICE_DIM, FACE_DIM = 6, 4
SPEAKERS = [f"s{i:02d}" for i in range(60)]
SPLITS = {s: "train" if i < 40 else "val" if i < 50 else "test" for i, s in enumerate(SPEAKERS)}
WEIGHTS = {"campplus": "a digest"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices of which each part is the speaker's own voice with a little noise; faces are a linear map of the voice."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    voices = 3 + 2 * rng.normal(size=(len(SPEAKERS), VOICE_DIM))
    faces = 7 + 0.3 * (voices - 3) @ rng.normal(size=(VOICE_DIM, FACE_DIM))
    rows = [
        {
            "clip_id": f"{speaker}/v/0",
            "speaker_id": speaker,
            "segment": 0,
            "start_s": 0.0,
            "duration_s": 6.0,
            "segment_s": 6.0,
            "embedding": (voice + 0.1 * rng.normal(size=(6, VOICE_DIM))).astype(np.float32),
        }
        for speaker, voice in zip(SPEAKERS, voices, strict=True)
    ]
    made_from = '{"weights": {"campplus": "a digest"}, "settings": {"networks": ["campplus"]}}'
    schema = embeddings_schema(6.0, VOICE_DIM)
    write_shard(root / "embeddings" / "shard-a.parquet", rows, schema, {"ingredients": made_from})
    write_features(root / "features", [feature_row(f"{s}/v/0", f) for s, f in zip(SPEAKERS, faces, strict=True)])
    return root


def make_task(data: Path, seed: int = 0, **changes: object) -> Task:
    settings = SPEAKER_EMBEDDING.model_copy(update=changes)
    return build_speaker_encoder(data=data, splits=SPLITS, target="video", settings=settings, seed=seed, device=CPU)


def test_it_learns_from_forty_people(data: Path, work: Path):
    task = make_task(data)
    state, steps = train(task, 0, work / "c.pt", lambda metrics: None)
    assert steps == 20 * (40 // 8)
    best = state.history[state.best_epoch]
    assert best["val/one_of_two"] == max(epoch["val/one_of_two"] for epoch in state.history) > 0.9
    assert best["val/error"] < 0.5 < state.history[0]["val/error"]


def test_the_same_seed_gives_the_same_network_and_another_seed_another(data: Path, work: Path):
    found = []
    for number, seed in enumerate((1, 1, 2)):
        task = make_task(data, seed, epochs=2)
        torch.manual_seed(number)  # what happened before does not matter
        train(task, seed, work / f"{number}.pt", lambda metrics: None)
        found.append(copy.deepcopy(task.network.state_dict()))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert any(not torch.equal(value, found[2][name]) for name, value in found[0].items())


def test_statistics_are_those_of_whole_training_segments(data: Path):
    pairs = Pairs(data / "embeddings", read_targets(data / "features", SPLITS), "train")
    whole = torch.cat([batch.heard[:, 0] for batch in pairs.in_order(100)])
    mean, deviation = embedding_statistics(pairs.in_order(7))
    torch.testing.assert_close(mean, whole.mean(0))
    torch.testing.assert_close(deviation, whole.std(0, correction=0))
    network = make_task(data).network
    assert isinstance(network, SpeakerEncoder)
    torch.testing.assert_close(network.voice_mean, mean)


def test_every_part_of_a_segment_is_heard_in_turn():
    embeddings = torch.arange(5.0)[None, :, None].expand(2000, 5, 3)
    found = random_stretch(embeddings, torch.Generator().manual_seed(0))
    counts = torch.bincount(found[:, 0].long(), minlength=5)
    assert (found == found[:, :1]).all() and counts.min() > 300


def test_the_mean_face_alone_has_an_error_of_one(data: Path):
    task = make_task(data)
    batch = next(iter(task.batches(0)))
    for member in task.network.members:
        torch.nn.init.zeros_(member[-1].weight)
        torch.nn.init.zeros_(member[-1].bias)
    pairs = Pairs(data / "embeddings", read_targets(data / "features", SPLITS), "train")
    losses = [task.losses(batch, step_generator(0, 0, 0)) for batch in pairs.in_order(8)]
    sizes = [len(b.clip_ids) for b in pairs.in_order(8)]
    error = sum(float(loss["error"].detach()) * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
    targets = read_targets(data / "features", SPLITS)
    rows = [targets.index[f"{s}/v"] for s in SPEAKERS[:40]]
    assert np.square(targets.features[rows] - targets.mean_face()).sum() > 0
    assert error == pytest.approx(1, rel=1e-4)
    assert float(task.losses(batch, step_generator(0, 0, 0))["total"].detach()) > error


def test_the_weight_file_says_what_was_heard(data: Path):
    assert make_task(data).about == {"segment_s": 6.0, "speaker_networks": WEIGHTS}


def test_a_batch_is_at_most_all_there_is(data: Path):
    assert make_task(data, batch_size=500).num_batches == 1
