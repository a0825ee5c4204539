"""Several processes that train one network, each on its rows of every batch: what they do together.

Each of them, a rank, has the whole network, draws what is random for the whole batch, and looks at its own rows. What a batch's rows
have in common is computed over all ranks: the statistics of batch normalisation, the loss, and the gradients' mean. So every rank takes
the step that one process takes on the whole batch, but for the order in which numbers are added up. Where there is one process, the
functions here give back what they get.

Gradients go through `summed` as they go through a sum: each rank's loss is a function of what all ranks compute, and what is followed
downhill is the mean of the ranks' losses, which are all the same.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

T = TypeVar("T")
Rows = TypeVar("Rows")


def count() -> int:
    """Number of ranks, at least 1."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the rank that writes files and shows progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def check_batch(batch_size: int) -> None:
    """Raise ValueError unless a batch gives each rank as many rows as the others."""
    if batch_size % count():
        raise ValueError(
            f"a batch of {batch_size} cannot be divided evenly among {count()} processes; set S2F_PROCESSES to a number that divides it, "
            "or change batch_size"
        )


def mine(rows: Rows) -> Rows:
    """This rank's rows of a batch, a tensor, an array or a list: every n-th of n ranks, so that the first rows of the batch are the first
    rows of some ranks."""
    return rows[dist.get_rank() :: count()] if count() > 1 else rows  # type: ignore[index]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0])


def summed(tensor: Tensor) -> Tensor:
    """The sum over the ranks' tensors, which have one shape."""
    return _Sum.apply(tensor) if count() > 1 else tensor


def gathered(own: Tensor, dim: int = 0) -> Tensor:
    """The rows of the whole batch along `dim`, of which each rank has its own: the inverse of `mine`."""
    if count() == 1:
        return own
    # A sum with zeros, which is exact, so that there is one thing through which gradients go.
    places = [own if rank == dist.get_rank() else torch.zeros_like(own) for rank in range(count())]
    return summed(torch.stack(places, dim + 1)).flatten(dim, dim + 1)


def averaged(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over the ranks of each term of a loss, scalars."""
    if count() == 1:
        return terms
    return dict(zip(terms, summed(torch.stack(list(terms.values()))).div(count()).unbind(), strict=True))


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Put the mean over the ranks in place of each parameter's gradient, all at once."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def from_first(compute: Callable[[], T]) -> T:
    """What the first rank computes, while the others wait."""
    if count() == 1:
        return compute()
    found = [compute() if is_first() else None]
    dist.broadcast_object_list(found, device=torch.device("cpu"))
    return found[0]  # type: ignore[return-value]


def agreed(number: int) -> int:
    """The greatest of the ranks' numbers; all ranks wait for each other here."""
    if count() == 1:
        return number
    greatest = torch.tensor(number)
    dist.all_reduce(greatest, op=dist.ReduceOp.MAX)
    return int(greatest)


def scale_and_shift(
    norm: nn.modules.batchnorm._BatchNorm, variance: Tensor, mean: Tensor, count_of_own: int
) -> tuple[Tensor, Tensor]:
    """What batch normalisation multiplies each channel by and then adds to it, [C] each, in a training step; the running statistics take
    the step.

    variance, mean: of this rank's `count_of_own` values of each channel, [C] each; all ranks have as many.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    variances, means = gathered(torch.stack([variance, mean])[None]).unbind(1)
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    with torch.no_grad():
        size = count_of_own * count()
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance * (size / (size - 1))).to(norm.running_var.dtype), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale


def scaled(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """[B, C, ...] with each channel multiplied by its scale and moved by its shift, [C] each; of the values' type."""
    # One product and one sum, for which no more is kept until the gradient is taken than the values.
    channels = [1, -1, *[1] * (values.ndim - 2)]
    return torch.addcmul(shift.view(channels), values.to(scale.dtype), scale.view(channels)).to(values.dtype)


class WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose mean and variance are those of all ranks' rows. (PyTorch's SyncBatchNorm is for GPUs alone.)"""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        values = input.to(self.weight.dtype)  # under autocast more exact than its inputs
        own = torch.var_mean(values, [0, *range(2, input.ndim)], correction=0)
        return scaled(input, *scale_and_shift(self, *own, input.numel() // input.shape[1]))


class WholeBatchDropout(nn.Dropout):
    """Dropout that draws for the rows of all ranks what it takes of this one's."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p:
            return input
        whole = input.new_ones(len(input) * count(), *input.shape[1:])
        return input * mine(F.dropout(whole, self.p))


def over_the_whole_batch(network: nn.Module) -> None:
    """Make the layers that look at a batch, or draw for it, do so for all ranks' rows; their weights stay where they are."""
    if count() == 1:
        return
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = WholeBatchNorm
        elif isinstance(module, nn.Dropout):
            module.__class__ = WholeBatchDropout
