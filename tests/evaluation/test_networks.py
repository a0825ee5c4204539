"""Networks as functions of arrays, against the networks themselves."""

import numpy as np
import pytest
import torch

from speech2face.audio.spectrogram import compress, stft
from speech2face.audio.table import spectrograms_schema
from speech2face.evaluation.networks import decode_with, embed_with, predict_test_clips
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.pipeline.shards import write_shard
from speech2face.speaker_networks.table import embeddings_schema
from speech2face.training.pairs import Pairs, Targets
from tests.training.tables import clip_row, write_clips
from tests.training.test_encoder import make_lively

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def clips(tmp_path):
    """Ten test clips and two of training, every clip of other values."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(12):
        row = {"clip_id": f"id{index:02d}/v/1", "speaker_id": f"id{index:02d}", "segment": 0}
        spectrogram = rng.normal(size=(2, 257, 601)).astype(np.float16)
        rows.append(row | {"start_s": 0.0, "duration_s": 6.0, "spectrogram": spectrogram})
    write_shard(tmp_path / "shard-a.parquet", rows, spectrograms_schema(601), {})
    targets = Targets(
        np.zeros((12, 5), np.float32),
        {f"id{i:02d}/v": i for i in range(12)},
        {f"id{i:02d}": "train" if i < 2 else "test" for i in range(12)},
    )
    return tmp_path, targets, np.stack([row["spectrogram"] for row in rows[2:]])


def test_predictions_are_of_the_whole_segment_and_of_its_first_3_s(clips):
    spectrograms, targets, values = clips
    torch.manual_seed(0)
    encoder = VoiceEncoder(2, 5, 16)
    torch.nn.init.normal_(encoder.fc1.weight)  # else an untrained network gives everyone the same
    clip_ids, predicted = predict_test_clips(encoder, Pairs(spectrograms, targets, "test"), 6.0, CPU)
    assert clip_ids == [f"id{i:02d}/v/1" for i in range(2, 12)]
    assert list(predicted) == ["6 s", "3 s", "1.5 s"]
    encoder.eval()
    with torch.no_grad():
        whole = encoder(torch.from_numpy(values).float()).numpy()
        first = encoder(torch.from_numpy(values[..., :301]).float()).numpy()
        beginning = torch.from_numpy(values[..., :150]).float()
        repeated = encoder(torch.cat([beginning, beginning], -1)).numpy()
    assert np.allclose(predicted["6 s"], whole, atol=1e-5)
    assert np.allclose(predicted["3 s"], first, atol=1e-5)
    assert np.allclose(predicted["1.5 s"], repeated, atol=1e-5)
    assert not np.allclose(whole, first, atol=1e-3)


def test_of_stored_waveforms_the_predictions_are_those_of_their_spectrograms(tmp_path):
    noise = np.random.default_rng(0).integers(-500, 500, (3, 96_000), np.int16)
    noise *= np.array([[1], [8], [64]], np.int16)
    waves = [clip_row(f"id{number}/v/1", waveform) for number, waveform in enumerate(noise)]
    spectrograms = compress(stft(torch.from_numpy(noise) / 32_768)).numpy()
    write_clips(tmp_path / "waveforms", waves)
    write_clips(
        tmp_path / "spectrograms", [clip_row(w["clip_id"], s) for w, s in zip(waves, spectrograms, strict=True)]
    )
    people = {f"id{number}": number for number in range(3)}
    targets = Targets(
        np.zeros((3, 5), np.float32), {f"{p}/v": n for p, n in people.items()}, dict.fromkeys(people, "test")
    )
    torch.manual_seed(0)
    encoder = VoiceEncoder(2, 5, 16)
    make_lively(encoder, torch.from_numpy(spectrograms))
    (ids, found), (expected_ids, expected) = (
        predict_test_clips(encoder, Pairs(tmp_path / name, targets, "test"), 6.0, CPU)
        for name in ("waveforms", "spectrograms")
    )
    assert ids == expected_ids and list(found) == list(expected) == ["6 s", "3 s", "1.5 s"]
    for length, features in found.items():
        spread = features[:].std(0)
        assert spread.min() > 0.01 and np.abs(features[:] - expected[length][:]).max() < 0.01 * spread.min()


def test_lengths_are_the_models_own_and_shorter_ones(clips):
    spectrograms, targets, _ = clips
    pairs = Pairs(spectrograms, targets, "test")
    assert list(predict_test_clips(VoiceEncoder(2, 5, 16), pairs, 3.0, CPU)[1]) == ["3 s", "1.5 s"]
    assert list(predict_test_clips(VoiceEncoder(2, 5, 16), pairs, 10.0, CPU)[1]) == [
        "10 s",
        "6 s",
        "3 s",
        "1.5 s",
    ]


def test_all_segments_of_a_clip_are_heard_and_averaged(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"clip_id": f"{speaker}/v/1", "speaker_id": speaker, "segment": segment, "start_s": 6.0 * segment}
        | {"duration_s": 6.0, "spectrogram": rng.normal(size=(2, 257, 601)).astype(np.float16)}
        for speaker, segments in (("b", 3), ("a", 1))
        for segment in range(segments)
    ]
    write_shard(tmp_path / "shard-a.parquet", rows, spectrograms_schema(601), {})
    targets = Targets(np.zeros((2, 5), np.float32), {"a/v": 0, "b/v": 1}, dict.fromkeys("ab", "test"))
    torch.manual_seed(0)
    encoder = VoiceEncoder(2, 5, 16)
    torch.nn.init.normal_(encoder.fc1.weight)
    clip_ids, predicted = predict_test_clips(encoder, Pairs(tmp_path, targets, "test"), 6.0, CPU)
    assert clip_ids == ["a/v/1", "b/v/1"] and list(predicted) == ["all", "6 s", "3 s", "1.5 s"]
    with torch.no_grad():
        alone = encoder(torch.from_numpy(np.stack([row["spectrogram"] for row in rows])).float()).numpy()
    assert np.allclose(predicted["all"], [alone[3], alone[:3].mean(0)], atol=1e-5)
    assert np.allclose(predicted["6 s"], [alone[3], alone[0]], atol=1e-5)


def test_an_encoder_of_embeddings_hears_the_rows_of_each_length(tmp_path):
    rng = np.random.default_rng(0)
    row = {"clip_id": "a/v/1", "speaker_id": "a", "segment": 0, "start_s": 0.0, "duration_s": 6.0, "segment_s": 6.0}
    heard = rng.normal(size=(6, 7)).astype(np.float32)
    write_shard(tmp_path / "shard-a.parquet", [row | {"embedding": heard}], embeddings_schema(6.0, 7), {})
    targets = Targets(np.zeros((1, 5), np.float32), {"a/v": 0}, {"a": "test"})
    encoder = SpeakerEncoder(7, 5, 8).eval()
    _, predicted = predict_test_clips(encoder, Pairs(tmp_path, targets, "test"), 6.0, CPU)
    with torch.no_grad():
        alone = encoder(torch.from_numpy(heard)).numpy()
    for length, rows in (("6 s", slice(0, 4)), ("1.5 s", slice(4, 5)), ("3 s", slice(5, 6))):
        assert np.allclose(predicted[length], alone[rows].mean(0), atol=1e-5)


def test_decoded_faces_are_the_decoders_clipped_and_nothing_more():
    torch.manual_seed(0)
    decoder = FaceDecoder(5, "linear", first_dim=20)
    decoder.set_means(torch.rand(68, 2) * 150 + 30, torch.rand(3, 224, 224) * 1.4 - 0.2)
    features = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)  # more than a batch
    images, landmarks = decode_with(decoder, CPU)(features)
    with torch.no_grad():
        face = decoder(torch.from_numpy(features))
    assert images.dtype == np.uint8
    reference = (face.image.clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(images - reference).max() <= 0.51
    assert np.allclose(landmarks, face.landmarks.numpy(), atol=1e-3)


def test_pictures_reach_the_face_network_in_its_own_range():
    class Network:
        feature_dim = 3

        def to(self, device):
            return self

        def embed(self, crops, landmarks):
            assert crops.shape[1:] == (3, 224, 224)
            assert 0 <= crops.min() <= crops.max() <= 1
            return crops.mean((2, 3)) + landmarks.mean((1, 2))[:, None]

    images = np.zeros((10, 224, 224, 3), np.uint8)
    images[..., 0] = 255
    found = embed_with(Network(), CPU)(images, np.full((10, 68, 2), 7.0))
    assert np.allclose(found, [[8, 7, 7]] * 10)
