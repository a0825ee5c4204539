"""The encoder on top of speaker networks: means, ensembles, parts of a recording."""

import pytest
import torch

from speech2face.models.encoders import load_encoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network

DIMENSIONS = {"embedding_dim": 6, "feature_dim": 4, "hidden_dim": 8, "num_layers": 2, "members": 3, "dropout": 0.5}


@pytest.fixture
def encoder() -> SpeakerEncoder:
    torch.manual_seed(0)
    found = SpeakerEncoder(**DIMENSIONS)
    found.set_means(torch.full((6,), 5.0), torch.full((6,), 2.0), torch.arange(4.0), torch.tensor(0.5))
    return found.eval()


def test_the_mean_voice_has_about_the_mean_face(encoder: SpeakerEncoder):
    found = encoder(torch.full((1, 6), 5.0))
    assert (found - torch.arange(4.0)).abs().max() < 0.2
    assert (encoder(torch.randn(50, 6) * 2 + 5) - torch.arange(4.0)).std() > 1e-3


def test_voices_count_by_their_distance_from_the_training_voices(encoder: SpeakerEncoder):
    voices = torch.randn(3, 6)
    moved = SpeakerEncoder(**DIMENSIONS).eval()
    moved.load_state_dict(encoder.state_dict())
    moved.set_means(torch.full((6,), 50.0), torch.full((6,), 20.0), torch.arange(4.0), torch.tensor(0.5))
    torch.testing.assert_close(moved(10 * voices), encoder(voices))


def test_members_differ_and_are_averaged(encoder: SpeakerEncoder):
    voices = torch.randn(5, 6)
    members = encoder.deviations(voices)
    assert members.shape == (3, 5, 4)
    assert not torch.allclose(members[0], members[1])
    torch.testing.assert_close(encoder(voices), torch.arange(4.0) + members.mean(0))


def test_predictions_of_parts_are_averaged(encoder: SpeakerEncoder):
    parts = torch.randn(2, 5, 6)
    expected = torch.stack([encoder(parts[:, i]) for i in range(5)]).mean(0)
    torch.testing.assert_close(encoder(parts), expected)


def test_a_number_that_never_changes_divides_nothing_by_zero(encoder: SpeakerEncoder):
    encoder.set_means(torch.zeros(6), torch.zeros(6), torch.zeros(4), torch.ones(()))
    assert encoder(torch.zeros(1, 6)).isfinite().all()


def test_whichever_encoder_was_saved_is_loaded(encoder: SpeakerEncoder, tmp_path):
    save_network(encoder, tmp_path / "encoder" / "encoder", **DIMENSIONS)
    loaded = load_encoder(tmp_path)
    assert isinstance(loaded, SpeakerEncoder)
    voices = torch.randn(2, 6)
    torch.testing.assert_close(loaded.eval()(voices), encoder(voices))
    published = {"base_channels": 1, "feature_dim": 4, "hidden_dim": 3}
    save_network(VoiceEncoder(**published), tmp_path / "encoder" / "encoder", **published)
    assert isinstance(load_encoder(tmp_path), VoiceEncoder)
    with pytest.raises(FileNotFoundError, match="train the network"):
        load_encoder(tmp_path / "nowhere")
