"""The table of embeddings, from recordings to rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from speech2face.audio.reading import read_audio
from speech2face.audio.speech import speech_fraction
from speech2face.pipeline.ahead import ahead
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import Reject
from speech2face.pipeline.shards import read_columns, to_numpy, write_shard
from speech2face.speaker_networks import extraction
from speech2face.speaker_networks.backends import converted_weights, open_networks
from speech2face.speaker_networks.extraction import Embedding, embed, embedding_shard
from speech2face.speaker_networks.table import embeddings_schema, rows_of, shorter_s, stretches_s
from tests.speaker_networks.sounds import voice

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
AUDIO = load_params(Path(__file__).parents[2] / "params.yaml").audio


def test_parts_of_a_segment():
    assert stretches_s(6.0) == [(0, 6), (0, 3), (1.5, 4.5), (3, 6)] and shorter_s(6.0) == [1.5, 3.0]
    assert stretches_s(3.0) == [(0, 3)] and shorter_s(3.0) == [1.5]
    assert stretches_s(4.5) == [(0, 4.5), (0, 3), (1.5, 4.5)]
    assert shorter_s(12.0) == [1.5, 3.0, 6.0]
    assert rows_of(6.0, 6.0) == slice(0, 4) and rows_of(1.5, 6.0) == slice(4, 5) and rows_of(3.0, 6.0) == slice(5, 6)


@pytest.mark.parametrize("names", [["campplus"], ["ge2e", "campplus"]])
def test_rows_are_what_the_networks_hear(names: list[str]):
    networks = open_networks(converted_weights(names), CPU)
    sound = voice(6.0)
    found = embed(networks, sound[None], CPU)[0]
    assert found.shape == (6, sum(network.embedding_dim for network in networks)) and found.dtype == np.float32

    def alone(part: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return torch.cat([network(torch.from_numpy(part)[None])[0] for network in networks]).numpy()  # type: ignore[operator]

    for row, part in ((0, sound), (4, sound[:24_000]), (5, sound[:48_000])):
        np.testing.assert_allclose(found[row], alone(part), rtol=0, atol=1e-5)


def test_segments_together_are_heard_as_each_alone():
    networks = open_networks(converted_weights(["ge2e", "campplus"]), CPU)
    sounds = np.stack([voice(6.0, 100 + 40 * i, seed=i) for i in range(3)])
    alone = np.stack([embed(networks, sound[None], CPU)[0] for sound in sounds])
    np.testing.assert_allclose(embed(networks, sounds, CPU), alone, rtol=0, atol=1e-4)  # CAM++ gives numbers up to 3


@pytest.fixture(scope="module")
def few_recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Recordings of one and of many segments, and one that is none."""
    root, rows = tmp_path_factory.mktemp("recordings"), []
    for number, length_s in enumerate([13.0, 2.0, 40.0, 0.0, 6.0]):
        name = f"{number}.flac"
        if length_s:
            soundfile.write(root / name, voice(length_s, 100 + 20 * number, seed=number), 16_000)
        else:
            (root / name).write_bytes(b"no sound")
        clip = {"clip_id": f"s/v/{number}", "speaker_id": "s", "audio_path": name, "audio_bytes": None}
        rows.append({**clip, "start_s": None, "end_s": None})
    return root, rows


class Loudness:
    """In place of a network: the root mean square of each stretch."""

    def embed(self, waveforms: torch.Tensor, stretches_s: list[tuple[float, float]]) -> torch.Tensor:
        parts = [waveforms[:, round(16_000 * start) : round(16_000 * end)] for start, end in stretches_s]
        return torch.stack([part.square().mean(1, keepdim=True).sqrt() for part in parts], 1)


def embedded(recordings: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    root, rows = recordings
    monkeypatch.setattr(extraction, "_networks", lambda weights, device: [Loudness()])
    settings = Embedding(audio=AUDIO.model_copy(update={"segments": "all"}), networks=[])
    return list(embedding_shard(rows, settings, {"root": str(root), "weights": {}, "device": CPU}))


@pytest.fixture
def four_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, but four segments a batch, and two threads that read."""
    monkeypatch.setattr(extraction, "batch_size", lambda device: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def test_batches_and_threads_change_no_order(
    few_recordings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    alone = embedded(few_recordings, monkeypatch)
    assert [getattr(item, "reason", None) for item in alone] == [None] * (2 + 1 + 6) + ["too_short", None]
    request.getfixturevalue("four_together")
    for found, expected in zip(embedded(few_recordings, monkeypatch), alone, strict=True):
        if isinstance(expected, dict):
            np.testing.assert_allclose(found.pop("embedding"), expected.pop("embedding"), rtol=0, atol=1e-5)
        assert found == expected


def test_threads_hear_the_speech_that_each_alone_hears():
    """The detector of speech remembers what it heard before; without care, several threads would tell it in turns."""
    sounds = [voice(3.0, 90 + 30 * i, seed=i) * (np.arange(48_000) < 9_000 * i) for i in range(1, 6)]
    sounds = [sound.astype(np.float32) for sound in sounds]
    alone = [speech_fraction(sound) for sound in sounds]
    assert len(set(alone)) > 2
    assert list(ahead(lambda sound: [speech_fraction(sound)], 3 * sounds, 4, 8)) == 3 * alone


@pytest.mark.usefixtures("four_together")
def test_a_segment_that_fails_in_a_batch_is_one_reject(few_recordings, monkeypatch: pytest.MonkeyPatch):
    expected, begin = embedded(few_recordings, monkeypatch), extraction.begin_embedding
    odd = read_audio(few_recordings[0] / "2.flac")[96_000 : 2 * 96_000]

    def fails(networks: object, waveforms: np.ndarray, device: torch.device) -> Any:
        if any(np.array_equal(waveform, odd) for waveform in waveforms):
            raise RuntimeError("no such voice")
        return begin(networks, waveforms, device)

    monkeypatch.setattr(extraction, "begin_embedding", fails)
    found = embedded(few_recordings, monkeypatch)
    (number,) = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if type(a) is not type(b)]
    assert expected[number]["clip_id"] == "s/v/2" and expected[number]["segment"] == 1
    assert found[number] == Reject("s/v/2", "failed", f"{few_recordings[0]}/2.flac: RuntimeError: no such voice")


def test_recordings_become_rows_and_rejects(tmp_path: Path):
    soundfile.write(tmp_path / "long.flac", voice(13.0), 16_000)
    soundfile.write(tmp_path / "short.flac", voice(1.5, pitch_hz=220, seed=1), 16_000)
    soundfile.write(tmp_path / "silent.flac", np.zeros(96_000), 16_000)
    rows = [
        {
            "clip_id": f"s/v/{name}",
            "speaker_id": "s",
            "audio_path": f"{name}.flac",
            "audio_bytes": (tmp_path / f"{name}.flac").stat().st_size,
            "start_s": None,
            "end_s": None,
        }
        for name in ("long", "short", "silent")
    ]
    settings = Embedding(audio=AUDIO.model_copy(update={"segments": "all"}), networks=["campplus"])
    context = {"root": str(tmp_path), "weights": converted_weights(["campplus"]), "device": CPU}
    found = list(embedding_shard(rows, settings, context))
    assert [(item.item, item.reason) for item in found if isinstance(item, Reject)] == [("s/v/silent#0", "silent")]
    kept = [item for item in found if not isinstance(item, Reject)]
    assert [(row["clip_id"], row["segment"], row["start_s"], row["duration_s"]) for row in kept] == [
        ("s/v/long", 0, 0.0, 6.0),
        ("s/v/long", 1, 6.0, 6.0),
        ("s/v/short", 0, 0.0, 1.5),
    ]
    write_shard(tmp_path / "table" / "shard-a.parquet", kept, embeddings_schema(6.0, 192), {})
    values = to_numpy(read_columns(tmp_path / "table", ["embedding"])["embedding"])
    np.testing.assert_array_equal(values, np.stack([row["embedding"] for row in kept]))
    whole = values[:, 0] / np.linalg.norm(values[:, 0], axis=1, keepdims=True)
    assert whole[0] @ whole[1] > whole[0] @ whole[2]  # two parts of one voice against another
