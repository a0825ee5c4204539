"""Batches that a GPU's memory does not hold: a few of their rows are worked on at a time, a micro-batch, and the step is that of the batch.

Accumulating the gradients of micro-batches alone would be another step, because batch normalisation and some losses look at all rows. So
of each row only what goes into a stretch of layers is kept, in the processor's memory; what is in between is computed again when the
gradient is taken (Chen et al. 2016, "Training deep nets with sublinear memory cost"), a micro-batch at a time, and the statistics of
batch normalisation are those of all micro-batches of all ranks. `S2F_MICRO_BATCH` says how many rows; without it nothing here is done.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from speech2face.pipeline.machine import micro_batch
from speech2face.training import ranks


def parts(rows: int) -> list[slice]:
    """The micro-batches of a batch, one after another; of `rows` rows, at least 1."""
    size = micro_batch() or rows
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def recomputed(function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
    """`function(*inputs)`, of which nothing is kept but the inputs; it is computed again when the gradient is taken, and must draw nothing
    at random. At least one input must require a gradient."""
    # Reentrant, so that no other micro-batch comes in between, whose values would be in memory at the same time.
    return checkpoint(function, *inputs, use_reentrant=True, preserve_rng_state=False)


def over_micro_batches(layers: nn.Sequential) -> None:
    """Make layers work on a micro-batch at a time; their weights stay where they are, and nothing changes for smaller batches."""
    layers.__class__ = MicroBatched


class MicroBatched(nn.Sequential):
    """Layers, of which batch normalisation alone looks at more than a row, and none draws anything at random."""

    def forward(self, input: Tensor) -> Tensor:
        rows = [input[part] for part in parts(len(input))]
        if len(rows) == 1:
            return super().forward(input)
        if not self.training:
            return torch.cat([super(MicroBatched, self).forward(part) for part in rows])
        rows = [part if part.requires_grad else part.detach().requires_grad_() for part in rows]
        scaling: tuple[Tensor, Tensor] | None = None
        for layers, norm in self._stretches():
            stretch = _Stretch(layers, input.device)
            outputs, variances, means = zip(
                *(recomputed(stretch, part, *(scaling or ())) for part in rows), strict=True
            )
            rows, scaling = list(outputs), None
            if norm is not None:
                sizes = [part[:, 0].numel() for part in rows]
                scaling = ranks.scale_and_shift(norm, *_of_all(variances, means, sizes), sum(sizes))
        whole = torch.cat([part.to(input.device) for part in rows])
        return ranks.scaled(whole, *scaling) if scaling else whole

    def _stretches(self) -> Iterator[tuple[list[nn.Module], _BatchNorm | None]]:
        """The layers up to each batch normalisation, with it; at last those after the last, if there are any."""
        layers: list[nn.Module] = []
        for layer in self:
            if isinstance(layer, _BatchNorm):
                yield layers, layer
                layers = []
            else:
                layers.append(layer)
        if layers:
            yield layers, None


class _Stretch:
    """Some layers of a network on a device, after the batch normalisation before them."""

    def __init__(self, layers: list[nn.Module], device: torch.device) -> None:
        self.layers, self.device = layers, device

    def __call__(self, kept: Tensor, *scaling: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What comes out, on the processor, and each channel's variance and mean."""
        values = kept.to(self.device, non_blocking=True)
        if scaling:
            values = ranks.scaled(values, *scaling)
        for layer in self.layers:
            values = layer(values)
        exact = values.to(torch.promote_types(values.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, [0, *range(2, values.ndim)], correction=0)
        return values.to("cpu", non_blocking=True), variance, mean


def _of_all(variances: Sequence[Tensor], means: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Variance and mean [C] of all values of each channel, from those of parts with so many values."""
    shares = [size / sum(sizes) for size in sizes]
    mean = torch.stack([share * of_part for share, of_part in zip(shares, means, strict=True)]).sum(0)
    parts = zip(shares, variances, means, strict=True)
    return torch.stack([share * (own + (of_part - mean).square()) for share, own, of_part in parts]).sum(0), mean
