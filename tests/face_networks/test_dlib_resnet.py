"""The differentiable chip against dlib's, the embedding end to end, and gradients to the picture and its landmarks."""

import dlib
import numpy as np
import pytest
import torch
from PIL import Image

from speech2face.dlib_nets.weights import EMBEDDER, model_path
from speech2face.face_networks.dlib_resnet import DlibResnet, chip_positions, face_chips
from speech2face.faces.detection import detect
from speech2face.faces.landmarks import landmarks
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.losses import DecoderLossWeights, decoder_loss
from tests.dlib_nets import dat_files, pictures
from tests.simulated import face as drawn_face

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backend() -> DlibResnet:
    return DlibResnet(device="cpu")


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """uint8 [7, 224, 224, 3], the rendered heads."""
    faces = [Image.fromarray(face).crop((20, 20, 244, 244)) for face in pictures.rendered_faces()]
    return np.stack([np.array(face) for face in faces])


@pytest.fixture(scope="module")
def points(crops) -> np.ndarray:
    return np.stack([landmarks(crop, found[0].box) for crop, found in zip(crops, detect(list(crops)), strict=True)])


def shape(points: np.ndarray) -> dlib.full_object_detection:
    parts = dlib.points([dlib.point(int(x), int(y)) for x, y in points])
    return dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), parts)


def as_tensor(crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def test_geometry_is_dlibs(points):
    """dlib cuts chips from pictures whose pixels are their own coordinates, and so says where it samples them."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:600, 0:600].astype(np.float64)
    for _ in range(40):
        angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.4, 1.6)
        rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        face = points[rng.integers(len(points))]
        moved = (face - face.mean(axis=0) + rng.normal(0, 4, face.shape)) @ rotation.T + rng.uniform(270, 330, 2)
        moved = np.rint(moved)  # dlib's landmarks are whole numbers
        expected = np.stack([dlib.get_face_chip(image, shape(moved)) for image in (columns, rows)], axis=-1)
        found = chip_positions(torch.from_numpy(moved)[None])[0].numpy()
        inside = (expected > 0).all(axis=-1)
        assert inside.mean() > 0.9
        np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-6)
        single = chip_positions(torch.from_numpy(moved.astype(np.float32))[None])[0].numpy()
        np.testing.assert_allclose(single[inside], expected[inside], rtol=0, atol=0.01)


def test_rotation_beyond_a_reflection_is_dlibs():
    """Mirrored landmarks fit no rotation well; the best one is still dlib's."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:600, 0:600].astype(np.float64)
    mirrored = np.rint(np.array([300.0, 300.0]) + rng.normal(0, 60, (68, 2)))
    expected = np.stack([dlib.get_face_chip(image, shape(mirrored)) for image in (columns, rows)], axis=-1)
    found = chip_positions(torch.from_numpy(mirrored)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_chips_are_dlibs_but_for_the_cut_to_whole_numbers(crops, points):
    # moved by half a crop: parts of the chip lie outside, where dlib leaves it black
    for shift in (0, 60, -60):
        moved = points + np.float32(shift)
        chips = face_chips(as_tensor(crops), torch.from_numpy(moved)).permute(0, 2, 3, 1).numpy()
        for chip, crop, face in zip(chips, crops, moved, strict=True):
            expected = dlib.get_face_chip(crop, shape(face)).astype(np.float32)
            difference = chip - expected
            assert difference.min() > -0.01
            assert difference.max() < 1.01


def test_embedding_is_dlibs_end_to_end(backend, crops, points):
    model = dlib.face_recognition_model_v1(str(model_path(EMBEDDER)))
    found = backend.embed(as_tensor(crops), torch.from_numpy(points)).numpy()
    for feature, crop, face in zip(found, crops, points, strict=True):
        expected = np.array(model.compute_face_descriptor(crop, shape(face)))
        cosine = feature @ expected / np.linalg.norm(feature) / np.linalg.norm(expected)
        assert cosine > 0.9999
        assert np.linalg.norm(feature - expected) < 0.02  # 0.6 is the distance of two people


def test_gradients_are_finite_differences(crops, points):
    backend = DlibResnet(device="cpu").double()
    generator = torch.Generator().manual_seed(0)
    weights = torch.linspace(-1, 1, 128, dtype=torch.float64)
    # noise, as equal pixels make ties in the max pool, which have no derivative
    crop = as_tensor(crops[:1]).double() + torch.rand(1, 3, 224, 224, generator=generator, dtype=torch.float64) / 255
    face = torch.from_numpy(points[:1]).double() + 0.3
    crop.requires_grad_()
    face.requires_grad_()
    gradients = torch.autograd.grad((backend.embed(crop, face) @ weights).sum(), [crop, face])
    for which, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-8, -1e-8):
            moved = [crop.detach(), face.detach()]
            moved[which] = moved[which] + step * direction
            values.append(float((backend.embed(*moved) @ weights).sum()))
        slope = float((gradient * direction).sum())
        assert slope != 0
        assert slope == pytest.approx((values[0] - values[1]) / 2e-8, rel=1e-3)


def test_only_the_landmarks_that_dlib_uses_count(crops, points):
    face = torch.from_numpy(points[:1]).requires_grad_()
    chip_positions(face).square().sum().backward()
    used = face.grad[0].abs().sum(dim=1) > 0
    assert used.tolist() == [27 <= index < 55 or 60 <= index < 65 for index in range(68)]


def test_the_picture_can_be_pulled_towards_another_face(backend, crops, points):
    """What the decoder's loss needs: a few gradient steps on pixels bring the embedding closer."""
    images, faces = as_tensor(crops[:2]), torch.from_numpy(points[:2])
    target = backend.embed(images[1:], faces[1:])
    image = images[:1].clone().requires_grad_()
    distances = []
    for _ in range(5):
        distance = 1 - torch.cosine_similarity(backend.embed(image, faces[:1]), target).mean()
        distances.append(distance.item())
        (gradient,) = torch.autograd.grad(distance, image)
        with torch.no_grad():
            image -= 0.01 * gradient.sign()
            image.clamp_(0, 1)
    assert distances[-1] < 0.5 * distances[0]


def test_landmarks_that_coincide_give_finite_numbers(backend, crops):
    face = torch.full((1, 68, 2), 100.0, requires_grad=True)
    feature = backend.embed(as_tensor(crops[:1]), face)
    feature.sum().backward()
    assert feature.isfinite().all()
    assert face.grad.isfinite().all()


def test_frozen_and_in_eval_mode(backend):
    assert backend.feature_dim == 128
    assert not any(parameter.requires_grad for parameter in backend.parameters())
    assert not backend.training


def test_the_embedding_term_alone_reaches_both_networks_of_a_decoder(backend):
    torch.manual_seed(0)
    decoder = FaceDecoder(128, first_dim=16, landmark_hidden_dim=8, texture_channels=8)
    decoder.set_means(torch.from_numpy(drawn_face()).float() + 100, torch.rand(3, 224, 224))
    decoded = decoder(torch.randn(2, 128))
    nowhere = torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.randn(2, 128)
    terms = decoder_loss(
        decoded,
        *nowhere,
        embed=lambda image: backend.embed(image.clamp(0, 1), decoded.landmarks),
        weights=DecoderLossWeights(0.0, 0.0, 1.0),
    )
    for reached in (decoded.image, decoder.texture_network, decoder.landmark_network, decoder.f_dec):
        inputs = [reached] if isinstance(reached, torch.Tensor) else list(reached.parameters())
        gradients = torch.autograd.grad(terms.total, inputs, retain_graph=True)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_an_empty_batch(backend):
    assert backend.embed(torch.zeros(0, 3, 224, 224), torch.zeros(0, 68, 2)).shape == (0, 128)


GOOD = torch.full((2, 3, 224, 224), 0.5), torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) * 200


@pytest.mark.parametrize(
    ("crops", "faces", "message"),
    [
        (GOOD[0] * 255, GOOD[1], "crops must be in 0..1, got values from 127.5 to 127.5; divide"),
        (GOOD[0] * 2 - 2, GOOD[1], "crops must be in 0..1, got values from -1 to -1"),
        (GOOD[0] * torch.nan, GOOD[1], "crops must be in 0..1, got values from nan"),
        (GOOD[0].permute(0, 2, 3, 1), GOOD[1], r"crops must be a float tensor .* got torch.float32 \[2, 224, 224, 3\]"),
        (GOOD[0][:, :, :200], GOOD[1], r"\[2, 3, 200, 224\]"),
        (GOOD[0][0], GOOD[1], r"\[3, 224, 224\]"),
        ((GOOD[0] * 255).to(torch.uint8), GOOD[1], "torch.uint8"),
        (GOOD[0], GOOD[1][:1], r"landmarks must be a float tensor \[2, 68, 2\], got torch.float32 \[1, 68, 2\]"),
        (GOOD[0], GOOD[1].mT, r"got torch.float32 \[2, 2, 68\]"),
        (GOOD[0], GOOD[1].long(), "torch.int64"),
        (GOOD[0], GOOD[1] / 0, "landmarks must be finite"),
    ],
)
def test_bad_input(backend, crops, faces, message):
    with pytest.raises(ValueError, match=message):
        backend.embed(crops, faces)


def test_a_network_of_other_sizes_is_refused(tmp_path):
    path = tmp_path / "other.dat"
    path.write_bytes(dat_files.tiny_embedder(np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"must take 150 px and give 128 numbers, not \(15, 4\)"):
        DlibResnet(path, sha256=None)
