"""Writes small networks in dlib's format, so that the reader meets files whose contents the test knows."""

import math

import numpy as np


def integer(value: int) -> bytes:
    magnitude = abs(value)
    num_bytes = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([num_bytes | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(num_bytes, "little")


def real(value: float) -> bytes:
    if math.isnan(value):
        return integer(0) + integer(32002)
    if math.isinf(value):
        return integer(0) + integer(32000 if value > 0 else 32001)
    fraction, exponent = math.frexp(value)
    mantissa = int(fraction * 2**53)
    exponent -= 53
    while mantissa and mantissa % 256 == 0:
        mantissa //= 256
        exponent += 8
    return integer(mantissa) + integer(exponent if mantissa else 0)


def string(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(values: np.ndarray | None = None) -> bytes:
    if values is None:
        return integer(2) + integer(0) * 4
    shape = values.shape + (1,) * (4 - values.ndim)
    return integer(2) + b"".join(map(integer, shape)) + values.astype("<f4").tobytes()


def alias(*shape: int) -> bytes:
    return integer(1) + b"".join(map(integer, shape + (1,) * (4 - len(shape))))


def convolution(weight: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0) -> bytes:
    out, _, rows, columns = weight.shape
    return (
        string("con_4")
        + tensor(np.concatenate([weight.ravel(), bias]))
        + b"".join(map(integer, (out, rows, columns, stride, stride, padding, padding)))
        + alias(*weight.shape)
        + alias(1, out)
        + real(1.0) * 4
    )


def affine(scale: np.ndarray, shift: np.ndarray) -> bytes:
    return (
        string("affine_")
        + tensor(np.concatenate([scale, shift]))
        + alias(1, len(scale))
        + alias(1, len(shift))
        + integer(0)
    )


def batch_norm(
    scale: np.ndarray, shift: np.ndarray, means: np.ndarray, variances: np.ndarray, eps: float = 1e-4
) -> bytes:
    return (
        string("bn_con2")
        + tensor(np.concatenate([scale, shift]))
        + alias(1, len(scale))
        + alias(1, len(shift))
        + tensor()
        + tensor()
        + tensor(means[None])
        + tensor(variances[None])
        + integer(100)
        + integer(100)
        + real(1.0) * 4
        + real(eps)
    )


def linear(weight: np.ndarray) -> bytes:
    return (
        string("fc_2")
        + integer(weight.shape[1])
        + integer(weight.shape[0])
        + tensor(weight)
        + alias(*weight.shape)
        + alias(0, 0, 0, 0)
        + integer(1)
        + real(1.0) * 4
    )


def pool(name: str, size: int, stride: int) -> bytes:
    return string(name) + b"".join(map(integer, (size, size, stride, stride, 0, 0)))


RELU = string("relu_")
ADD_PREVIOUS = string("add_prev_")
MARK = b""  # a tag or a skip has a version and no details

PYRAMID_INPUT = string("input_rgb_image_pyramid") + real(122.5) + real(117.0) + real(104.0)
METRIC_LOSS = string("loss_metric_2") + real(0.04) + real(0.6)
DETECTION_LOSS = (
    string("loss_mmod_")
    + integer(2)
    + integer(1)  # windows
    + integer(1)
    + integer(80)
    + integer(80)
    + b"".join(map(real, (1.0, 1.0, 0.5, 0.375, 1.0, 0.5, 0.95)))
)


def sized_input(size_px: int) -> bytes:
    return string("input_rgb_image_sized") + real(122.5) + real(117.0) + real(104.0) + integer(size_px) * 2


def network(loss: bytes, input_layer: bytes, layers: list[bytes]) -> bytes:
    """A whole file: `layers` are the details in forward order."""
    versions = [1 if layer == MARK else 2 for layer in layers]
    versions[0] = 3
    body = b""
    for index, layer in enumerate(layers):
        if layer != MARK:
            body += layer + b"100" + tensor() * 3 + (integer(1) if index == 0 else b"")
    return integer(1) + loss + b"".join(map(integer, reversed(versions))) + input_layer + body


def tiny_detector(rng: np.random.Generator) -> bytes:
    """Two convolutions, 3 to 2 to 1 channels."""
    return network(
        DETECTION_LOSS,
        PYRAMID_INPUT,
        [
            convolution(rng.normal(size=(2, 3, 3, 3)), rng.normal(size=2), stride=2),
            affine(rng.normal(size=2), rng.normal(size=2)),
            RELU,
            convolution(rng.normal(size=(1, 2, 3, 3)), rng.normal(size=1), padding=1),
        ],
    )


def tiny_embedder(rng: np.random.Generator) -> bytes:
    """15 px chips to 4 numbers by a stem, one residual block, and one that halves the map and doubles the channels."""

    def block(in_channels: int, out_channels: int, stride: int) -> list[bytes]:
        layers = []
        for channels, step in ((in_channels, stride), (out_channels, 1)):
            weight = rng.normal(size=(out_channels, channels, 3, 3)) / 3
            layers += [
                convolution(weight, rng.normal(size=out_channels), stride=step, padding=int(step == 1)),
                affine(rng.normal(size=out_channels), rng.normal(size=out_channels)),
                RELU,
            ]
        return layers[:-1]

    stem = [
        convolution(rng.normal(size=(2, 3, 3, 3)), rng.normal(size=2), stride=2),
        affine(rng.normal(size=2), rng.normal(size=2)),
        RELU,
        pool("max_pool_2", 2, 1),
    ]
    plain = [MARK, *block(2, 2, 1), ADD_PREVIOUS, RELU]
    halving = [MARK, *block(2, 4, 2), MARK, MARK, pool("avg_pool_2", 2, 2), ADD_PREVIOUS, RELU]
    end = [pool("avg_pool_2", 0, 1), linear(rng.normal(size=(4, 4)))]
    return network(METRIC_LOSS, sized_input(15), [*stem, *plain, *halving, *end])
