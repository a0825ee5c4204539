"""The page that lies in an exported folder."""

from collections.abc import Mapping
from typing import Any

from speech2face.models.voice_encoder import MIN_FRAMES, NUM_BINS
from speech2face.speaker_networks.backends import SOURCES

PAGE = """# The face that a voice typically has

{note}

Written by `speech2face export`, version {version}: the networks of one training as ONNX files, and a small program that runs them. It
needs neither that package nor PyTorch.

## Run it
```sh
pip install numpy onnxruntime pillow
python speech2face_onnx.py voice.wav face.png
python speech2face_onnx.py voice.wav face.png --stretch 2   # twice as far from the mean face: easier to see, and no more certain
```
`voice.wav` is a recording of at least 1 s, 16 kHz, of 8 to 32 bits. To convert others:
`ffmpeg -i voice.m4a -ar 16000 -ac 1 -c:a pcm_s16le voice.wav`. Nothing leaves the machine.

## What it must not be used for
The picture is an average over people who sound alike. It is not a likeness of the speaker, and nobody can see from it who is speaking.
**Not for** identifying, finding, tracking or verifying anyone; not for guessing sex, age, origin or any other attribute of a person for a
decision about them; not as evidence; not on voices whose speakers have not agreed.

## The files
| file | MB | holds |
|---|---|---|
{files}

All numbers are float32 (ONNX operator set {opset}), and `batch` may be any size.

| network | input | output |
|---|---|---|
{networks}

{hearing}

The picture is the texture warped from the mean landmarks (`about.json`) to the landmarks, which `speech2face_onnx.py` does in float64: ONNX
has no operator that solves the spline's equations. A recording's feature is the mean of those of its segments of {segment_s:g} s, one
every {half_s:g} s. Real faces are {stretch:.2g} times as far from the mean face as predictions, by the training's validation.

## Which training
| network | training | best epoch | of |
|---|---|---|---|
{trainings}

## Licence
The program and the code that made this folder: MIT. The networks: what the licences of the recordings and faces allow that they
were trained on, which this folder does not know.{licences}
"""
HEARS_SPECTROGRAMS = """The spectrogram is of sound at 16 kHz, -1..1: a 512-point transform of a periodic Hann window of 400 samples every
160, centred, ends reflected; its real and imaginary parts x as sign(x) |x|^0.3. {segment_s:g} s are {frames} frames; at least
{min_frames} are needed."""
HEARS_EMBEDDINGS = """The waveform is sound at 16 kHz, -1..1, and always {segment_s:g} s long: repeat a shorter one. Embeddings are of
{num_stretches} stretches of it, the whole and windows of 3 s every 1.5 s; those of {names} stand side by side, in this order."""


def readme(about: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The page of an export that `about.json` describes; `sizes` are the files', bytes."""
    holds = {
        "encoder.onnx": "the voice encoder",
        "decoder.onnx": "the face decoder, up to the warp",
        "speech2face_onnx.py": "the program",
        "about.json": "the mean face and its landmarks, and what else the program reads",
    }
    files = [
        f"| `{name}` | {size / 1e6:.2f} | {holds.get(name, 'a frozen speaker network')} |"
        for name, size in sorted(sizes.items())
    ]
    segment_s, names = about["segment_s"], about["speaker_networks"]
    hearing = HEARS_EMBEDDINGS if names else HEARS_SPECTROGRAMS
    return PAGE.format(
        note=f"**{about['note']}**",
        version=about["speech2face"],
        files="\n".join(files),
        opset=about["opset"],
        networks="\n".join(_networks(about)),
        hearing=hearing.format(
            segment_s=segment_s,
            frames=1 + round(segment_s * 100),
            min_frames=MIN_FRAMES,
            num_stretches=about["num_stretches"],
            names=" and ".join(f"`{name}`" for name in names),
        ),
        segment_s=segment_s,
        half_s=segment_s / 2,
        stretch=about["stretch"],
        trainings="\n".join(f"| {part} | {_training(found)} |" for part, found in about["training"].items()),
        licences=" The weights of the speaker networks come with packages that have licences of their own: "
        + ", ".join(f"{name} with {SOURCES[name].package}" for name in names)
        + "."
        if names
        else "",
    )


def _networks(about: Mapping[str, Any]) -> list[str]:
    feature = f"[batch, {about['feature_dim']}]"
    rows = []
    if about["speaker_networks"]:
        num_samples, num_stretches = round(about["segment_s"] * about["sample_rate_hz"]), about["num_stretches"]
        for name in about["speaker_networks"]:
            shape = f"[batch, {num_stretches}, {SOURCES[name].network.embedding_dim}]"
            rows.append(f"| `{name}.onnx` | `waveform` [batch, {num_samples}] | `embeddings` {shape} |")
        shape = f"[batch, {num_stretches}, {about['embedding_dim']}]"
        rows.append(f"| `encoder.onnx` | `embeddings` {shape} | `feature` {feature} |")
    else:
        rows.append(f"| `encoder.onnx` | `spectrogram` [batch, 2, {NUM_BINS}, frames] | `feature` {feature} |")
    faces = "`landmarks` [batch, 68, 2] as (x, y) pixels; `texture` [batch, 3, 224, 224] RGB, nominally 0..1"
    return [*rows, f"| `decoder.onnx` | `feature` {feature} | {faces}, in the mean shape |"]


def _training(found: Mapping[str, Any]) -> str:
    """Cells: the beginning of a training's fingerprint, its best epoch, and what it was of."""
    epoch = f"{found['best_epoch'] + 1} of {found['epochs']}" if "epochs" in found else "–"
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.get("counts", {}).items())
    return f"{found.get('fingerprint', '–')[:12]} | {epoch} | {counts or '–'}"
