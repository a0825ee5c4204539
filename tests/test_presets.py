"""Every preset is a complete and valid parameter file for the corpus in its name, and its networks can be built and trained."""

from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import LinearHead
from speech2face.models.losses import DecoderLossWeights, EncoderLossWeights, decoder_loss, encoder_loss
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline.params import Params, load_params

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
CORPORA = ("voxceleb1", "voxceleb2", "videos")
FEATURE_DIM = {"dlib_resnet": 128, "vgg_face": 4096, "arcface": 512}
REDUCED = 8  # times narrower


def preset(name: str) -> Params:
    (path,) = (path for path in PRESETS if path.stem == name)
    return load_params(path)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_valid_and_as_complete_as_the_repositorys_own(path: Path):
    own = load_params(ROOT / "params.yaml").model_dump()
    assert YAML(typ="safe").load(path).keys() == own.keys() == load_params(path).model_dump().keys()


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_a_preset(name: str):
    params = preset(name)
    assert params.corpus.source == name and params.corpus.root == f"/data/{name}"


@pytest.mark.parametrize("name", ["paper", "voxceleb1", "voxceleb2"])
def test_the_encoder_has_its_published_size(name: str):
    encoder = preset(name).encoder
    assert (encoder.base_channels, encoder.hidden_dim, encoder.batch_size, encoder.epochs) == (64, 4096, 8, 3)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("paper", "published"),
        ("videos", "speaker_embedding"),
        ("voxceleb1", "speaker_embedding"),
        ("voxceleb2", "published"),
    ],
)
def test_the_network_is_that_of_the_documentation(name: str, network: str):
    assert preset(name).encoder.network == network


def test_the_papers_preset_holds_the_published_setting_in_full():
    params = preset("paper")
    encoder, weights = params.encoder, params.encoder.weights
    assert encoder.lr_schedule == "steps"
    assert (params.lr, encoder.beta1, encoder.eps, encoder.lr_decay, encoder.lr_decay_steps) == (
        1e-3,
        0.5,
        1e-4,
        0.95,
        10_000,
    )
    assert (weights.unit, weights.distill, weights.temperature) == (0.025, 200, 2)
    assert (weights.contrastive, weights.teacher, encoder.smooth_start) == (0, 0, False)
    assert (params.audio.segment_s, encoder.crop_frames, params.features.backend) == (6.0, None, "vgg_face")
    with torch.device("meta"):
        network = VoiceEncoder(encoder.base_channels, FEATURE_DIM["vgg_face"], encoder.hidden_dim)
    assert sum(p.numel() for p in network.parameters()) == 148_062_976


def moved(network: torch.nn.Module, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Whether one step changes every parameter that has a gradient, and leaves all of them finite."""
    before = [p.detach().clone() for p in network.parameters()]
    loss.backward()
    optimizer.step()
    pairs = list(zip(before, network.parameters(), strict=True))
    return all(torch.isfinite(p).all() for p in network.parameters()) and sum(
        not torch.equal(a, b) for a, b in pairs
    ) > 0.9 * len(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_one_training_step_of_each_network_at_reduced_width(path: Path):
    torch.manual_seed(0)
    params = load_params(path)
    feature_dim = FEATURE_DIM[params.features.backend] // REDUCED
    encoder = VoiceEncoder(params.encoder.base_channels // REDUCED, feature_dim, params.encoder.hidden_dim // REDUCED)
    decoder = FaceDecoder(feature_dim, params.decoder.texture, first_dim=100, texture_channels=32)
    points = torch.stack(
        torch.meshgrid(torch.linspace(40, 180, 8), torch.linspace(40, 180, 9), indexing="ij"), -1
    ).reshape(-1, 2)[:68]
    decoder.set_means(points)
    features = torch.randn(2, feature_dim)

    weights = params.encoder.weights.model_dump()
    temperatures = {name: weights.pop(name) for name in ("temperature", "contrastive_temperature")}
    weights.pop("teacher")  # the encoder's loss does not have this term, its training does
    frozen = FaceDecoder(feature_dim, first_dim=100, texture_channels=32).f_dec.requires_grad_(False)
    head = LinearHead(feature_dim, 7).requires_grad_(False)
    predicted = encoder(torch.randn(2, 2, 257, params.encoder.crop_frames or 601))
    voice_loss = encoder_loss(
        predicted, features, f_dec=frozen, face_logits=head, weights=EncoderLossWeights(**weights), **temperatures
    ).total
    betas = (params.encoder.beta1, 0.999)
    assert moved(
        encoder, voice_loss, torch.optim.Adam(encoder.parameters(), lr=params.lr, betas=betas, eps=params.encoder.eps)
    )

    embed = torch.nn.Linear(3, feature_dim).requires_grad_(False)
    face_loss = decoder_loss(
        decoder(features),
        torch.rand(2, 3, 224, 224),
        points.expand(2, -1, -1) + 1,
        features,
        embed=lambda image: embed(image.mean((2, 3))),
        weights=DecoderLossWeights(**params.decoder.weights.model_dump()),
    ).total
    assert moved(decoder, face_loss, torch.optim.Adam(decoder.parameters(), lr=params.decoder.lr))


@pytest.mark.slow
def test_the_papers_encoder_runs_forward_at_full_width():
    encoder = preset("paper").encoder
    network = VoiceEncoder(encoder.base_channels, FEATURE_DIM["vgg_face"], encoder.hidden_dim).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 2, 257, 601)).shape == (1, 4096)
