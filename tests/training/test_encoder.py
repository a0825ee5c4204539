"""The encoder's training on a few clips whose loudness says who speaks, with networks of a few hundred weights."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speech2face.audio.extraction import spectrogram
from speech2face.audio.stored import spectrograms
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import LinearHead
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from speech2face.pipeline.params import Encoder, EncoderWeights, SpecAugment
from speech2face.training.encoder import (
    EncoderInputs,
    encoder_task,
    make_optimizer,
    make_scheduler,
    mask_bands,
    predict_features,
    random_crop,
    read_encoder_inputs,
    start_at,
)
from speech2face.training.loop import Task, step_generator
from speech2face.training.pairs import Pairs, Targets, read_targets
from speech2face.training.session import train
from speech2face.training.teacher import Teacher
from tests.training.tables import clip_row, feature_row, write_clips, write_features
from tests.training.toy import SPEAKER_EMBEDDING, assert_equal, weights

CPU = torch.device("cpu")
FRAMES, DIM = 261, 4
SPLITS = {"a": "train", "b": "train", "c": "train", "p": "val", "q": "val", "r": "val", "z": "test"}
VIDEOS = {"a": 4, "b": 2, "c": 2, "p": 2, "q": 2, "r": 2, "z": 1}
SETTINGS = Encoder(
    network="published",
    target="video",
    base_channels=1,
    hidden_dim=8,
    batch_size=4,
    epochs=3,
    patience=None,
    smooth_start=False,
    crop_frames=259,
    spec_augment=SpecAugment(frequency_bins=0, time_frames=0),
    beta1=0.5,
    eps=1e-4,
    weight_decay=0.0,
    lr_schedule="steps",
    lr_decay=0.5,
    lr_decay_steps=3,
    precision="float32",
    weights=EncoderWeights(
        unit=0.025, distill=2.0, temperature=2.0, contrastive=0.0, contrastive_temperature=0.1, teacher=0.0
    ),
    speaker_embedding=SPEAKER_EMBEDDING,
)


def ramp(clips: int, frames: int) -> torch.Tensor:
    """Spectrograms whose value is the number of the frame."""
    return torch.arange(frames, dtype=torch.float16).expand(clips, 2, 257, frames)


def test_a_crop_is_a_run_of_frames_from_a_place_of_its_own():
    clips = ramp(64, 601)
    crops = spectrograms(clips, CPU, random_crop(clips, 261, torch.Generator().manual_seed(0)))
    assert crops.shape == (64, 2, 257, 261)
    starts = crops[:, 0, 0, 0]
    assert torch.equal(crops[:, 0, 0] - starts[:, None], torch.arange(261.0).expand(64, -1))
    assert starts.unique().numel() > 40
    assert starts.min() < 40 and starts.max() > 300


def test_the_last_place_can_be_drawn_and_none_beyond():
    crop = random_crop(ramp(4000, 12), 10, torch.Generator().manual_seed(0))
    assert crop is not None and set(crop.first.tolist()) == {0, 1, 2}


def test_no_crop_is_the_whole_clip():
    for stored in (ramp(2, 300), torch.zeros(2, 299 * 160, dtype=torch.int16)):
        assert random_crop(stored, None, torch.Generator()) is random_crop(stored, 300, torch.Generator()) is None
        assert random_crop(stored, 299, torch.Generator()) is not None


def runs(masked: torch.Tensor) -> list[tuple[int, int]]:
    """Start and width of the one run of each row of bool [B, N]; start 0 where there is none."""
    found = []
    for row in masked.int().tolist():
        start, width = (row.index(1) if any(row) else 0), sum(row)
        assert row[start : start + width] == [1] * width  # one run, whole
        found.append((start, width))
    return found


def test_a_mask_is_a_band_of_bins_and_a_run_of_frames_and_the_rest_stays():
    clips = 1 + ramp(300, 40)[:, :, :30]
    before = clips.clone()
    found = mask_bands(clips, SpecAugment(frequency_bins=7, time_frames=5), torch.Generator().manual_seed(0))
    assert torch.equal(clips, before) and found.dtype == clips.dtype
    silent = found == 0
    assert torch.equal(silent[:, 0], silent[:, 1])
    bands, spans = silent[:, 0].all(2), silent[:, 0].all(1)
    assert torch.equal(silent[:, 0], bands[:, :, None] | spans[:, None, :])
    assert torch.equal(found[~silent], clips[~silent])
    widths = [{width for _, width in runs(masked)} for masked in (bands, spans)]
    assert widths == [set(range(8)), set(range(6))]


@pytest.mark.parametrize("axis", ["frequency_bins", "time_frames"])
def test_widths_and_places_of_masks_are_uniform(axis: str):
    """Of 12 places, masks of 0..3: each width a quarter of the time, each place where it fits as often as another."""
    widest = SpecAugment(**({"frequency_bins": 0, "time_frames": 0} | {axis: 3}))
    found = mask_bands(torch.ones(20_000, 1, 12, 12), widest, torch.Generator().manual_seed(0))[:, 0] == 0
    drawn = runs(found[:, :, 0] if axis == "frequency_bins" else found[:, 0])
    for width in range(4):
        starts = [start for start, found_width in drawn if found_width == width]
        assert len(starts) == pytest.approx(5000, abs=5 * np.sqrt(20_000 * 3 / 16))
        if width:
            share = 1 / (12 - width + 1)
            counts = np.bincount(starts)
            assert len(counts) == 12 - width + 1
            assert np.abs(counts - len(starts) * share).max() < 5 * np.sqrt(len(starts) * share)


def test_of_masks_of_no_width_nothing_is_drawn():
    generator, clips = torch.Generator().manual_seed(0), ramp(3, 20)
    before = generator.get_state()
    assert mask_bands(clips, SpecAugment(frequency_bins=0, time_frames=0), generator) is clips
    assert torch.equal(generator.get_state(), before)


def features_of(speaker: str, video: int) -> np.ndarray:
    """Feature of a video's face: all lie near one mean face, far from zero, and differ by speaker and a little by video."""
    rng = np.random.default_rng([ord(speaker), video])
    own = np.random.default_rng(ord(speaker)).normal(size=DIM)
    return (np.array([6.0, -3.0, 2.0, 4.0]) + 0.5 * own + 0.05 * rng.normal(size=DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip and one face a video."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    clips, faces = [], []
    for number, (speaker, videos) in enumerate(VIDEOS.items()):
        for video in range(videos):
            noise = 0.1 * (1 + number) * rng.normal(size=(2, 257, FRAMES))
            clips.append(clip_row(f"{speaker}/v{video}/00000", noise))
            faces.append(feature_row(f"{speaker}/v{video}/0", features_of(speaker, video)))
    write_clips(root / "spectrograms", clips, 2)
    write_features(root / "features", faces)
    return root


@pytest.fixture
def inputs(data: Path) -> EncoderInputs:
    torch.manual_seed(1)
    targets = read_targets(data / "features", SPLITS)
    return EncoderInputs(data / "spectrograms", targets, nn.Linear(DIM, 16), LinearHead(DIM, 3))


def make_task(inputs: EncoderInputs, lr: float = 1e-3, seed: int = 0, **changes: object) -> Task:
    return encoder_task(SETTINGS.model_copy(update=changes), lr, seed, inputs, CPU)


def whole_clips(inputs: EncoderInputs, split: str) -> tuple[torch.Tensor, list[str]]:
    """All clips of a split, [N, 2, 257, frames], and their ids."""
    batches = list(Pairs(inputs.spectrograms, inputs.targets, split).in_order(100))
    clips = torch.cat([batch.heard for batch in batches]).float()
    return clips, [clip for batch in batches for clip in batch.clip_ids]


def make_lively(network: nn.Module, clips: torch.Tensor) -> None:
    """Set the running statistics to those of `clips`: an untrained network answers nearly the same to all."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(clips)
    network.eval()


def test_a_network_is_started_at_the_mean_face():
    torch.manual_seed(0)
    network = VoiceEncoder(1, DIM, 8).eval()
    before, mean = copy.deepcopy(network), np.array([6.0, -3.0, 2.0, 4.0], np.float32)
    start_at(network, mean)
    clip = torch.randn(2, 2, 257, 259)
    with torch.no_grad():
        expected = torch.from_numpy(mean) + 0.1 * (before(clip) - before.fc2.bias)
        torch.testing.assert_close(network(clip), expected)
    assert network.fc2.bias.requires_grad and network.fc2.weight.requires_grad


def test_a_smooth_start_has_kernels_that_are_constant_in_time_and_as_large(inputs: EncoderInputs):
    wide = {"base_channels": 16, "hidden_dim": 2}
    plain, smooth = make_task(inputs, **wide).network, make_task(inputs, **wide, smooth_start=True).network
    kernels = {name for name, value in smooth.named_parameters() if value.ndim == 4 and "conv1." not in name}
    assert len(kernels) == 8
    for name, before in plain.named_parameters():
        after = smooth.get_parameter(name)
        if name in kernels:
            expected = before.mean(3, keepdim=True).expand_as(before) * 2
            torch.testing.assert_close(after, expected)
            assert after.std().item() == pytest.approx(before.std().item(), rel=0.1)
        else:
            assert torch.equal(after, before)


def test_training_starts_at_the_mean_of_the_training_speakers_one_like_the_other(inputs: EncoderInputs):
    speakers = [np.mean([features_of(s, v) for v in range(VIDEOS[s])], axis=0) for s in "abc"]
    task = make_task(inputs)
    np.testing.assert_allclose(task.network.fc2.bias.detach(), np.mean(speakers, axis=0), rtol=1e-5)
    # a has twice as many videos as the others, and validation speakers are not among them
    for others in ("abc", "abcpqr"):
        videos = [features_of(s, v) for s in others for v in range(VIDEOS[s])]
        assert np.abs(task.network.fc2.bias.detach().numpy() - np.mean(videos, axis=0)).max() > 0.01


def test_a_step_lowers_the_loss_of_its_batch(inputs: EncoderInputs):
    task = make_task(inputs)
    batch = next(iter(task.batches(0)))
    before = task.losses(batch, step_generator(0, 0, 0))
    before["total"].backward()
    task.optimizer.step()
    with torch.no_grad():
        after = task.losses(batch, step_generator(0, 0, 0))
    assert after["total"] < before["total"]
    terms = {"dec": 1.0, "unit": 0.025, "distill": 2.0, "contrastive": 0.0}
    assert float(after["total"]) == pytest.approx(sum(w * float(after[name]) for name, w in terms.items()), rel=1e-5)


def test_the_contrastive_term_compares_differences_from_the_mean_face(inputs: EncoderInputs):
    """By hand, in batches of four and two; clips of one speaker are not compared with each other."""
    terms = SETTINGS.weights.model_copy(update={"contrastive": 3.0})
    task, plain = make_task(inputs, weights=terms), make_task(inputs)
    clips, ids = whole_clips(inputs, "val")
    for network in (task.network, plain.network):
        make_lively(network, clips)
    found, expected = task.validate(), []
    speakers = [np.mean([features_of(s, v) for v in range(VIDEOS[s])], axis=0) for s in "abc"]
    middle = torch.from_numpy(np.mean(speakers, axis=0))
    for part in (slice(0, 4), slice(4, 6)):
        names = [clip[0] for clip in ids[part]]
        target = torch.from_numpy(np.stack([features_of(clip[0], int(clip[3])) for clip in ids[part]])) - middle
        with torch.no_grad():
            predicted = task.network(clips)[part] - middle
        cosines = torch.cosine_similarity(predicted[:, None], target[None], dim=-1) / 0.1
        for i, j in np.ndindex(len(names), len(names)):
            if i != j and names[i] == names[j]:
                cosines[i, j] = -torch.inf
        both = [-table.log_softmax(1).diagonal() for table in (cosines, cosines.T)]
        expected += ((both[0] + both[1]) / 2).tolist()
    assert len(expected) == 6
    assert found["contrastive"] == pytest.approx(np.mean(expected), rel=1e-3)
    without = plain.validate()
    assert without["contrastive"] == 0
    assert found["total"] == pytest.approx(without["total"] + 3 * found["contrastive"], rel=1e-5)


def test_a_step_sees_the_crop_that_its_generator_draws(inputs: EncoderInputs):
    task = make_task(inputs)
    batch = next(iter(task.batches(0)))
    with torch.no_grad():
        first, again = (float(task.losses(batch, step_generator(0, 0, 0))["total"]) for _ in range(2))
        others = {float(task.losses(batch, step_generator(0, 0, step))["total"]) for step in range(5)}
        whole = make_task(inputs, crop_frames=None)
        uncropped = {float(whole.losses(batch, step_generator(0, 0, step))["total"]) for step in range(3)}
    assert first == again
    assert len(others) > 1
    assert len(uncropped) == 1


def test_a_step_hears_masked_clips_and_the_validation_whole_ones(inputs: EncoderInputs):
    masks = {"crop_frames": None, "spec_augment": SpecAugment(frequency_bins=100, time_frames=100)}
    task, plain = make_task(inputs, **masks), make_task(inputs, crop_frames=None)
    heard: list[torch.Tensor] = []
    task.network.register_forward_pre_hook(lambda _, arguments: heard.append(arguments[0]))
    for network in (task.network, plain.network):
        network.eval()
    assert task.validate() == plain.validate()
    assert torch.equal(torch.cat(heard), whole_clips(inputs, "val")[0])
    heard.clear()
    task.network.train()
    batch = next(iter(task.batches(0)))
    with torch.no_grad():
        totals = [float(task.losses(batch, step_generator(0, 0, step))["total"]) for step in (0, 0, 1)]
    assert totals[0] == totals[1] != totals[2]
    expected = mask_bands(batch.heard, masks["spec_augment"], step_generator(0, 0, 0)).float()
    assert torch.equal(heard[0], expected) and (expected == 0).any()


@pytest.mark.parametrize("crop_frames", [259, None])
def test_of_stored_waveforms_the_networks_hear_what_they_hear_of_stored_spectrograms(
    inputs: EncoderInputs, tmp_path: Path, crop_frames: int | None
):
    """The same crops and masks of the same clips in the same order, but for the rounding to float16."""
    ids = whole_clips(inputs, "train")[1] + whole_clips(inputs, "val")[1]
    noise = np.random.default_rng(0).integers(-3000, 3000, (len(ids), 160 * (FRAMES - 1)), np.int16)
    of_waves = (spectrogram(waveform / np.float32(32_768)).numpy() for waveform in noise)
    tables = {"waveform": noise, "spectrogram": of_waves}
    heard: dict[str, list[torch.Tensor]] = {name: [] for name in tables}
    for name, stored in tables.items():
        write_clips(tmp_path / name, [clip_row(*row) for row in zip(ids, stored, strict=True)], 2)
        masks = SpecAugment(frequency_bins=100, time_frames=100)
        task = make_task(replace(inputs, spectrograms=tmp_path / name), crop_frames=crop_frames, spec_augment=masks)
        assert task.about["segment_s"] == pytest.approx((FRAMES - 1) / 100)
        task.network.register_forward_pre_hook(lambda _, arguments, to=heard[name]: to.append(arguments[0]))
        with torch.no_grad():
            for step, batch in enumerate(task.batches(0)):
                task.losses(batch, step_generator(0, 0, step))
        task.network.eval()
        task.validate()
    assert len(heard["waveform"]) == len(heard["spectrogram"]) > 2
    for found, expected in zip(heard["waveform"], heard["spectrogram"], strict=True):
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found == 0, expected == 0)
        torch.testing.assert_close(found, expected, rtol=2.0**-11, atol=2.0**-25)


def test_frozen_networks_stay_as_they_are_and_all_of_the_encoder_learns(inputs: EncoderInputs, work: Path):
    frozen = copy.deepcopy({"f_dec": inputs.f_dec.state_dict(), "face_logits": inputs.face_logits.state_dict()})
    task = make_task(inputs)
    start = weights(task)
    state, _ = train(task, 0, work / "c.pt", lambda metrics: None)
    for name, before in frozen.items():
        network = getattr(inputs, name)
        assert_equal(network.state_dict(), before)
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert state.history[-1]["train/total"] < state.history[0]["train/total"]
    still = [name for name, value in weights(task).items() if torch.equal(value, start[name])]
    assert still == ["mean_feature"]  # the mean face, which takes no part
    assert torch.equal(task.network.mean_feature, torch.from_numpy(inputs.targets.mean_face()))


def test_the_best_epoch_is_that_of_the_best_mean_rank_then_of_the_smallest_loss(inputs: EncoderInputs, work: Path):
    task = make_task(inputs)
    better, worse = {"one_of_two": 0.5, "total": 9.0}, {"one_of_two": 0.4, "total": 1.0}
    assert task.score(better) > task.score(worse)
    assert task.score(better | {"total": 8.9}) > task.score(better)
    state, num_steps = train(task, 0, work / "c.pt", lambda metrics: None)
    assert num_steps == task.num_batches * SETTINGS.epochs == 2 * 3
    order = [(-m["val/one_of_two"], m["val/total"], epoch) for epoch, m in enumerate(state.history)]
    assert state.best_epoch == min(order)[2]
    found = {f"val/{name}": value for name, value in task.validate().items()}
    best = state.history[state.best_epoch]
    assert found == pytest.approx({name: value for name, value in best.items() if name.startswith("val/")}, rel=1e-5)
    assert [m["lr"] for m in state.history] == pytest.approx(
        [1e-3, 7.5e-4, 5e-4]
    )  # halved after three steps; an epoch has two


def test_the_validation_ranks_whole_clips_among_the_validation_speakers(inputs: EncoderInputs):
    task = make_task(inputs)
    clips, ids = whole_clips(inputs, "val")
    make_lively(task.network, clips)
    found = task.validate()
    with torch.no_grad():
        predicted = task.network(clips).numpy()
    faces = {s: np.mean([features_of(s, v) for v in range(videos)], axis=0) for s, videos in VIDEOS.items()}
    middle = np.mean([faces[s] for s in "abc"], axis=0)
    gallery, predicted = np.stack([faces[s] for s in "pqr"]) - middle, predicted - middle
    cosines = predicted @ gallery.T / np.linalg.norm(predicted, axis=1)[:, None] / np.linalg.norm(gallery, axis=1)
    own = cosines[np.arange(len(ids)), ["pqr".index(clip[0]) for clip in ids]]
    ranks = 1 + (cosines > own[:, None]).sum(1)
    assert len(ids) == 6 and len(set(ranks)) > 1
    assert found["mean_rank"] == pytest.approx(ranks.mean())
    # A tenth of three speakers is the first one.
    assert found["recall_at_10_percent"] == pytest.approx((ranks == 1).mean())


def test_the_losses_of_the_validation_are_means_over_clips(inputs: EncoderInputs):
    """Six clips in batches of four."""
    task = make_task(inputs)
    clips, ids = whole_clips(inputs, "val")
    make_lively(task.network, clips)
    found = task.validate()
    target = torch.from_numpy(np.stack([features_of(clip[0], int(clip[3])) for clip in ids]))
    with torch.no_grad():
        predicted = task.network(clips)
        dec = (inputs.f_dec(predicted) - inputs.f_dec(target)).abs().sum(1).mean()
        cosine = torch.cosine_similarity(predicted, target)
    assert found["dec"] == pytest.approx(float(dec), rel=1e-4)
    assert found["unit"] == pytest.approx(float((2 - 2 * cosine).mean()), rel=1e-3)
    assert found["total"] == pytest.approx(found["dec"] + 0.025 * found["unit"] + 2.0 * found["distill"], rel=1e-5)


def test_a_training_depends_on_its_seed_alone(inputs: EncoderInputs):
    def start(seed: int) -> tuple:
        task = make_task(inputs, seed=seed)
        order = [[batch.clip_ids for batch in task.batches(epoch)] for epoch in range(2)]
        return weights(task)["convolutions.conv1.weight"].tolist(), *order

    first, other = start(0), start(1)
    assert start(0) == first
    assert [a == b for a, b in zip(first, other, strict=True)] == [False] * 3
    assert first[1] != first[2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_those_of_the_whole_clips_in_order(inputs: EncoderInputs, precision: str):
    torch.manual_seed(0)
    network = VoiceEncoder(1, DIM, 8)
    clips, ids = whole_clips(inputs, "train")
    make_lively(network, clips)
    pairs = Pairs(inputs.spectrograms, inputs.targets, "train")
    features, clip_ids = predict_features(network, pairs.in_order(3), CPU, precision)
    with torch.no_grad():
        expected = network(clips)
    assert (clip_ids, features.dtype) == (ids, torch.float32)
    tolerance = 1e-5 if precision == "float32" else 0.05
    torch.testing.assert_close(features, expected, rtol=tolerance, atol=tolerance)
    if precision == "bfloat16":  # which rounds to three digits
        assert (features - expected).abs().max() > 1e-4


def test_what_is_said_of_a_training(inputs: EncoderInputs):
    task = make_task(inputs)
    assert task.dimensions == {"feature_dim": DIM, "base_channels": 1, "hidden_dim": 8}
    assert task.about == {"segment_s": 2.6}
    assert task.counts == {"clips": 8, "clips_without_face": 0}
    (group,) = task.optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.5, 0.999), 1e-4)


@pytest.fixture
def taught(inputs: EncoderInputs) -> EncoderInputs:
    """With a teacher who knows all videos but one of a training speaker."""
    rng, targets = np.random.default_rng(7), inputs.targets
    index = {video: row for row, video in enumerate(video for video in targets.index if video != "a/v1")}
    faces = Targets(rng.normal(size=(len(index), DIM)).astype(np.float32), index, SPLITS)
    return replace(inputs, teacher=Teacher(faces, 0.25, {"campplus": "first"}))


def test_the_teachers_term_is_weighted_and_its_gradient_reaches_all_of_the_encoder(taught: EncoderInputs):
    task = make_task(
        taught, weights=SETTINGS.weights.model_copy(update={"teacher": 3.0}), crop_frames=None, batch_size=8
    )
    (batch,) = task.batches(0)
    found = task.losses(batch, step_generator(0, 0, 0))
    values = {name: value.item() for name, value in found.items()}
    with torch.no_grad():
        predicted = task.network(batch.heard.float()).numpy()
    faces = taught.teacher.faces
    known = [i for i, clip in enumerate(batch.clip_ids) if clip[:4] in faces.index]
    expected = [
        np.square(predicted[i] - faces.features[faces.index[batch.clip_ids[i][:4]]]).sum() / 0.25 for i in known
    ]
    assert len(known) == 7 and values["teacher"] == pytest.approx(np.mean(expected), rel=1e-4)
    terms = {"dec": 1.0, "unit": 0.025, "distill": 2.0, "teacher": 3.0}
    assert values["total"] == pytest.approx(sum(w * values[name] for name, w in terms.items()), rel=1e-5)
    found["teacher"].backward()
    assert all(value.grad is not None and value.grad.any() for value in task.network.parameters())


def test_a_network_follows_its_teacher_who_is_named(taught: EncoderInputs, inputs: EncoderInputs, work: Path):
    task, plain = make_task(taught, weights=SETTINGS.weights.model_copy(update={"teacher": 100.0})), make_task(inputs)
    assert task.about == {"segment_s": 2.6, "speaker_networks": {"campplus": "first"}}
    assert_equal(weights(task), weights(plain))
    state, _ = train(task, 0, work / "c.pt", lambda metrics: None)
    assert state.history[-1]["train/teacher"] < state.history[0]["train/teacher"]
    assert "val/teacher" in state.history[0] and not {"teacher"} & plain.validate().keys()


def test_a_training_ends_when_its_patience_does(inputs: EncoderInputs, work: Path):
    """At a learning rate that moves nothing, no epoch is better than the first; batch normalisation stays as it is, too."""
    task = make_task(inputs, lr=1e-12, patience=1)
    for module in task.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    state, _ = train(task, 0, work / "c.pt", lambda metrics: None)
    assert (state.best_epoch, len(state.history)) == (0, 2)


def test_weight_decay_shrinks_weights_beside_the_gradients_step():
    """Two steps of Adam by hand (Kingma and Ba 2015, algorithm 1) on a linear layer, which first loses lr * decay of its weights."""
    lr, decay, beta1, beta2, eps = 0.1, 0.5, 0.5, 0.999, 1e-4
    network = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    gradients = [0.3, -0.2]
    expected = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = make_optimizer(network, SETTINGS.model_copy(update={"weight_decay": decay}), lr)
    first, second = 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        first, second = beta1 * first + (1 - beta1) * gradient, beta2 * second + (1 - beta2) * gradient**2
        move = lr * first / (1 - beta1**step) / (np.sqrt(second / (1 - beta2**step)) + eps)
        for name, value in expected.items():
            expected[name] = (1 - lr * decay if name == "0.weight" else 1.0) * value - move
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("steps", [1.0] * 3 + [0.5] * 3 + [0.25] * 3 + [0.125]),  # half every three steps
        ("cosine", [0.5 + 0.5 * np.cos(np.pi * step / 9) for step in range(10)]),  # three epochs of three steps
        # up to 1 in a fifth of the steps, from a 25th of it; down to a 10,000th of that
        ("one_cycle", [0.04] + [4e-6 + (1 - 4e-6) * (0.5 + 0.5 * np.cos(np.pi * step / 8)) for step in range(9)]),
    ],
)
def test_the_learning_rate_falls_as_the_schedule_says(schedule: str, expected: list[float]):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(optimizer, SETTINGS.model_copy(update={"lr_schedule": schedule}), num_batches=3)
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        rates += scheduler.get_last_lr()
    assert rates == pytest.approx(expected)


def test_weight_decay_is_of_the_whole_network(inputs: EncoderInputs):
    plain, task = make_task(inputs), make_task(inputs, weight_decay=0.01)
    assert type(plain.optimizer) is torch.optim.Adam and type(task.optimizer) is torch.optim.AdamW
    sizes = [sum(p.numel() for p in group["params"]) for group in task.optimizer.param_groups]
    assert sum(sizes) == sum(p.numel() for p in task.network.parameters())
    decays = {id(p): group["weight_decay"] for group in task.optimizer.param_groups for p in group["params"]}
    kept = {name for name, p in task.network.named_parameters() if not decays[id(p)]}
    modules = dict(task.network.named_modules())
    norms = {name for name, module in modules.items() if isinstance(module, nn.BatchNorm2d)}
    assert norms and kept == {
        name
        for name, _ in task.network.named_parameters()
        if name.endswith(".bias") or name.rpartition(".")[0] in norms
    }


def test_a_batch_larger_than_the_corpus_is_refused(inputs: EncoderInputs):
    with pytest.raises(ValueError, match=r"encoder.batch_size must be at most the number of training clips, 8 .got 9."):
        make_task(inputs, batch_size=9)
    assert make_task(inputs, batch_size=8).num_batches == 1


@pytest.mark.parametrize("target", ["video", "other_video", "speaker"])
def test_inputs_are_read_from_the_tables_and_the_models(data: Path, tmp_path: Path, target: str):
    torch.manual_seed(0)
    dimensions = {"first_dim": 6, "landmark_hidden_dim": 2, "texture_channels": 1}
    decoder, head = FaceDecoder(DIM, **dimensions), LinearHead(DIM, 3, relu=True)
    decoder.set_means(torch.rand(68, 2))
    save_network(decoder, tmp_path / "decoder" / "decoder", feature_dim=DIM, **dimensions)
    save_network(head, tmp_path / "head" / "head", feature_dim=DIM, num_classes=3, relu=True)
    inputs = read_encoder_inputs(data, tmp_path, SPLITS, target)
    assert inputs.spectrograms == data / "spectrograms"
    assert (inputs.targets.target, inputs.targets.splits) == (target, SPLITS)
    features = torch.randn(5, DIM)
    assert torch.equal(inputs.f_dec(features), decoder.f_dec(features))
    assert torch.equal(inputs.face_logits(features), head(features))
