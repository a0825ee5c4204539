"""The model's arithmetic against numbers reckoned by hand."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from speech2face.estimate.corpora import CORPORA
from speech2face.estimate.model import (
    CLIP_BYTES,
    FILE_BYTES,
    MIB,
    STAGES,
    Machine,
    machine_of,
    predict,
    processes,
)
from speech2face.pipeline.params import Params, load_params
from tests.estimate.made_up import made_up_rates

# 1,000 speakers, of whom 650 train, 100 validate and 250 test; two videos of each, with five clips.
CORPUS = CORPORA["voxceleb1"].resized(10_000, 2_000, 1_000)
TWO = Machine(2, 0)


def predicted(machine: Machine = TWO, gpus: int = 0, params: Params | None = None) -> dict:
    rows = predict(made_up_rates(gpus), CORPUS, params or load_params(), machine)
    return {row.stage: row for row in rows}


def test_every_stage_of_the_pipeline_is_counted():
    assert list(STAGES) == list(YAML(typ="safe").load(Path("dvc.yaml"))["stages"])
    assert list(predicted()) == [*STAGES, "dvc"]


def test_seconds_of_stages_that_map():
    rows = predicted()
    assert rows["code"].seconds == pytest.approx(10 + 0.01)
    for stage in ("make_corpus", "segment_audio", "embed_voices"):
        assert rows[stage].seconds == pytest.approx(10 + 0.01 * 10_000)
    # the pictures of a video are one item
    assert rows["crop_faces"].seconds == pytest.approx(10 + 0.01 * 2_000)
    # and the head: 650 classes with 3 faces of 2 videos each, of 128 numbers
    assert rows["extract_features"].seconds == pytest.approx(10 + 0.01 * 2_000 + 1e-9 * 650 * (650 * 6) * 128)


def test_the_head_is_fitted_to_a_bounded_number_of_faces():
    many = CORPORA["voxceleb1"].resized(1_000_000, 100_000, 10_000)
    rates = made_up_rates()
    rows = {row.stage: row for row in predict(rates, many, load_params(), TWO)}
    assert rows["extract_features"].seconds == pytest.approx(10 + 0.01 * 100_000 + 1e-9 * 2622 * (2622 * 16) * 128)


def test_seconds_of_trainings():
    rows, params = predicted(), load_params()
    # preparation: 0.75 of 2,000 videos. Half of 650 and of 100 speakers have a canonical face; batches of 8; near neighbours
    epoch = 325 / 8 * 0.5 + 50 * 0.01
    assert rows["train_decoder"].seconds == pytest.approx(
        10 + 0.01 * 1_500 + params.decoder.epochs * epoch + 1e-6 * 325**2
    )
    epoch = 6_500 / 8 * 0.25 + 1_000 * 0.02
    assert rows["train_encoder"].seconds == pytest.approx(10 + 0.01 * 10_000 + params.encoder.epochs * epoch)


def test_the_small_encoder_has_its_own_epochs_and_batch():
    values = load_params().model_dump(mode="json")
    values["encoder"]["network"] = "speaker_embedding"
    row = predicted(params=Params.model_validate(values))["train_encoder"]
    assert row.seconds == pytest.approx(10 + 100 + 60 * (6_500 / 256 * 0.25 + 1_000 * 0.02))


def test_seconds_of_the_evaluation():
    # train and test hear; 2,500 test clips are compared with 250 speakers
    assert predicted()["evaluate"].seconds == pytest.approx(10 + 90 + 0.05 * 2_500 + 1e-6 * 2_500 * 250 + 1e-5 * 250**2)


def test_bytes():
    rows = predicted()
    shards = 10_000 / (0.975 * 32)
    assert rows["segment_audio"].bytes == pytest.approx(1000 + 2000 * 10_000 + 100 * shards)
    assert rows["crop_faces"].bytes == pytest.approx(1000 + 2000 * 2_000 + 100 * shards / 5)
    # and the classifier's 650 classes
    assert rows["extract_features"].bytes == pytest.approx(1000 + 2000 * 2_000 + 100 * shards / 5 + 500 * 650)
    assert rows["make_corpus"].bytes == pytest.approx(1000 + 2000 * 10_000)
    assert rows["train_encoder"].bytes == pytest.approx(3000)
    assert rows["evaluate"].bytes == pytest.approx(1000 + 2000 * 2_500)
    stored = sum(rows[stage].bytes for stage in STAGES)
    assert rows["dvc"].seconds == pytest.approx(5 + 1e-9 * stored)


def test_memory_grows_with_what_is_held_and_with_workers():
    rows, more = predicted(), predicted(Machine(8, 0))
    assert rows["segment_audio"].memory_mib == pytest.approx(500 + CLIP_BYTES["segment_audio"] * 10_000 / MIB)
    assert more["segment_audio"].memory_mib == pytest.approx(4 * rows["segment_audio"].memory_mib)
    videos, draws_and_faces = 4 * 128 * 2_000, 8 * (2 * 2_000 + 3 * 128) * 250
    held = CLIP_BYTES["evaluate"] * 10_000 + FILE_BYTES * 11 * 10_000
    assert rows["evaluate"].memory_mib == pytest.approx(500 + (held + videos + draws_and_faces) / MIB)
    assert more["evaluate"].memory_mib == rows["evaluate"].memory_mib


def test_more_processors_make_the_maps_faster():
    rows = predicted(Machine(8, 0))
    assert rows["segment_audio"].seconds == pytest.approx(10 + 100 / 4)
    assert rows["make_corpus"].seconds == pytest.approx(110)
    assert rows["train_encoder"].seconds == predicted()["train_encoder"].seconds


def test_more_gpus_share_the_batches():
    one, four = predicted(Machine(2, 1), gpus=1), predicted(Machine(32, 4), gpus=1)
    # two workers were measured on one GPU; sixteen share four
    assert four["crop_faces"].seconds == pytest.approx(10 + 20 * 2 / 16)
    steps = load_params().encoder.epochs * 6_500 / 8 * 0.25
    assert one["train_encoder"].seconds - four["train_encoder"].seconds == pytest.approx(0.75 * steps)


def test_processes_divide_the_batch():
    assert [processes(Machine(8, gpus), 8) for gpus in (0, 1, 2, 3, 4, 7, 8)] == [1, 1, 2, 2, 4, 4, 8]


def test_machines_that_cannot_be():
    rates = made_up_rates()
    assert machine_of(rates, None, None) == TWO
    assert machine_of(rates, 16, 0) == Machine(16, 0)
    with pytest.raises(ValueError, match=r"--processors must be at least 1 .got 0"):
        machine_of(rates, 0, None)
    with pytest.raises(ValueError, match=r"--gpus 2 needs rates of such a machine.*no GPU.*on a machine that has one"):
        machine_of(rates, None, 2)
    with pytest.raises(ValueError, match="measured with 1 GPUs; measure with S2F_DEVICE=cpu"):
        machine_of(made_up_rates(gpus=1), None, 0)
