"""Against the table of Oh et al. 2019 (arXiv 1905.09773), and what an encoder of sound must do."""

import pytest
import torch
from torch import Tensor, nn

from speech2face.models.voice_encoder import MIN_FRAMES, OUT_BINS, VoiceEncoder, in_size, out_size

pytestmark = pytest.mark.slow

# layer: channels, frequency, time for 598 frames (6 s, not padded), time for 601 (6 s, padded)
TABLE = {
    "conv1": (64, 254, 595, 598),
    "conv2": (64, 251, 592, 595),
    "conv3": (128, 248, 589, 592),
    "pool4": (128, 248, 294, 296),
    "conv4": (128, 245, 291, 293),
    "pool5": (128, 245, 145, 146),
    "conv5": (128, 242, 142, 143),
    "pool6": (128, 242, 71, 71),
    "conv6": (256, 239, 68, 68),
    "pool7": (256, 239, 34, 34),
    "conv7": (512, 236, 31, 31),
    "conv8": (512, 117, 14, 14),
    "conv9": (512, 57, 6, 6),
}

FRAMES_PER_STEP = in_size(2, pooled=True) - MIN_FRAMES  # between two neighbouring positions of conv9


@pytest.fixture(scope="module")
def full_width() -> VoiceEncoder:
    with torch.device("meta"):
        return VoiceEncoder().eval()


@pytest.fixture
def narrow() -> VoiceEncoder:
    """A small encoder in float64 with batch norms that have seen data, so that signals stay of size 1."""
    torch.manual_seed(0)
    encoder = VoiceEncoder(base_channels=2, feature_dim=5, hidden_dim=7).double()
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    encoder(spectrogram(330, batch=4, seed=9))
    return encoder.eval()


def spectrogram(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 2, 257, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestTable:
    @pytest.mark.parametrize(("frames", "column"), [(598, 2), (601, 3)])
    def test_every_shape(self, full_width: VoiceEncoder, frames: int, column: int) -> None:
        shapes = {}
        out = torch.empty(3, 2, 257, frames, device="meta")
        for name, layer in full_width.convolutions.named_children():
            out = layer(out)
            if name.startswith(("conv", "pool")):
                shapes[name] = tuple(out.shape[1:])
        assert shapes == {name: (row[0], row[1], row[column]) for name, row in TABLE.items()}
        assert full_width(torch.empty(3, 2, 257, frames, device="meta")).shape == (3, 4096)

    def test_parameters(self, full_width: VoiceEncoder) -> None:
        trainable = sum(parameter.numel() for parameter in full_width.parameters() if parameter.requires_grad)
        running = sum(
            buffer.numel()
            for name, buffer in full_width.named_buffers()
            if name.endswith(("running_mean", "running_var"))
        )
        assert trainable == 148_062_976
        assert running == 2 * (64 + 64 + 3 * 128 + 256 + 3 * 512) == 4_608
        assert trainable + running == 148_067_584

    def test_order_of_layers(self, full_width: VoiceEncoder) -> None:
        """Convolution, ReLU, batch norm; pools after the batch norms of 3 to 6; conv9 bare."""
        expected: list[type[nn.Module]] = []
        for number in range(1, 10):
            expected += [nn.MaxPool2d] if number in (4, 5, 6, 7) else []
            expected += [nn.Conv2d] + ([nn.ReLU, nn.BatchNorm2d] if number < 9 else [])
        layers = list(full_width.convolutions)
        assert [nn.Conv2d if isinstance(layer, nn.Conv2d) else type(layer) for layer in layers] == expected
        for layer in full_width.convolutions:
            if isinstance(layer, nn.Conv2d):
                assert layer.kernel_size == (4, 4) and layer.padding == (0, 0)

    def test_head_is_mean_relu_norm_fc_relu_fc(self, narrow: VoiceEncoder) -> None:
        x = spectrogram(400, batch=2)
        mean = narrow.feature_map(x).mean(dim=3)  # [B, C, 57]
        positive = mean.clamp(min=0)
        scale = narrow.norm.weight / (narrow.norm.running_var + narrow.norm.eps).sqrt()  # type: ignore[operator]
        normed = (positive - narrow.norm.running_mean[:, None]) * scale[:, None] + narrow.norm.bias[:, None]  # type: ignore[index]
        hidden = (normed.flatten(1) @ narrow.fc1.weight.T + narrow.fc1.bias).clamp(min=0)
        torch.testing.assert_close(narrow(x), hidden @ narrow.fc2.weight.T + narrow.fc2.bias)

    def test_full_table_by_hand(self, narrow: VoiceEncoder) -> None:
        """The nine layers once more from their definitions: windows by unfold, pools over pairs of frames."""
        x = out = spectrogram(300, seed=2)
        layers = dict(narrow.convolutions.named_children())
        for number in range(1, 10):
            conv = layers[f"conv{number}"]
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            if number in (4, 5, 6, 7):
                pairs = out.shape[3] // 2
                out = torch.maximum(out[..., 0 : 2 * pairs : 2], out[..., 1 : 2 * pairs : 2])
            stride = 2 if number in (8, 9) else 1
            windows = out.unfold(2, 4, stride).unfold(3, 4, stride)  # [B, C, F, T, 4, 4]
            out = torch.einsum("bcftij,ocij->boft", windows, conv.weight) + conv.bias[:, None, None]
            if number < 9:
                norm = layers[f"norm{number}"]
                assert (
                    isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
                )
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                shift = norm.bias - norm.running_mean * scale
                out = out.clamp(min=0) * scale[:, None, None] + shift[:, None, None]
        torch.testing.assert_close(narrow.feature_map(x), out)


class TestTime:
    def test_constants_follow_from_the_table(self) -> None:
        assert (MIN_FRAMES, FRAMES_PER_STEP, OUT_BINS) == (259, 64, 57)
        assert out_size(MIN_FRAMES, pooled=True) == 1
        assert out_size(MIN_FRAMES - 1, pooled=True) == 0
        for steps in range(1, 10):
            assert out_size(in_size(steps, pooled=True), pooled=True) == steps
            assert out_size(in_size(steps, pooled=True) - 1, pooled=True) == steps - 1

    @pytest.mark.parametrize(
        ("frames", "steps"), [(259, 1), (298, 1), (301, 1), (323, 2), (598, 6), (601, 6), (1001, 12)]
    )
    def test_any_length_from_the_shortest(self, narrow: VoiceEncoder, frames: int, steps: int) -> None:
        """3 s is 298 frames, or 301 padded; the mean is over all time, whatever there is of it."""
        x = spectrogram(frames)
        assert narrow.feature_map(x).shape == (1, 16, 57, steps)
        assert narrow(x).shape == (1, 5) and narrow(x).isfinite().all()

    def test_a_step_sees_its_259_frames_and_no_other(self, narrow: VoiceEncoder) -> None:
        x = spectrogram(450).requires_grad_()
        for step in range(3):
            (grad,) = torch.autograd.grad(narrow.feature_map(x)[..., step].square().sum(), x)
            seen = grad.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
            assert seen[0] >= 64 * step and seen[-1] <= 64 * step + 258
            assert len(seen) > 200

    def test_a_repeated_clip_differs_only_at_the_seam(self, narrow: VoiceEncoder) -> None:
        """P = 6 * 64 frames, twice: steps 0 to 1 lie in the first copy, 6 to 7 in the second, 2 to 5 touch both.

        Step k sees frames 64 k to 64 k + 258. Where 64 k + 258 < P it is a step of the clip alone, where 64 k >= P it
        is that of 6 steps earlier; the feature differs from the clip's only through the four that see the seam.
        """
        period = 6
        clip = spectrogram(period * FRAMES_PER_STEP)
        once, twice = narrow.feature_map(clip), narrow.feature_map(torch.cat([clip, clip], dim=3))
        inside = once.shape[3]
        assert inside == 2 and twice.shape[3] == 8
        torch.testing.assert_close(twice[..., :inside], once)
        torch.testing.assert_close(twice[..., period : period + inside], once)
        for step in range(inside, period):
            assert all((twice[..., step] - once[..., k]).abs().max() > 1e-3 for k in range(inside))
        seam = twice[..., inside:period]
        mean = (2 * inside * once.mean(dim=3) + (period - inside) * seam.mean(dim=3)) / twice.shape[3]
        torch.testing.assert_close(twice.mean(dim=3), mean)

    def test_moving_the_sound_moves_the_feature_map(self, narrow: VoiceEncoder) -> None:
        """Time is the last axis: 64 frames later is one step later. Frequency moves otherwise."""
        x = spectrogram(450)
        torch.testing.assert_close(
            narrow.feature_map(x)[..., 1:], narrow.feature_map(x[..., FRAMES_PER_STEP:])[..., : 450 // 64 - 5]
        )

    def test_frequency_is_not_pooled_and_not_averaged(self, narrow: VoiceEncoder) -> None:
        """4 bins higher is one position higher (strides 2 x 2), and the feature knows; pools would make it 64 bins."""
        bins = torch.randn(1, 2, 257 + 4, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        low, high = bins[:, :, :257], bins[:, :, 4:]
        torch.testing.assert_close(narrow.feature_map(low)[:, :, 1:], narrow.feature_map(high)[:, :, :-1])
        assert (narrow(low) - narrow(high)).abs().max() > 1e-3


class TestAxes:
    def test_real_and_imaginary_frequency_and_time_are_distinguished(self, narrow: VoiceEncoder) -> None:
        x = spectrogram(300)
        feature = narrow(x)
        for scrambled in (x.flip(1), x.flip(2), x.flip(3), x.reshape(1, 2, 300, 257).transpose(2, 3)):
            assert (narrow(scrambled) - feature).abs().max() > 1e-3

    @pytest.mark.parametrize(
        "shape", [(1, 2, 601, 257), (1, 257, 601, 2), (1, 1, 257, 601), (2, 257, 601), (1, 2, 256, 601)]
    )
    def test_another_layout_is_an_error(self, narrow: VoiceEncoder, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\[B, 2, 257, frames\].*got \[" + str(shape[0])):
            narrow(torch.zeros(shape, dtype=torch.float64))

    @pytest.mark.parametrize("frames", [0, 1, 258])
    def test_too_short_is_an_error_with_seconds_and_remedy(self, narrow: VoiceEncoder, frames: int) -> None:
        with pytest.raises(ValueError, match=rf"at least 259 frames, 2.605 s \(got {frames}, .*repeat the recording"):
            narrow(torch.zeros(1, 2, 257, frames, dtype=torch.float64))


class TestRunning:
    def test_samples_do_not_mix_in_evaluation(self, narrow: VoiceEncoder) -> None:
        x = spectrogram(300, batch=3)
        torch.testing.assert_close(narrow(x), torch.cat([narrow(x[i : i + 1]) for i in range(3)]))

    @pytest.mark.parametrize("frames", [259, 291, 300, 322, 601])  # of 291 to 322, conv9 leaves one column unread
    def test_channels_last_and_bfloat16(self, narrow: VoiceEncoder, frames: int) -> None:
        encoder, x = narrow.float(), spectrogram(frames, batch=2).float()
        expected = encoder(x)
        encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.to(memory_format=torch.channels_last)
        torch.testing.assert_close(encoder(x), expected, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = encoder(x)
        assert (out.float() - expected).norm() / expected.norm() < 0.05

    def test_every_parameter_gets_a_gradient(self) -> None:
        torch.manual_seed(0)
        encoder = VoiceEncoder(base_channels=2, feature_dim=5, hidden_dim=32)
        encoder(spectrogram(300, batch=4).float()).square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name

    @pytest.mark.parametrize("name", ["base_channels", "feature_dim", "hidden_dim"])
    def test_a_width_below_one_is_an_error(self, name: str) -> None:
        with pytest.raises(ValueError, match=rf"{name} must be at least 1 \(got 0\)"):
            VoiceEncoder(**{name: 0})

    @pytest.mark.slow
    @pytest.mark.slow
    def test_full_width_forward(self) -> None:
        torch.manual_seed(0)
        encoder = VoiceEncoder().eval()
        with torch.inference_mode():
            feature = encoder(spectrogram(601).float())
        assert feature.shape == (1, 4096) and feature.isfinite().all() and feature.std() > 0
