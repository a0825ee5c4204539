"""Micro-batches on a GPU: the step of the whole batch, in less of the GPU's memory. Skipped where there is no GPU."""

import pytest
import torch

from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.training.micro_batches import over_micro_batches

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is false: no GPU here"),
]
GPU = torch.device("cuda")


def a_step(width: int, rows: torch.Tensor) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients and running statistics after a step of the encoder, and the most memory that the step took at once, in bytes."""
    torch.manual_seed(0)
    network = VoiceEncoder(width, 8, 16).to(GPU, rows.dtype, memory_format=torch.channels_last)
    over_micro_batches(network.convolutions)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    network(rows).square().sum().backward()
    peak = torch.cuda.max_memory_allocated() - before
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return gradients | dict(network.named_buffers()), peak


@pytest.mark.parametrize("size", [1, 3])
def test_the_step_is_that_of_the_whole_batch(size: int, monkeypatch: pytest.MonkeyPatch):
    rows = torch.randn(8, 2, 257, 261, dtype=torch.float64, device=GPU)
    expected, _ = a_step(2, rows)
    monkeypatch.setenv("S2F_MICRO_BATCH", str(size))
    torch.testing.assert_close(a_step(2, rows)[0], expected, rtol=1e-8, atol=1e-10)


def test_the_gpu_holds_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch):
    rows = torch.randn(32, 2, 257, 601, device=GPU)
    whole = a_step(16, rows)[1]
    monkeypatch.setenv("S2F_MICRO_BATCH", "2")
    assert a_step(16, rows)[1] < whole / 8
