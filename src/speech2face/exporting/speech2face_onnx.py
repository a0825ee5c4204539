"""The face that a voice typically has, drawn by ONNX networks: numpy, onnxruntime and pillow are all that this needs.

    python speech2face_onnx.py voice.wav face.png

`speech2face export --onnx FOLDER` copies this file beside the networks. What it does is what `speech2face predict` does with a wav
file of 16 kHz: Speech2Face (Oh et al. 2019, arXiv 1905.09773), and the face decoder of Cole et al. 2017 (arXiv 1701.04851).
"""

from __future__ import annotations

import argparse
import json
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

NOTE = (
    "A face that is typical of such a voice. It is not the speaker's face: do not use it to identify or judge anyone."
)
SAMPLE_RATE_HZ = 16_000
N_FFT, WIN_LENGTH, HOP_LENGTH, POWER = 512, 400, 160, 0.3
MIN_FRAMES = 259
MIN_SAMPLES = N_FFT // 2 + 1
MIN_VOICE_S = 1.0
AUDIBLE_RMS = 1e-4
MAX_STRETCH = 10.0
MIN_SQUARED_DISTANCE = 1e-10

Array = npt.NDArray[Any]


class Speech2FaceOnnx:
    """The networks of a folder that `speech2face export` wrote.

    Raises FileNotFoundError if a file is missing, and ValueError for a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = json.loads(_there(folder / "about.json").read_text("utf-8"))
        self.mean_feature = np.array(self.about["mean_feature"], np.float32)
        self.mean_landmarks = np.array(self.about["mean_landmarks"], np.float32)
        onnxruntime.disable_telemetry_events()  # builds for Windows have some
        self.encoder, self.decoder = self._session("encoder"), self._session("decoder")
        self.speaker_networks = [self._session(name) for name in self.about["speaker_networks"]]

    def feature(self, samples: Array) -> Array:
        """Face feature [1, D] of a voice, float32 [T] in -1..1 at 16 kHz: the mean of what its segments say. Raises as `segments`."""
        num_samples = round(self.about["segment_s"] * SAMPLE_RATE_HZ)
        heard = [self.listen(np.resize(part, num_samples)) for part in segments(samples, num_samples)]
        return np.concatenate(heard).mean(0, keepdims=True)

    def listen(self, segment: Array) -> Array:
        """Face feature [1, D] of one segment, float32 [T] as long as the networks hear."""
        if not self.speaker_networks:
            return self.encode(spectrogram(segment)[None])
        embeddings = [run(network, segment[None])[0] for network in self.speaker_networks]
        return run(self.encoder, np.concatenate(embeddings, -1))[0]

    def encode(self, spectrograms: Array) -> Array:
        """Face features [B, D] of spectrograms [B, 2, 257, frames]. Raises ValueError for fewer than 259 frames."""
        frames = spectrograms.shape[-1]
        if frames < MIN_FRAMES:
            raise ValueError(
                f"the voice encoder needs spectrograms of at least {MIN_FRAMES} frames, 2.605 s (got {frames}): "
                "repeat the recording to that length"
            )
        return run(self.encoder, spectrograms)[0]

    def face(self, feature: Array, stretch: float = 1.0) -> Array:
        """Picture of one feature [1, D], `stretch` times as far from the mean face: uint8 RGB [224, 224, 3]."""
        stretched = self.mean_feature + np.float32(stretch) * (feature - self.mean_feature)
        landmarks, texture = run(self.decoder, stretched)
        image = warp(texture[0], self.mean_landmarks, landmarks[0], self.about["regularization"])
        return np.rint(image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        path = _there(self.folder / f"{name}.onnx")
        try:
            return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors have no other base
            raise ValueError(f"{path} cannot be read ({type(error).__name__}): copy the whole folder again") from error


def run(session: onnxruntime.InferenceSession, array: Array) -> list[Array]:
    """The outputs of a network of one input."""
    return session.run(None, {session.get_inputs()[0].name: array})


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy the whole folder, or export it again")
    return path


def read_wav(path: Path) -> Array:
    """A wav file of 16 kHz and 8, 16, 24 or 32 bits as float32 [T] in -1..1, the mean of its channels.

    Raises ValueError for any other file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate_hz, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"{path} is not a wav file of plain integers ({error}); convert it: {_conversion(path)}"
        ) from error
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{path} has {rate_hz} Hz, {SAMPLE_RATE_HZ} Hz are needed; convert it: {_conversion(path)}")
    if width not in (1, 2, 3, 4):
        raise ValueError(f"{path} has samples of {8 * width} bits; convert it: {_conversion(path)}")
    num_frames = len(data) // (width * channels)
    samples = np.frombuffer(data, np.uint8, num_frames * channels * width).reshape(-1, width)
    wide = np.zeros((len(samples), 4), np.uint8)
    wide[:, 4 - width :] = samples  # the upper bytes: what is left of them is zero
    if width == 1:
        wide[:, 3] ^= 0x80  # 8 bits have no sign, and 128 in the middle
    scaled = wide.view("<i4").astype(np.float32) / np.float32(2**31)
    return scaled.reshape(num_frames, channels).mean(1, dtype=np.float32)


def _conversion(path: Path) -> str:
    return f"ffmpeg -i {path} -ar 16000 -ac 1 -c:a pcm_s16le converted.wav"


def segments(samples: Array, num_samples: int) -> Iterator[Array]:
    """The parts of a recording that are heard: one of `num_samples` every half of that, silent ones left out; all of a shorter one.

    Raises ValueError for a recording that is silent or shorter than 1 s.
    """
    if len(samples) < MIN_VOICE_S * SAMPLE_RATE_HZ:
        raise ValueError(f"{len(samples) / SAMPLE_RATE_HZ:.3g} s of sound; at least {MIN_VOICE_S:g} s are needed")
    found = False
    for start in range(0, max(0, len(samples) - num_samples) + 1, num_samples // 2):
        part = samples[start : start + num_samples]
        if np.sqrt(np.mean(np.square(part, dtype=np.float64))) >= AUDIBLE_RMS:
            found = True
            yield part
    if not found:
        raise ValueError("the recording is silent; record it louder")


def stft(samples: Array) -> Array:
    """Float [T] to complex128 [257, 1 + T // 160]: frame i is centred on sample 160 i, ends reflected; bin k is k * 31.25 Hz.

    The window is a periodic Hann of 400 samples in the middle of the 512. Raises ValueError below 257 samples.
    """
    if len(samples) < MIN_SAMPLES:
        raise ValueError(f"a spectrogram takes at least {MIN_SAMPLES} samples (got {len(samples)})")
    window = np.zeros(N_FFT)
    first = (N_FFT - WIN_LENGTH) // 2
    window[first : first + WIN_LENGTH] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WIN_LENGTH) / WIN_LENGTH)
    padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    return np.fft.rfft(frames * window).T


def compress(spectrum: Array) -> Array:
    """Complex [257, frames] to float32 [2, 257, frames]: real and imaginary part x, each as sign(x)|x|^0.3."""
    parts = np.stack([spectrum.real, spectrum.imag])
    return (np.sign(parts) * np.abs(parts) ** POWER).astype(np.float32)


def spectrogram(samples: Array) -> Array:
    """The input of the voice encoder, float32 [2, 257, frames]; 601 frames for 6 s. Raises as `stft`."""
    return compress(stft(samples))


def warp(texture: Array, source: Array, dest: Array, regularization: float) -> Array:
    """A picture float [C, H, W] moved so that what is at `source` comes to `dest`, both [N, 2] as (x, y) pixels."""
    height, width = texture.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    moved = flow(source[:, ::-1].astype(np.float64), dest[:, ::-1].astype(np.float64), height, width, regularization)
    return sample(texture, y - moved[..., 0], x - moved[..., 1])


def flow(source: Array, dest: Array, height: int, width: int, regularization: float) -> Array:
    """How far each pixel moves, float64 [H, W, 2], for points [N, 2], all as (y, x) pixels.

    A polyharmonic spline of order 1 (phi = r) through `dest - source` at `dest`, zero at eight points of the border, as
    `tfa.image.sparse_image_warp` of TensorFlow Addons has it.
    """
    corners = np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1], indexing="ij"), -1).reshape(-1, 2)
    border = np.delete(corners, 4, axis=0) * [height - 1, width - 1]
    centers = np.concatenate([dest, border])
    displacement = np.concatenate([dest - source, np.zeros_like(border)])
    kernel = _distance(centers[:, None], centers) + regularization * np.eye(len(centers))
    linear = np.concatenate([centers, np.ones((len(centers), 1))], 1)
    system = np.block([[kernel, linear], [linear.T, np.zeros((3, 3))]])
    solution = np.linalg.solve(system, np.concatenate([displacement, np.zeros((3, 2))]))
    weights, affine = solution[:-3], solution[-3:]
    pixels = np.moveaxis(np.mgrid[:height, :width], 0, -1).astype(np.float64)
    return _distance(pixels[:, :, None], centers) @ weights + pixels @ affine[:2] + affine[2]


def _distance(a: Array, b: Array) -> Array:
    return np.sqrt(np.maximum(np.square(a - b).sum(-1), MIN_SQUARED_DISTANCE))


def sample(image: Array, y: Array, x: Array) -> Array:
    """The picture [C, H, W] at places [H, W], bilinear, clamped at the border; in float64, and then of the picture's type."""
    height, width = image.shape[1:]
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    down, right = y - top, x - left
    upper = image[:, top, left] * (1 - right) + image[:, top, left + 1] * right
    lower = image[:, top + 1, left] * (1 - right) + image[:, top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(image.dtype)


def main(arguments: list[str] | None = None) -> int:
    """Draw one recording; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the face that a recording's voice typically has.", epilog=NOTE)
    parser.add_argument("voice", type=Path, help="a wav file of someone speaking: 16 kHz, at least 1 s")
    parser.add_argument("face", type=Path, help="the picture to write: .png, .jpg or .webp")
    parser.add_argument(
        "--stretch", type=float, default=1.0, help="draw the face so many times as far from the mean face, 0 to 10"
    )
    given = parser.parse_args(arguments)
    try:
        if not 0 <= given.stretch <= MAX_STRETCH:
            raise ValueError(f"--stretch must be from 0 to {MAX_STRETCH:g} (got {given.stretch:g})")
        model = Speech2FaceOnnx(Path(__file__).resolve().parent)
        picture = model.face(model.feature(read_wav(given.voice)), given.stretch)
        Image.fromarray(picture).save(given.face)
    except (ValueError, OSError) as error:
        print(f"speech2face_onnx: error: {error}", file=sys.stderr)
        return 1
    print(f"{given.face}: drawn from {given.voice}\n{NOTE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
