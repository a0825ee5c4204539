"""dlib's two networks as they are in their files, and files that are damaged, hostile or of another kind."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speech2face.dlib_nets.detector import Detector
from speech2face.dlib_nets.embedder import Embedder
from speech2face.dlib_nets.layers import (
    AddPrevious,
    Affine,
    Convolution,
    DetectionLoss,
    Linear,
    Mark,
    MetricLoss,
    NetworkFile,
    Pool,
    Relu,
)
from speech2face.dlib_nets.network_file import read_network
from speech2face.dlib_nets.weights import DETECTOR, EMBEDDER, model_path
from tests.dlib_nets import dat_files

pytestmark = pytest.mark.slow

TINY_DETECTOR = dat_files.tiny_detector(np.random.default_rng(0))
TINY_EMBEDDER = dat_files.tiny_embedder(np.random.default_rng(1))


def counts(network: NetworkFile) -> dict[type, int]:
    return {kind: sum(isinstance(layer, kind) for layer in network.layers) for kind in set(map(type, network.layers))}


def test_the_detector_as_published():
    network = read_network(model_path(DETECTOR).read_bytes())
    assert counts(network) == {Convolution: 7, Affine: 6, Relu: 6}
    shapes = [layer.weight.shape for layer in network.layers if isinstance(layer, Convolution)]
    assert [shape[:2] for shape in shapes] == [(16, 3), (32, 16), (32, 32), (45, 32), (45, 45), (45, 45), (1, 45)]
    assert [shape[2:] for shape in shapes] == [(5, 5)] * 6 + [(9, 9)]
    assert [layer.stride[0] for layer in network.layers if isinstance(layer, Convolution)] == [2, 2, 2, 1, 1, 1, 1]
    assert network.input.mean == pytest.approx((122.782, 117.001, 104.298))
    assert (network.input.padding, network.input.outer_padding) == (10, 11)
    assert isinstance(network.loss, DetectionLoss)
    assert network.loss.windows == ((80, 80),)
    assert network.loss.overlap_iou == pytest.approx(0.3382761)


def test_the_embedder_as_published():
    network = read_network(model_path(EMBEDDER).read_bytes())
    # 29 convolutions, 14 blocks of which 4 halve the map: one tag each, and a tag and a skip more in those four
    assert counts(network) == {Convolution: 29, Affine: 29, Relu: 29, Pool: 6, AddPrevious: 14, Mark: 22, Linear: 1}
    assert network.input.size == (150, 150)
    assert network.layers[-1].weight.shape == (256, 128)
    assert isinstance(network.loss, MetricLoss)


def test_batch_norm_is_folded():
    rng = np.random.default_rng(2)
    scale, shift, means, x = rng.normal(size=(4, 5))
    variances = rng.uniform(0.1, 2, 5)
    layers = [dat_files.batch_norm(scale, shift, means, variances, eps=1e-3)]
    folded = read_network(dat_files.network(dat_files.METRIC_LOSS, dat_files.sized_input(9), layers)).layers[0]
    expected = scale * (x - means) / np.sqrt(variances + 1e-3) + shift
    np.testing.assert_allclose(folded.scale * x + folded.shift, expected, rtol=1e-5)


def test_layers_come_in_forward_order():
    network = read_network(TINY_EMBEDDER)
    names = [type(layer).__name__ for layer in network.layers]
    assert names[:5] == ["Convolution", "Affine", "Relu", "Pool", "Mark"]
    assert names[-5:] == ["Pool", "AddPrevious", "Relu", "Pool", "Linear"]


@pytest.mark.parametrize("data", [TINY_DETECTOR, TINY_EMBEDDER], ids=["detector", "embedder"])
def test_every_truncation_is_an_error(data):
    for end in range(len(data)):
        with pytest.raises(ValueError, match="byte "):
            read_network(data[:end])


def test_trailing_bytes_are_an_error():
    with pytest.raises(ValueError, match=rf"byte {len(TINY_DETECTOR)}: expected the end of the file, but 1 bytes"):
        read_network(TINY_DETECTOR + b"\x00")


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new, 1)


HUGE = dat_files.integer(2**62)
HOSTILE = {
    "empty": b"",
    "text": b"<html>404 Not Found</html>",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",
    "endless run of versions": TINY_DETECTOR[: TINY_DETECTOR.index(b"\x01\x17input") - 2] + b"\x01\x01" * 10**6,
    "string of 2^62": replaced(TINY_DETECTOR, b"\x01\x0aloss_mmod_", HUGE + b"loss_mmod_"),
    "2^62 windows": replaced(TINY_DETECTOR, b"loss_mmod_\x01\x02\x01\x01", b"loss_mmod_\x01\x02" + HUGE),
    "-1 windows": replaced(TINY_DETECTOR, b"loss_mmod_\x01\x02\x01\x01", b"loss_mmod_\x01\x02\x81\x01"),
    "tensor of 2^62": replaced(TINY_DETECTOR, b"con_4\x01\x02\x01\x38", b"con_4\x01\x02" + HUGE),
    "-56 weights": replaced(TINY_DETECTOR, b"con_4\x01\x02\x01\x38", b"con_4\x01\x02\x81\x38"),
    "dimensions whose product wraps": replaced(
        TINY_DETECTOR, b"con_4\x01\x02\x01\x38", b"con_4\x01\x02" + dat_files.integer(2**31 - 1) * 3
    ),
    "unknown layer": replaced(TINY_DETECTOR, b"affine_", b"affinx_"),
    "unknown input": replaced(TINY_DETECTOR, b"input_rgb_image_pyramid", b"input_rgb_image_pyramix"),
    "unknown loss": replaced(TINY_DETECTOR, b"loss_mmod_", b"loss_mmox_"),
    "old float form": replaced(TINY_DETECTOR, b"pyramid", b"pyramid\x7f"),
    "innermost layer is a tag": replaced(TINY_DETECTOR, b"\x01\x03\x01\x17input", b"\x01\x01\x01\x17input"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_errors_and_cost_nothing(name):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"byte \d+: expected "):
            read_network(HOSTILE[name])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**20


# Damage that reading alone does not notice, as each part is well formed: the whole must still be refused.
MISFITS = {
    "a stride that skips pixels": dat_files.convolution(np.ones((2, 3, 3, 3)), np.ones(2), stride=4),
    "a padding of thousands": dat_files.convolution(np.ones((2, 3, 3, 3)), np.ones(2), padding=4000),
    "another number of channels": dat_files.convolution(np.ones((2, 4, 3, 3)), np.ones(2), stride=2),
    "weights that overflow": dat_files.convolution(np.full((2, 3, 3, 3), 3e38), np.ones(2), stride=2),
}


@pytest.mark.parametrize("name", MISFITS)
def test_networks_that_do_not_fit_are_errors(name):
    rest = [dat_files.affine(np.full(2, 8.0), np.ones(2)), dat_files.RELU]
    last = dat_files.convolution(np.ones((1, 2, 3, 3)), np.ones(1), padding=1)
    data = dat_files.network(dat_files.DETECTION_LOSS, dat_files.PYRAMID_INPUT, [MISFITS[name], *rest, last])
    network = read_network(data)
    with pytest.raises(ValueError, match="not a dlib face detector"):
        Detector(network)


def test_an_embedder_whose_maps_shrink_to_nothing_is_an_error():
    data = replaced(TINY_EMBEDDER, dat_files.integer(15) * 2, dat_files.integer(4) * 2)
    with pytest.raises(ValueError, match="do not fit together"):
        Embedder(read_network(data))


def test_one_network_is_not_the_other():
    with pytest.raises(ValueError, match="not a dlib face detector"):
        Detector(read_network(TINY_EMBEDDER))
    with pytest.raises(ValueError, match="not a dlib face embedder"):
        Embedder(read_network(TINY_DETECTOR))


def build(data: bytes) -> Detector | Embedder:
    network = read_network(data)
    return Detector(network) if isinstance(network.loss, DetectionLoss) else Embedder(network)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_give_a_whole_network_or_a_value_error(data):
    """Flipped bits, overwritten and deleted and inserted bytes, anywhere in a file."""
    damaged = bytearray(data.draw(st.sampled_from([TINY_DETECTOR, TINY_EMBEDDER])))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["flip", "write", "delete", "insert"])):
            case "flip":
                damaged[position] ^= 1 << data.draw(st.integers(0, 7))
            case "write":
                damaged[position] = data.draw(st.integers(0, 255))
            case "delete":
                del damaged[position : position + data.draw(st.integers(1, 30))]
            case "insert":
                damaged[position:position] = data.draw(st.binary(min_size=1, max_size=20))
        if not damaged:
            break
    try:
        network = build(bytes(damaged))
    except ValueError:
        return
    assert all(parameter.isfinite().all() for parameter in network.parameters())
