"""Losses of the voice encoder (Oh et al. 2019, arXiv 1905.09773, section 3) and the face decoder (Cole et al. 2017).

Norms are per sample, sums run over features, means over the batch. Everything is computed in float32 or better, outside
autocast. Networks that a loss goes through (f_dec, the face classifier, the face embedder) are given as frozen
callables: their parameters take no gradient, their inputs do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech2face.models.face_decoder import DecodedFace

MIN_NORM = 1e-6
"""Vectors shorter than this have no direction: their unit vector and its gradient are zero."""

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EncoderLossWeights:
    """Weights of the encoder's loss, by default the paper's; `contrastive` is not in the paper and off."""

    dec: float = 1.0
    unit: float = 0.025
    distill: float = 200.0
    contrastive: float = 0.0


@dataclass(frozen=True)
class DecoderLossWeights:
    """Weights of the decoder's loss. The paper's are not known; these make the terms of like size early in training."""

    texture: float = 1.0
    landmarks: float = 0.01
    embedding: float = 0.1


class EncoderLoss(NamedTuple):
    """Terms of the encoder's loss before their weights, and their weighted sum; scalars."""

    total: Tensor
    dec: Tensor
    unit: Tensor
    distill: Tensor
    contrastive: Tensor


class DecoderLoss(NamedTuple):
    """Terms of the decoder's loss before their weights, and their weighted sum; scalars."""

    total: Tensor
    texture: Tensor
    landmarks: Tensor
    embedding: Tensor


def encoder_loss(
    predicted: Tensor,
    target: Tensor,
    *,
    f_dec: Network,
    face_logits: Network,
    weights: EncoderLossWeights = EncoderLossWeights(),
    temperature: float = 2.0,
    contrastive_temperature: float = 0.07,
    identities: Tensor | None = None,
    centre: Tensor | None = None,
) -> EncoderLoss:
    """Oh et al. 2019, section 3: how far a voice's feature is from the face's.

    |f_dec(v_f) - f_dec(v_s)|_1 + l1 |v_f / |v_f| - v_s / |v_s||_2^2 + l2 L_distill(face_logits(v_f), face_logits(v_s)),
    averaged over the batch. Except for the contrastive term, which compares each sample with the rest of its batch, the
    loss of a batch is the mean of its samples' losses, however the batch is split.

    Shape:
        predicted: [B, D], v_s, from the voice
        target: [B, D], v_f, from the face; takes no gradient
        identities: int [B], the speaker of each sample, for the contrastive term
        centre: [D], the mean face, from which the contrastive term, and no other, measures both sides; None for zero

    Args:
        f_dec: the decoder's first layer, [B, D] to [B, 1000], linear output.
        face_logits: the face network's last layer, [B, D] to [B, C], before the softmax.
        temperature: of the distillation, on both sides.
        contrastive_temperature: of the contrastive term, used if its weight is not zero. The term tells samples apart by
            their cosines, so it needs `centre` where features differ far less from each other than from zero, as faces'
            do: without it all cosines are near 1. And it needs a batch of some 64 or more, to have many to tell apart.

    Raises:
        ValueError: for shapes that differ, a temperature that is not positive, networks with trainable parameters, and
            networks that cut the gradient.
    """
    _check_same_shape("target", target, "predicted", predicted, ndim=2)
    _check_frozen("f_dec", f_dec)
    _check_frozen("face_logits", face_logits)
    with torch.autocast(predicted.device.type, enabled=False):
        predicted, target = _at_least_float32(predicted), _at_least_float32(target.detach())
        dec = l1_distance(_through("f_dec", f_dec, predicted), f_dec(target))
        unit = unit_distance(predicted, target)
        distill = distillation(face_logits(target), _through("face_logits", face_logits, predicted), temperature)
        contrastive = predicted.new_zeros(())
        if weights.contrastive:
            middle = predicted.new_zeros(()) if centre is None else _centre(centre, predicted)
            contrastive = info_nce(predicted - middle, target - middle, contrastive_temperature, identities)
        total = weights.dec * dec + weights.unit * unit + weights.distill * distill + weights.contrastive * contrastive
    return EncoderLoss(total, dec, unit, distill, contrastive)


def decoder_loss(
    decoded: DecodedFace,
    texture: Tensor,
    landmarks: Tensor,
    feature: Tensor,
    *,
    embed: Network,
    mask: Tensor | None = None,
    weights: DecoderLossWeights = DecoderLossWeights(),
) -> DecoderLoss:
    """Cole et al. 2017, section 3: texture mean absolute error, landmark mean squared error, and the negative cosine
    between the embedding of the warped picture and the true feature, over the faces that have been drawn. The gradient of
    the last reaches both networks.

    Shape:
        texture: [B, 3, 224, 224] RGB in 0..1, in the mean shape
        landmarks: [B, 68, 2] as (x, y) pixels; the error is in px^2
        feature: [B, D], what `embed` gives for the true picture
        mask: bool [B, 224, 224], the pixels whose texture is known, over which its error is a mean; None for all

    Args:
        embed: the face network, [B, 3, 224, 224] in 0..1 to [B, D]; used if the weight of its term is not zero.

    Raises:
        ValueError: for shapes that differ, an embedder with trainable parameters, or one that cuts the gradient.
    """
    _check_same_shape("texture", texture, "decoded.texture", decoded.texture, ndim=4)
    _check_same_shape("landmarks", landmarks, "decoded.landmarks", decoded.landmarks, ndim=3)
    _check_frozen("embed", embed)
    with torch.autocast(decoded.image.device.type, enabled=False):
        texture_errors = (_at_least_float32(decoded.texture) - texture).abs().mean(1)
        if mask is None:
            mask = torch.ones_like(texture_errors, dtype=torch.bool)
        _check_same_shape("mask", mask, "decoded.texture, but for colour,", texture_errors, ndim=3)
        num_known = mask.sum((1, 2)).clamp(min=1)  # a texture of which nothing is known has no error
        texture_error = ((texture_errors * mask).sum((1, 2)) / num_known).mean()
        landmark_error = (_at_least_float32(decoded.landmarks) - landmarks).square().mean()
        embedding_error = landmark_error.new_zeros(())
        if weights.embedding:
            embedding = _at_least_float32(_through("embed", embed, _at_least_float32(decoded.image)))
            drawn = feature.detach()[: len(decoded.image)]
            _check_same_shape("feature", drawn, "embed(decoded.image)", embedding, ndim=2)
            cosine = (unit_vector(embedding) * unit_vector(_at_least_float32(drawn))).sum(1)
            embedding_error = -cosine.mean()
        total = (
            weights.texture * texture_error + weights.landmarks * landmark_error + weights.embedding * embedding_error
        )
    return DecoderLoss(total, texture_error, landmark_error, embedding_error)


def unit_vector(vector: Tensor) -> Tensor:
    """v / |v| along the last axis, per sample; zero, with zero gradient, where |v| is at most 1e-6. NaN stays NaN."""
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    has_direction = ~(norm <= MIN_NORM)
    # the inner where keeps 0 / 0 out of the backward pass
    return torch.where(has_direction, vector / torch.where(has_direction, norm, 1.0), 0.0)


def l1_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|_1, summed over features, mean over the batch: [B, K], [B, K] to a scalar (Oh et al. 2019, equation 1, between the
    outputs of the decoder's first layer)."""
    return (a - b).abs().sum(dim=1).mean()


def unit_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a / |a| - b / |b||_2^2 = 2 - 2 cos(a, b), mean over the batch: [B, D], [B, D] to a scalar in 0..4 (Oh et al. 2019,
    equation 1, second term)."""
    return (unit_vector(a) - unit_vector(b)).square().sum(dim=1).mean()


def distillation(target_logits: Tensor, predicted_logits: Tensor, temperature: float = 2.0) -> Tensor:
    """-sum_i p_i(a) log p_i(b), p = softmax(. / T), mean over the batch (Hinton et al. 2015; Oh et al. 2019).

    a are the face's logits, b the voice's, [B, C]. Least where p(b) = p(a), where it is the entropy of p(a).
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be greater than 0 (got {temperature})")
    p = F.softmax(target_logits / temperature, dim=1)
    return -(p * F.log_softmax(predicted_logits / temperature, dim=1)).sum(dim=1).mean()


def info_nce(predicted: Tensor, target: Tensor, temperature: float = 0.07, identities: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; Radford et al. 2021) of voices and faces, [B, D] each.

    The cross-entropy, over cosines / temperature, of finding one's own face among the batch's faces, and one's own
    voice among its voices, averaged. Others of the same identity (int [B]) count neither for nor against. Vectors whose
    mean is far from zero have cosines near 1 and must be centred first.
    """
    if not temperature > 0:
        raise ValueError(f"contrastive temperature must be greater than 0 (got {temperature})")
    similarity = unit_vector(predicted) @ unit_vector(target).mT / temperature
    own = torch.arange(len(predicted), device=predicted.device)
    if identities is not None:
        same = identities[:, None] == identities[None]
        same[own, own] = False
        similarity = similarity.masked_fill(same, float("-inf"))
    return 0.5 * (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.mT, own))


def _centre(centre: Tensor, predicted: Tensor) -> Tensor:
    if centre.shape != predicted.shape[1:]:
        raise ValueError(
            f"centre must have the shape of one feature, {list(predicted.shape[1:])} (got {list(centre.shape)})"
        )
    return _at_least_float32(centre.detach())


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _through(name: str, network: Network, tensor: Tensor) -> Tensor:
    """network(tensor), which must carry a gradient if `tensor` does."""
    out = network(tensor)
    if torch.is_grad_enabled() and tensor.requires_grad and not out.requires_grad:
        raise ValueError(
            f"{name} cuts the gradient: freeze its parameters with requires_grad_(False), not torch.no_grad()"
        )
    return out


def _check_frozen(name: str, network: Network) -> None:
    module = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
    if isinstance(module, nn.Module) and any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(f"{name} has trainable parameters: freeze it with requires_grad_(False)")


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor, ndim: int) -> None:
    """Equal shapes: broadcasting would average over pairs that do not belong together."""
    if tensor.shape != other.shape or tensor.ndim != ndim:
        raise ValueError(
            f"{name} must have the shape of {other_name}, {ndim} axes "
            f"(got {list(tensor.shape)} and {list(other.shape)})"
        )
