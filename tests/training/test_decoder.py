"""The decoder's training on eight flat faces, with a face network whose feature is the picture's mean colour."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speech2face.face_networks.dlib_resnet import DlibResnet
from speech2face.faces.table import FACES
from speech2face.models import face_decoder
from speech2face.models.face_decoder import FaceDecoder
from speech2face.pipeline.params import Decoder, DecoderWeights, Features, Frontal
from speech2face.pipeline.shards import write_shard
from speech2face.training import decoder
from speech2face.training.canonical import CanonicalFaces
from speech2face.training.decoder import DecoderInputs, decoder_data, decoder_task, read_decoder_inputs
from speech2face.training.loop import Task
from speech2face.training.pairs import Targets
from speech2face.training.session import train
from tests.training.tables import feature_row, write_features
from tests.training.test_canonical import face, grid_shape

CPU = torch.device("cpu")
SETTINGS = Decoder(
    texture="cnn",
    texture_channels=8,
    lr=1e-3,
    batch_size=4,
    epochs=2,
    precision="float32",
    max_gradient_norm=1.0,
    morph_fraction=0.5,
    morph_neighbours=2,
    embedding_fraction=1.0,
    frontal=Frontal(max_yaw_deg=15.0, max_mouth_opening=0.25, min_sharpness=0.01),
    weights=DecoderWeights(texture=1.0, landmarks=0.01, embedding=0.1),
)
SPLITS = ("train",) * 6 + ("val",) * 2


class Colour(nn.Module):
    """A face network whose feature is the picture's mean colour."""

    feature_dim = 3

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        return crops.mean((2, 3))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders of a hundredth of the usual size."""
    dimensions = {"first_dim": 32, "landmark_hidden_dim": 8}
    monkeypatch.setattr(decoder, "FaceDecoder", functools.partial(FaceDecoder, **dimensions))


@pytest.fixture
def faces() -> CanonicalFaces:
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(40, 180, 8), np.linspace(40, 180, 9), indexing="ij")
    mean = np.stack([x.ravel(), y.ravel()], 1)[:68].astype(np.float32)
    colours = rng.integers(40, 200, (8, 3, 1, 1))
    colours[6:] = colours[:2]  # what is learned of the training faces holds for the validation faces
    textures = np.broadcast_to(colours, (8, 3, 224, 224)).astype(np.uint8)
    landmarks = (mean + rng.normal(size=(8, 68, 2))).astype(np.float32)
    masks = np.ones((8, 224, 224), bool)
    return CanonicalFaces(tuple("abcdefgh"), SPLITS, textures, masks, landmarks, mean, 9, 1)


@pytest.fixture
def targets(faces: CanonicalFaces) -> Targets:
    features = faces.textures.mean((2, 3), dtype=np.float64).astype(np.float32) / 255
    index = {f"{speaker}/v": i for i, speaker in enumerate(faces.speaker_ids)}
    return Targets(features, index, dict(zip(faces.speaker_ids, SPLITS, strict=True)))


@pytest.fixture
def cut_off(faces: CanonicalFaces) -> CanonicalFaces:
    """The same faces from photographs that end at different heights, the lowest at row 180, and black below."""
    masks = np.arange(224)[:, None] < np.array([100, 120, 180, 130, 170, 110, 150, 140])[:, None, None]
    masks = np.broadcast_to(masks, (8, 224, 224))
    return dataclasses.replace(faces, masks=masks, textures=faces.textures * masks[:, None])


def make_task(faces: CanonicalFaces, targets: Targets, seed: int = 0, **changes: object) -> Task:
    inputs = DecoderInputs(faces, targets, Colour())
    return decoder_task(SETTINGS.model_copy(update=changes), seed, inputs, CPU)


def test_splits_stay_apart(faces: CanonicalFaces, targets: Targets):
    training, validation = decoder_data(faces, targets, "train"), decoder_data(faces, targets, "val")
    assert (len(training), len(validation)) == (6, 2)
    assert (training.rows.tolist(), validation.rows.tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7])
    np.testing.assert_array_equal(validation.features, targets.features[6:])


def test_a_face_without_features_is_left_out(faces: CanonicalFaces, targets: Targets):
    index = {video: row for video, row in targets.index.items() if not video.startswith("b")}
    training = decoder_data(faces, Targets(targets.features, index, targets.splits), "train")
    np.testing.assert_array_equal(training.features, targets.features[[0, 2, 3, 4, 5]])
    assert training.rows.tolist() == [0, 2, 3, 4, 5]
    none = decoder_data(faces, Targets(targets.features, {"a/v": 0}, targets.splits), "val")
    assert (len(none), none.features.shape) == (0, (0, 3))


def test_a_morph_is_the_same_way_between_two_faces_in_everything(faces: CanonicalFaces, targets: Targets):
    """Of the faces of b to f, number 1 is c and number 3 is e."""
    index = {video: row for video, row in targets.index.items() if not video.startswith("a")}
    data = decoder_data(faces, Targets(targets.features, index, targets.splits), "train")
    first, second, part = np.array([0, 1]), np.array([2, 3]), np.array([0.0, 0.25])
    batch = data.blend(first, second, part, CPU)
    np.testing.assert_array_equal(batch.features[0], targets.features[1])
    for found, values in (
        (batch.textures * 255, faces.textures),
        (batch.landmarks, faces.landmarks),
        (batch.features, targets.features),
    ):
        np.testing.assert_allclose(found[1], 0.75 * values[2] + 0.25 * values[4], rtol=1e-5)


def test_of_a_morph_is_known_what_both_faces_show(cut_off: CanonicalFaces, targets: Targets):
    data = decoder_data(cut_off, targets, "train")
    first, second = np.array([2, 2, 0]), np.array([1, 1, 2])
    masks = data.blend(first, second, np.array([0.5, 0.0, 1.0]), CPU).masks
    assert masks[:, :, 0].sum(1).tolist() == [120, 180, 100]
    np.testing.assert_array_equal(masks, masks[:, :, :1].expand(-1, -1, 224))


def test_what_no_photograph_shows_teaches_nothing(cut_off: CanonicalFaces, targets: Targets):
    """Two steps, after which a network that saw noise in its place is the same to the bit."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, cut_off.textures.shape, dtype=np.uint8)
    noisy = dataclasses.replace(cut_off, textures=np.where(cut_off.masks[:, None], cut_off.textures, noise))
    tasks = [make_task(faces, targets) for faces in (cut_off, noisy)]
    for epoch in range(2):
        for task in tasks:
            (batch,) = task.batches(epoch)
            task.optimizer.zero_grad()
            task.losses(batch, None)["total"].backward()
            task.optimizer.step()
    first, second = (task.network.state_dict() for task in tasks)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert tasks[0].validate() == tasks[1].validate()


def test_without_the_embedding_term_pixels_outside_have_no_gradient(cut_off: CanonicalFaces, targets: Targets):
    weights = DecoderWeights(texture=1.0, landmarks=0.01, embedding=0.0)
    task = make_task(cut_off, targets, texture="linear", weights=weights)
    bias = task.network.texture_network.get_submodule("to_rgb").bias  # one number a pixel
    for epoch in range(2):
        (batch,) = task.batches(epoch)
        task.optimizer.zero_grad()
        task.losses(batch, None)["total"].backward()
        gradient = bias.grad.reshape(3, 224, 224)
        shown = batch.masks.any(0)
        assert (gradient[:, ~shown] == 0).all() and (gradient[:, shown] != 0).float().mean() > 0.9
        task.optimizer.step()


def test_without_the_embedding_term_no_face_network_is_used(
    faces: CanonicalFaces, targets: Targets, work: Path, monkeypatch: pytest.MonkeyPatch
):
    def embed(*_: object) -> torch.Tensor:
        raise AssertionError("used")

    monkeypatch.setattr(Colour, "embed", embed)
    task = make_task(faces, targets, weights=DecoderWeights(texture=1.0, landmarks=0.01, embedding=0.0))
    state, num_steps = train(task, 0, work / "c.pt", lambda metrics: None)
    assert num_steps == 2 and state.history[-1]["val/embedding"] == 0
    assert state.history[-1]["val/total"] == pytest.approx(
        state.history[-1]["val/texture"] + 0.01 * state.history[-1]["val/landmarks"]
    )


def test_the_face_network_sees_a_part_of_each_training_batch_and_all_validation_faces(
    faces: CanonicalFaces, targets: Targets, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    monkeypatch.setattr(Colour, "embed", lambda self, crops, landmarks: seen.append(len(crops)) or crops.mean((2, 3)))
    task = make_task(faces, targets, embedding_fraction=0.3)
    for batch in task.batches(0):
        terms = task.losses(batch, torch.Generator())
        assert terms["embedding"].isfinite()
    assert seen == [2]  # of the one batch of 4: 1.2, rounded up
    task.validate()
    assert seen[1:] == [2]


def test_micro_batches_take_the_step_of_the_whole_batch(
    faces: CanonicalFaces, targets: Targets, monkeypatch: pytest.MonkeyPatch
):
    """3 faces and 1 of a batch of 4, of which 2 are drawn for the face network, in double precision."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    exact, seen = dataclasses.replace(targets, features=targets.features.astype(np.float64)), []
    for size in (4, 3):
        monkeypatch.setenv("S2F_MICRO_BATCH", str(size))
        task = make_task(faces, exact, embedding_fraction=0.5)
        task.network.double()
        (batch,) = task.batches(0)
        terms = task.losses(batch, None)
        terms["total"].backward()
        gradients = {name: parameter.grad for name, parameter in task.network.named_parameters()}
        seen.append(gradients | {name: value.detach() for name, value in terms.items()})
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-9, atol=1e-12)


def whose(features: torch.Tensor, targets: Targets) -> list[int]:
    """The face that each feature is of; -1 for none."""
    distance = torch.cdist(features, torch.from_numpy(targets.features[:6]))
    return [int(row.argmin()) if row.min() < 1e-6 else -1 for row in distance]


def test_without_morphs_an_epoch_shows_faces_as_they_are_each_at_most_once(faces: CanonicalFaces, targets: Targets):
    task = make_task(faces, targets, morph_fraction=0.0)
    orders = []
    for epoch in range(3):
        (batch,) = task.batches(epoch)
        orders.append(whose(batch.features, targets))
        assert -1 not in orders[-1] and len(set(orders[-1])) == SETTINGS.batch_size
        np.testing.assert_allclose(batch.textures * 255, faces.textures[orders[-1]], rtol=1e-6)
    assert len(set(map(tuple, orders))) > 1
    (again,), (other,) = task.batches(0), make_task(faces, targets, seed=1, morph_fraction=0.0).batches(0)
    assert whose(again.features, targets) == orders[0] != whose(other.features, targets)


def test_morphs_lie_between_a_face_and_one_of_its_neighbours(faces: CanonicalFaces, targets: Targets):
    task = make_task(faces, targets, morph_fraction=1.0, morph_neighbours=1)
    nearest = decoder.nearest_neighbours(faces.landmarks[:6], faces.textures[:6], faces.masks[:6], 1)[:, 0]
    own = targets.features[:6]
    for epoch in range(4):
        (batch,) = task.batches(epoch)
        assert whose(batch.features, targets) == [-1] * SETTINGS.batch_size
        for feature in batch.features.numpy():
            # On the line between the two, the distances to its ends add up to its length.
            detours = [
                np.linalg.norm(feature - a) + np.linalg.norm(feature - own[n]) - np.linalg.norm(a - own[n])
                for a, n in zip(own, nearest, strict=True)
            ]
            assert min(detours) < 1e-5


def test_training_starts_at_the_mean_of_the_training_faces(faces: CanonicalFaces, targets: Targets):
    task = make_task(faces, targets)
    with torch.no_grad():
        decoded = task.network(torch.from_numpy(targets.features[:2]))
    np.testing.assert_array_equal(task.network.mean_landmarks, faces.mean_landmarks)
    mean = faces.textures[:6].mean((0, 2, 3)) / 255
    np.testing.assert_allclose(task.network.mean_texture.mean((1, 2)), mean, rtol=1e-5)
    assert (decoded.texture.mean((2, 3)) - torch.from_numpy(mean)).abs().max() < 0.1
    assert (decoded.landmarks - torch.from_numpy(faces.mean_landmarks)).abs().mean() < 2


def test_the_mean_texture_is_that_of_the_faces_that_show_a_pixel(cut_off: CanonicalFaces, targets: Targets):
    mean = make_task(cut_off, targets).network.mean_texture * 255
    colours = cut_off.textures[:6, :, 0, 0]
    np.testing.assert_allclose(mean[:, 99, 5], colours.mean(0), rtol=1e-5)
    np.testing.assert_allclose(mean[:, 169, 5], colours[[2, 4]].mean(0), rtol=1e-5)
    np.testing.assert_allclose(mean[:, 179, 5], colours[2], rtol=1e-5)
    assert (mean[:, 180:] == 0).all()


def test_a_step_lowers_the_loss_of_its_batch(faces: CanonicalFaces, targets: Targets):
    task = make_task(faces, targets, lr=1e-4, morph_fraction=0.0)
    (batch,) = task.batches(0)
    before = task.losses(batch, torch.Generator())
    before["total"].backward()
    task.optimizer.step()
    with torch.no_grad():
        after = task.losses(batch, torch.Generator())
    assert after["total"] < before["total"]
    terms = {"texture": 1.0, "landmarks": 0.01, "embedding": 0.1}
    assert float(after["total"]) == pytest.approx(sum(w * float(after[name]) for name, w in terms.items()), rel=1e-5)


def test_the_validation_is_the_mean_over_faces_however_they_are_batched(faces: CanonicalFaces, targets: Targets):
    validation = {speaker: "train" if speaker in "ab" else "val" for speaker in faces.speaker_ids}
    moved = CanonicalFaces(faces.speaker_ids, tuple(validation.values()), *list(vars(faces).values())[2:])
    six = Targets(targets.features, targets.index, validation)
    by_two, by_six = make_task(moved, six, batch_size=2), make_task(moved, six, batch_size=2)
    found = by_two.validate()
    data = decoder_data(moved, six, "val")
    rows = np.arange(6)
    with torch.no_grad():
        whole = by_six.losses(data.blend(rows, rows, np.zeros(6), CPU), torch.Generator())
    assert found.keys() == {"total", "texture", "landmarks", "embedding"}
    assert found == pytest.approx({name: float(value) for name, value in whole.items()}, rel=1e-4)


def test_training_learns_the_colours_of_faces(
    faces: CanonicalFaces, targets: Targets, work: Path, monkeypatch: pytest.MonkeyPatch
):
    # The warp takes nine tenths of a step, and leaves flat faces as they are.
    monkeypatch.setattr(face_decoder, "sparse_image_warp", lambda texture, *points, **settings: (texture, None))
    task = make_task(faces, targets, texture="linear", epochs=30, batch_size=6, morph_fraction=0.0, lr=0.01)
    state, num_steps = train(task, 0, work / "c.pt", lambda metrics: None)
    assert num_steps == 30
    truth = torch.from_numpy(targets.features[:6])
    with torch.no_grad():
        colours = task.network(truth).texture.mean((2, 3))
    # the mean face, where training starts, is nearest to one and the same face; by chance 4 of 6 would be found once in 120 times
    assert (torch.cdist(colours, truth).argmin(1) == torch.arange(6)).sum() >= 4
    assert (colours - truth).abs().mean() < 0.6 * (truth - truth.median(0).values).abs().mean()
    np.testing.assert_array_equal(task.network.mean_landmarks, faces.mean_landmarks)
    losses = [metrics["val/total"] for metrics in state.history]
    assert state.best_epoch == int(np.argmin(losses)) > 10
    assert task.validate()["total"] == pytest.approx(min(losses), rel=1e-5)


def test_the_best_epoch_is_that_of_the_best_textures(faces: CanonicalFaces, targets: Targets):
    score = make_task(faces, targets).score
    assert score({"total": 2.0, "texture": 0.1, "landmarks": 9.0}) > score(
        {"total": 1.0, "texture": 0.2, "landmarks": 1.0}
    )
    assert score({"total": 1.0, "texture": 0.1, "landmarks": 1.0}) > score(
        {"total": 1.0, "texture": 0.1, "landmarks": 2.0}
    )


def test_what_is_said_of_a_training(faces: CanonicalFaces, targets: Targets):
    task = make_task(faces, targets)
    assert task.dimensions == {"feature_dim": 3, "texture": "cnn", "texture_channels": 8}
    assert task.counts == {"photographs": 9, "photographs_not_canonical": 1, "canonical_faces": 8}
    assert (task.epochs, task.num_batches, task.max_gradient_norm) == (2, 1, 1.0)


@pytest.mark.parametrize(("kept", "message"), [("a", "1 training"), ("abcdefg", "1 validation"), ("abc", "0 valid")])
def test_too_few_faces_are_refused(faces: CanonicalFaces, targets: Targets, kept: str, message: str):
    index = {video: row for video, row in targets.index.items() if video[0] in kept}
    few = Targets(targets.features, index, targets.splits)
    with pytest.raises(ValueError, match=rf"{message}\w* speakers have a canonical face, 2 are needed; loosen decoder"):
        make_task(faces, few)


def test_inputs_are_read_from_the_tables(tmp_path: Path):
    splits = {"a": "train", "b": "val", "d": "test"}
    rows = [face(speaker, 0, grid_shape(), 9) for speaker in splits]
    write_shard(tmp_path / "faces" / "shard-0.parquet", rows, FACES, {})
    write_features(tmp_path / "features", [feature_row(f"{s}/v/0", np.full(128, ord(s))) for s in splits])
    features = Features(backend="dlib_resnet", weights=None, layer="fc7", head_l2=1.0)
    inputs = read_decoder_inputs(tmp_path, splits, SETTINGS, features, None)
    assert inputs.faces.speaker_ids == ("a", "b")
    assert inputs.targets.features[:, 0].tolist() == [97, 98, 100]
    assert inputs.targets.splits == splits
    assert isinstance(inputs.backend, DlibResnet)
