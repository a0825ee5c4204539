"""Against the description of Cole et al. 2017 (arXiv 1701.04851), and what a decoder of faces must do."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech2face.models.face_decoder import DecodedFace, FaceDecoder, ResizeConv2d
from speech2face.models.losses import DecoderLossWeights, decoder_loss


def mean_shape() -> Tensor:
    """68 distinct points (x, y) over the middle of the crop, not symmetric in x and y."""
    columns, rows = torch.meshgrid(torch.linspace(60, 160, 10), torch.linspace(80, 190, 7), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)[:68]


def blob(x: float, y: float, size_px: float = 6.0) -> Tensor:
    """A bright spot at (x, y), [3, 224, 224]."""
    axis = torch.arange(224.0)
    squared_distance = (axis - x).square()[None, :] + (axis - y).square()[:, None]
    return (-squared_distance / (2 * size_px**2)).exp().expand(3, -1, -1)


def centre(image: Tensor) -> tuple[float, float]:
    """(x, y) of the centre of brightness of [3, 224, 224]."""
    weight, axis = image.sum(0) / image.sum(), torch.arange(224.0)
    return (weight.sum(0) @ axis).item(), (weight.sum(1) @ axis).item()


@pytest.fixture(params=["cnn", "linear", "resize"])
def decoder(request: pytest.FixtureRequest) -> FaceDecoder:
    torch.manual_seed(0)
    decoder = FaceDecoder(16, request.param, first_dim=40, landmark_hidden_dim=32, texture_channels=32)
    decoder.set_means(mean_shape(), blob(110, 130))
    return decoder


class TestNetworks:
    @pytest.mark.parametrize("texture", ["cnn", "linear", "resize"])
    def test_shapes_and_parameters_at_the_papers_widths(self, texture: str) -> None:
        with torch.device("meta"):
            decoder = FaceDecoder(4096, texture)
        count = {"cnn": 0, "linear": (1000 + 1) * 224 * 224 * 3}
        for name, kernel_size in (("cnn", 5), ("resize", 3)):
            count[name] = (1000 + 1) * 14 * 14 * 256 + (16 + 1) * 3
            for inputs, outputs in ((256, 128), (128, 64), (64, 32), (32, 16)):
                count[name] += inputs * outputs * kernel_size**2 + outputs
        assert sum(parameter.numel() for parameter in decoder.texture_network.parameters()) == count[texture]
        assert decoder.f_dec.weight.shape == (1000, 4096)
        assert sum(parameter.numel() for parameter in decoder.f_dec.parameters()) == 4097 * 1000
        assert decoder.texture_network(torch.empty(2, 1000, device="meta")).shape == (2, 3, 224, 224)
        assert decoder.landmark_network(torch.empty(2, 1000, device="meta")).shape == (2, 136)

    @pytest.mark.parametrize("texture", ["cnn", "resize"])
    def test_sizes_double_from_14_to_224(self, texture: str) -> None:
        with torch.device("meta"):
            network = FaceDecoder(128, texture).texture_network
        out, shapes = torch.empty(1, 1000, device="meta"), []
        for name, layer in network.named_children():
            out = layer(out)
            if name.startswith(("unflatten", "up", "to_rgb")):
                shapes.append(tuple(out.shape[1:]))
        assert shapes == [(256, 14, 14), (128, 28, 28), (64, 56, 56), (32, 112, 112), (16, 224, 224), (3, 224, 224)]

    def test_linear_texture_is_a_linear_map_of_the_first_layer(self) -> None:
        torch.manual_seed(0)
        network = FaceDecoder(16, "linear", first_dim=40).texture_network
        a, b = torch.randn(1, 40), torch.randn(1, 40)
        torch.testing.assert_close(network(a) + network(b) - network(a + b), network(torch.zeros(1, 40)))

    def test_first_layer_is_linear_and_feeds_both_networks(self, decoder: FaceDecoder) -> None:
        x = torch.randn(2, 16)
        torch.testing.assert_close(decoder.f_dec(-x) - decoder.f_dec.bias, -(decoder.f_dec(x) - decoder.f_dec.bias))
        with torch.no_grad():
            decoder.f_dec.weight.zero_()
        faces = decoder(x)
        torch.testing.assert_close(faces.texture[0], faces.texture[1])
        torch.testing.assert_close(faces.landmarks[0], faces.landmarks[1])


def from_features(texture: str, features: Tensor) -> Tensor:
    """The middle [B, 3, 160, 160] of a new texture network's pictures of features [B, 32, 14, 14]: no kernel there reaches the border."""
    torch.manual_seed(1)
    network = FaceDecoder(16, texture, first_dim=40, texture_channels=32).texture_network
    with torch.no_grad():
        for name, layer in network.named_children():
            features = features if name in ("fc", "unflatten") else layer(features)
    return features[:, :, 32:192, 32:192]


class TestGrid:
    """Steps that double the size four times can leave a grid of 2, 4, 8 and 16 px (Odena et al. 2016)."""

    PERIODS_PX = (2, 4, 8, 16)

    def test_a_resize_convolution_enlarges_and_then_convolves(self) -> None:
        torch.manual_seed(0)
        layer, x = ResizeConv2d(5, 7), torch.randn(2, 5, 6, 9)
        expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, layer.bias, padding=1)
        torch.testing.assert_close(layer(x), expected)

    def test_weights_keep_the_size_of_signals_before_a_relu(self) -> None:
        """He et al. 2015, equation 10: a standard deviation of sqrt(2 / taps), within 4 standard errors."""
        torch.manual_seed(0)
        layers = [m for m in FaceDecoder(16, "resize", first_dim=4).modules() if isinstance(m, ResizeConv2d)]
        for layer in layers:
            count, taps = layer.weight.numel(), layer.in_channels * 9
            assert layer.weight.std().item() == pytest.approx((2 / taps) ** 0.5, rel=4 / (2 * count) ** 0.5)
        assert len(layers) == 4

    def test_flat_features_make_a_flat_picture(self) -> None:
        """What does the same at every pixel keeps flat what is flat; transposed convolutions repeat a pattern of 16 px."""
        flat = torch.rand(1, 32, 1, 1, generator=torch.Generator().manual_seed(0)).expand(1, 32, 14, 14)
        picture = from_features("resize", flat)
        torch.testing.assert_close(picture, picture[:, :, :1, :1].expand_as(picture))
        picture = from_features("cnn", flat)
        torch.testing.assert_close(picture[..., 16:], picture[..., :-16])
        for period in (1, 2, 4, 8):
            assert not torch.allclose(picture[..., period:], picture[..., :-period])

    def test_random_features_make_no_peak_at_the_grids_frequencies(self) -> None:
        """A peak: more power than the grid's two neighbouring frequencies have together."""
        noise = torch.randn(8, 32, 14, 14, generator=torch.Generator().manual_seed(0))
        for texture, has_peaks in (("cnn", True), ("resize", False)):
            power = torch.fft.fft(from_features(texture, noise), dim=-1).abs().square().mean((0, 1, 2))
            for k in (160 // period for period in self.PERIODS_PX):
                assert (power[k] > power[k - 1] + power[k + 1]) == has_peaks, (texture, k)


class TestOutput:
    def test_shapes(self, decoder: FaceDecoder) -> None:
        faces = decoder(torch.randn(3, 16))
        assert isinstance(faces, DecodedFace)
        assert faces.texture.shape == faces.image.shape == (3, 3, 224, 224)
        assert faces.landmarks.shape == (3, 68, 2) and faces.landmarks.dtype == torch.float32

    def test_of_the_first_faces_alone_pictures_are_drawn(self, decoder: FaceDecoder) -> None:
        features = torch.randn(3, 16)
        every, first = decoder(features), decoder(features, num_drawn=2)
        assert torch.equal(first.texture, every.texture) and torch.equal(first.landmarks, every.landmarks)
        torch.testing.assert_close(first.image, every.image[:2])

    def test_starts_near_the_mean_face(self, decoder: FaceDecoder) -> None:
        faces = decoder(torch.randn(4, 16))
        assert 0 < (faces.landmarks - mean_shape()).abs().mean() < 3  # px
        assert 0 < (faces.texture - blob(110, 130)).abs().mean() < 0.2

    def test_without_a_mean_texture_it_is_the_networks_own(self, decoder: FaceDecoder) -> None:
        decoder.set_means(mean_shape())
        x = torch.randn(2, 16)
        torch.testing.assert_close(decoder(x).texture, decoder.texture_network(decoder.f_dec(x).relu()))

    def test_landmarks_are_x_then_y_and_carry_the_picture_with_them(self, decoder: FaceDecoder) -> None:
        """All landmarks 6 px to the right, 3 px up: so goes what lies amid them."""
        with torch.no_grad():
            for last in (decoder.landmark_network[-1], decoder.texture_network.get_submodule("to_rgb")):
                last.weight.zero_()
            decoder.landmark_network[-1].bias.copy_(torch.tensor([0.6, -0.3]).repeat(68))
        faces = decoder(torch.randn(1, 16))
        torch.testing.assert_close(faces.landmarks[0], mean_shape() + torch.tensor([6.0, -3.0]))
        assert centre(faces.texture[0]) == pytest.approx((110, 130), abs=0.1)
        assert centre(faces.image[0]) == pytest.approx((116, 127), abs=0.5)

    def test_bfloat16_autocast(self, decoder: FaceDecoder) -> None:
        x = torch.randn(2, 16)
        expected = decoder(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            faces = decoder(x)
        assert {tensor.dtype for tensor in faces} == {torch.float32}
        assert (faces.landmarks - expected.landmarks).abs().max() < 0.5
        assert (faces.image - expected.image).abs().mean() < 0.01


class Embedder(nn.Module):
    """A small fixed random network from pictures to unit-size features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=4), nn.Tanh(), nn.Conv2d(8, 16, 5, stride=4), nn.Tanh(), nn.AdaptiveAvgPool2d(4)
        )
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image).flatten(1)


@pytest.mark.slow
class TestTraining:
    def test_embedding_term_alone_reaches_landmarks_and_texture(self, decoder: FaceDecoder) -> None:
        """Through the warp: with no landmark and no texture term, the landmark network still learns."""
        faces = decoder(torch.randn(2, 16))
        terms = decoder_loss(
            faces, faces.texture.detach(), faces.landmarks.detach(), torch.randn(2, 256), embed=Embedder()
        )
        terms.embedding.backward()
        for network in (decoder.landmark_network, decoder.texture_network, decoder.f_dec):
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None and parameter.grad.abs().max() > 0, name

    def test_embedding_gradient_at_a_landmark_is_the_finite_difference(self, decoder: FaceDecoder) -> None:
        decoder, embed = decoder.double(), Embedder().double()
        x = torch.randn(1, 16, dtype=torch.float64)
        bias = decoder.landmark_network[-1].bias

        def loss() -> Tensor:
            return embed(decoder(x).image).square().sum()

        (grad,) = torch.autograd.grad(loss(), bias)
        index = int(grad.abs().argmax())
        with torch.no_grad():
            bias[index] += 1e-6
            above = loss()
            bias[index] -= 2e-6
            below = loss()
        assert ((above - below) / 2e-6).item() == pytest.approx(grad[index].item(), rel=1e-3)

    def test_a_short_training_tells_two_faces_apart(self, decoder: FaceDecoder) -> None:
        features = torch.randn(2, 16)
        offsets = torch.tensor([[[4.0, 2.0]], [[-3.0, 5.0]]])
        textures = torch.stack([blob(100, 120, 20), blob(125, 150, 20)])
        decoder.set_means(mean_shape() + offsets.mean(0), textures.mean(0))
        landmarks = mean_shape() + offsets
        embed = Embedder()
        optimiser = torch.optim.Adam(decoder.parameters(), lr=2e-3)
        losses = []
        for _ in range(25):
            terms = decoder_loss(
                decoder(features), textures, landmarks, embed(textures), embed=embed, weights=DecoderLossWeights()
            )
            optimiser.zero_grad()
            terms.total.backward()
            optimiser.step()
            losses.append(terms)
        assert losses[-1].texture < 0.6 * losses[0].texture
        assert losses[-1].landmarks < 0.1 * losses[0].landmarks


class TestErrors:
    def test_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match=r"texture must be one of \('cnn', 'linear', 'resize'\) \(got 'gan'\)"):
            FaceDecoder(16, "gan")
        with pytest.raises(ValueError, match=r"feature_dim must be at least 1 \(got 0\)"):
            FaceDecoder(0)

    def test_bad_features(self, decoder: FaceDecoder) -> None:
        for shape in ((2, 15), (16,), (2, 16, 1)):
            with pytest.raises(ValueError, match=r"features must be \[B, 16\]"):
                decoder(torch.zeros(shape))

    def test_no_mean_shape(self) -> None:
        with pytest.raises(ValueError, match="no mean shape yet: call set_means"):
            FaceDecoder(16, "linear", first_dim=4)(torch.zeros(1, 16))

    def test_bad_means(self, decoder: FaceDecoder) -> None:
        with pytest.raises(ValueError, match=r"mean_landmarks must be finite, \[68, 2\] \(got \[2, 68\]\)"):
            decoder.set_means(mean_shape().T)
        with pytest.raises(ValueError, match=r"mean_texture must be finite, \[3, 224, 224\]"):
            decoder.set_means(mean_shape(), torch.full((3, 224, 224), torch.nan))
