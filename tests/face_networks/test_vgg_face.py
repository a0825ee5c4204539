"""VggFace against the golden activations of keras-vggface's own graph, and the published layouts."""

import json
from functools import cache

import numpy as np
import pytest
import torch

from speech2face.face_networks import load_vgg_face
from speech2face.face_networks.vgg_face import VggFace
from speech2face.face_networks.vgg_face_layout import array_shapes
from tests.face_networks.files.weight_files import GOLDEN, NARROW_H5

ATOL = 1e-5


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "vggface_narrow_golden.npz") as arrays:
        return dict(arrays)


def network(feature_layer: str = "fc7") -> VggFace:
    return load_vgg_face(NARROW_H5, feature_layer)


def crops() -> torch.Tensor:
    return torch.from_numpy(golden()["input_uint8_rgb"]).permute(0, 3, 1, 2).float() / 255


def close(actual: torch.Tensor, name: str) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), golden()[name], rtol=0, atol=ATOL)


def test_full_size_has_the_published_keys_shapes_and_parameters():
    with torch.device("meta"):
        full = VggFace()
    layout = json.loads((GOLDEN / "vgg_face_dag_layout.json").read_text())
    assert [(name, list(tensor.shape)) for name, tensor in full.state_dict().items()] == [
        (name, shape) for name, shape in layout["keys"]
    ]
    total = json.loads((GOLDEN / "vggface_full_layers.json").read_text())["total_params"]
    assert sum(parameter.numel() for parameter in full.parameters()) == layout["total_params"] == total == 145_002_878
    assert (full.feature_dim, full.num_classes) == (4096, 2622)
    np.testing.assert_allclose(full.mean.flatten(), layout["meta"]["mean"], atol=1e-4)


def test_shapes_of_arrays_are_the_networks():
    net = VggFace((4, 8, 16, 32, 31), 48, 40, 30)
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert array_shapes((4, 8, 16, 32, 31), (48, 40, 30)) == expected


@pytest.mark.parametrize("kind", ["raw", "pre"])
def test_every_layer_equals_keras(kind: str):
    """`raw`: pixels as they come, channel for channel, into Keras's BGR network; `pre`: keras-vggface's own input."""
    net = network()
    pixels = crops() * 255
    inputs = pixels.flip(1) if kind == "raw" else pixels - net.mean
    conv1_1 = torch.relu(net.conv1_1(inputs))
    close(conv1_1[:, :, ::32, ::32].permute(0, 2, 3, 1), f"{kind}_conv1_1_sub")
    pool5 = net.pool5(inputs)
    close(pool5.permute(0, 2, 3, 1), f"{kind}_pool5")
    fc6 = net.fc6(pool5.flatten(1))
    close(fc6, f"{kind}_fc6")
    close(torch.relu(fc6), f"{kind}_fc6_relu")
    fc7 = net.fc7(torch.relu(fc6))
    close(fc7, f"{kind}_fc7")
    close(torch.relu(fc7), f"{kind}_fc7_relu")
    logits = net.logits(fc7)
    close(logits, f"{kind}_fc8")
    close(logits.softmax(1), f"{kind}_fc8_softmax")


@pytest.mark.parametrize("feature_layer", ["fc7", "fc7_relu"])
def test_embed_takes_rgb_0_to_1_and_logits_take_its_features(feature_layer: str):
    net = network(feature_layer)
    features = net.embed(crops())
    close(features, f"pre_{feature_layer}")
    close(net.logits(features), "pre_fc8")


def test_logits_after_relu_leave_predicted_features_their_gradient():
    """A predicted feature below zero still has a gradient under fc7_relu, and none under fc7, where ReLU stands."""
    feature = torch.full((1, 40), -0.5)
    for feature_layer, has_gradient in (("fc7", False), ("fc7_relu", True)):
        predicted = feature.clone().requires_grad_()
        network(feature_layer).logits(predicted)[0, 3].backward()
        assert bool(predicted.grad.abs().sum() > 0) is has_gradient


def test_gradient_with_respect_to_crops_is_the_slope():
    net = network().double()
    generator = np.random.default_rng(0)
    # Noise, not a picture: even colour ties the maxima of the pools, where there is no slope.
    inputs = torch.from_numpy(generator.uniform(0.1, 0.9, (1, 3, 224, 224))).requires_grad_()
    upstream = torch.from_numpy(generator.standard_normal((1, 40)))
    (net.embed(inputs) * upstream).sum().backward()
    direction = torch.from_numpy(generator.standard_normal(inputs.shape))
    step = 1e-8
    with torch.no_grad():
        ends = [(net.embed(inputs + sign * step * direction) * upstream).sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((inputs.grad * direction).sum(), slope, rtol=1e-5, atol=0)


def test_weights_are_frozen_and_landmarks_change_nothing():
    net = network()
    assert not net.training and not any(parameter.requires_grad for parameter in net.parameters())
    torch.testing.assert_close(net.embed(crops(), torch.zeros(2, 68, 2)), net.embed(crops()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda x: x * 255, "divide pixels by 255"),
        (lambda x: (x * 255).to(torch.uint8), r"crops.float\(\) / 255"),
        (lambda x: x * 2 - 1, "map them to 0..1"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda x: x.permute(0, 2, 3, 1), "channels first"),
        (lambda x: x[:, :, :160, :160], "224"),
        (lambda x: x[:, :1], "3, 224, 224"),
        (lambda x: x[0], "3, 224, 224"),
    ],
)
def test_wrong_crops_are_refused_with_the_remedy(bad, words: str):
    with pytest.raises(ValueError, match=words):
        network().embed(bad(crops()))


def test_wrong_settings_and_features_are_refused():
    with pytest.raises(ValueError, match="fc7, fc7_relu"):
        network("fc6")
    with pytest.raises(ValueError, match=r"\[B, 40\]"):
        network().logits(torch.zeros(2, 41))
    with pytest.raises(ValueError, match="5 numbers"):
        VggFace(channels=(4, 8))
    with pytest.raises(ValueError, match="mean"):
        VggFace(channels=(1, 1, 1, 1, 1), fc6_dim=2, fc7_dim=2, num_classes=2, mean=(1.0, 2.0))


def test_an_empty_batch_gives_an_empty_batch():
    assert network().embed(torch.zeros(0, 3, 224, 224)).shape == (0, 40)
