"""The voices of the synthetic speakers: a recording made from a `Speaker` and a `Video` alone.

espeak-ng reads a text in the speaker's accent. Playing its speech `stretch` times as fast moves the formants as a
shorter vocal tract would (their frequencies go as 1 / length, Fant 1960); pitch and rate are asked of espeak-ng divided
by the same factor, so that they come out as described. Tremor is a slow modulation of that speed, breathiness is
aspiration noise with the spectrum of the speech. Room, background noise and level belong to the video.
"""

import math
import zlib

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal

from speech2face.synthetic import espeak
from speech2face.synthetic.speakers import NUM_TEXTS, Speaker, Video
from speech2face.synthetic.texts import TEXTS

Samples = npt.NDArray[np.float32]

VOICES = {
    "en-us": "gmw/en-US",
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-029": "gmw/en-029",
}
"""`speakers.ACCENTS` as espeak-ng's voice files. All of them have one pitch, so one table below serves them."""
VARIANTS = {"f": "+f1", "m": ""}
"""espeak-ng's default voice does not reach the higher fundamental frequencies."""

# Measured on espeak-ng 1.52 (autocorrelation, mean of the four accents): median fundamental frequency at a pitch
# setting, with PITCH_RANGE; shift of the long-term spectrum of the variant from that of the default voice; words per
# minute spoken over words per minute asked for.
PITCH_RANGE = 45
PITCH_SETTINGS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
MEDIAN_F0_HZ = {
    "f": (111.4, 121.4, 131.6, 145.3, 159.1, 177.2, 196.2, 219.2, 244.3, 273.5, 303.3),
    "m": (66.8, 71.3, 76.5, 83.7, 91.4, 100.8, 111.0, 123.0, 136.5, 152.7, 168.9),
}
FORMANT_SCALE = {"f": 1.11, "m": 1.0}
RATE_SCALE = 1.24
DEFAULT_VOCAL_TRACT_LENGTH_CM = 16.0

FORMANT_RISE = 25 / 256 / 50
"""espeak-ng also raises the formants, by this fraction for every step of its pitch setting above 50."""

TREMOR_HZ = 5.0
ASPIRATION_DB = (-36.0, -2.0)  # relative to the speech, for breathiness 0 and 1
ROOMS_RT60_S = {"dry": 0.0, "office": 0.25, "hall": 0.6}
ROOMS_DIRECT_TO_REVERBERANT_DB = {"dry": math.inf, "office": 6.0, "hall": 0.0}


def synthesise(speaker: Speaker, video: Video, duration_s: float, sample_rate_hz: int = 16_000) -> Samples:
    """A recording of `speaker` in `video`: float32 [duration_s * sample_rate_hz], its peak at `video.level_db`.

    The same arguments give the same samples in any process; the text is repeated if it ends too early.
    Raises `ValueError` for an accent, room or text that is not in the lists of `speakers`, and for no duration.
    """
    for name, value, known in (
        ("accent", speaker.accent, VOICES),
        ("room", video.room, ROOMS_RT60_S),
        ("words", video.words, range(NUM_TEXTS)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))} (got {value!r})")
    rng = np.random.default_rng(zlib.crc32(repr((speaker, video)).encode()))
    num_samples = round(duration_s * sample_rate_hz)
    if num_samples < 1:
        raise ValueError(f"duration_s must be above 0 (got {duration_s})")
    voice = _voice(speaker, TEXTS[video.words], num_samples, sample_rate_hz, rng)
    voice += _aspiration(voice, speaker.breathiness, sample_rate_hz, rng)
    level = _rms(voice)
    recording = _reverberate(voice, video.room, sample_rate_hz, rng)
    recording += level * 10 ** (video.noise_db / 20) * _background(num_samples, sample_rate_hz, rng)
    recording *= 10 ** (video.level_db / 20) / np.abs(recording).max()
    return recording.astype(np.float32)


def _voice(
    speaker: Speaker, text: str, num_samples: int, sample_rate_hz: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Speech with the speaker's formants, fundamental frequency, rate and tremor, [num_samples]."""
    stretch, pitch = _stretch_and_pitch(speaker)
    rate_wpm = float(np.clip(speaker.rate_wpm / stretch / RATE_SCALE, *espeak.RATES_WPM))

    phase = rng.uniform(0, 2 * math.pi)
    angle = 2 * math.pi * TREMOR_HZ * np.arange(num_samples) / sample_rate_hz + phase
    # the integral of 1 + tremor * sin(angle): where in the unmodulated speech each sample is found, in seconds
    at_s = np.arange(num_samples) / sample_rate_hz
    at_s += speaker.tremor / (2 * math.pi * TREMOR_HZ) * (math.cos(phase) - np.cos(angle))
    at_s *= stretch

    read = text
    while True:
        speech = espeak.speak(read, VOICES[speaker.accent] + VARIANTS[speaker.sex], round(rate_wpm), pitch, PITCH_RANGE)
        if len(speech) > at_s[-1] * espeak.SAMPLE_RATE_HZ + 1:
            break
        read = f"{read} {text}"
    speech = speech[: math.ceil(at_s[-1] * espeak.SAMPLE_RATE_HZ) + espeak.SAMPLE_RATE_HZ // 10]
    return _sample_at(speech, at_s * espeak.SAMPLE_RATE_HZ, sample_rate_hz / 2 / stretch / (espeak.SAMPLE_RATE_HZ / 2))


def _stretch_and_pitch(speaker: Speaker) -> tuple[float, int]:
    """How fast to play espeak-ng's speech, and its pitch setting, for the speaker's formants and fundamental frequency."""
    pitch = 50
    for _ in range(8):  # each depends a little on the other; an error shrinks to a fifth each time
        rise = 1 + FORMANT_RISE * max(0, pitch - 50)
        stretch = DEFAULT_VOCAL_TRACT_LENGTH_CM / speaker.vocal_tract_length_cm / (FORMANT_SCALE[speaker.sex] * rise)
        table = np.log(MEDIAN_F0_HZ[speaker.sex])
        pitch = round(float(np.interp(math.log(speaker.f0_hz / stretch), table, PITCH_SETTINGS)))
    return stretch, pitch


def _sample_at(
    waveform: Samples, positions: npt.NDArray[np.float64], band: float, oversampling: int = 4
) -> npt.NDArray[np.float64]:
    """The waveform at fractional positions, after cutting everything above `band` (1 is its Nyquist frequency)."""
    length = fft.next_fast_len(len(waveform), real=True)
    spectrum = fft.rfft(waveform, length)
    spectrum[int(min(band, 1.0) * length / 2) :] = 0
    dense = oversampling * fft.irfft(spectrum, oversampling * length)
    return np.interp(positions * oversampling, np.arange(len(dense)), dense)


def _aspiration(
    voice: npt.NDArray[np.float64], breathiness: float, sample_rate_hz: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Noise with the smoothed spectrum of the voice, brighter by 6 dB an octave as the source at the glottis is."""
    size = sample_rate_hz // 40
    frequency_hz, _, spectrum = signal.stft(voice, sample_rate_hz, nperseg=size, noverlap=size // 2)
    envelope = ndimage.uniform_filter(np.abs(spectrum), (9, 3)) * np.minimum(frequency_hz / 1000, 4)[:, None]
    noise = rng.standard_normal((2, *envelope.shape), np.float32)
    _, aspiration = signal.istft(
        envelope * (noise[0] + 1j * noise[1]), sample_rate_hz, nperseg=size, noverlap=size // 2
    )
    low_db, high_db = ASPIRATION_DB
    gain = 10 ** ((low_db + (high_db - low_db) * breathiness) / 20) * _rms(voice) / _rms(aspiration)
    return gain * aspiration[: len(voice)]


def _reverberate(
    voice: npt.NDArray[np.float64], room: str, sample_rate_hz: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The voice in a room whose impulse response is a direct sound and decaying noise (Moorer 1979), length kept."""
    rt60_s = ROOMS_RT60_S[room]
    if rt60_s == 0:
        return voice
    at_s = np.arange(round(rt60_s * sample_rate_hz)) / sample_rate_hz
    tail = rng.standard_normal(len(at_s)) * 10 ** (-3 * at_s / rt60_s)
    tail = signal.lfilter([0.4], [1, -0.6], tail)  # walls and air take more of the high frequencies
    tail[at_s < 0.004] = 0
    tail *= 10 ** (-ROOMS_DIRECT_TO_REVERBERANT_DB[room] / 20) / np.sqrt(np.sum(tail**2))
    return voice + signal.oaconvolve(voice, tail)[: len(voice)]


def _background(num_samples: int, sample_rate_hz: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Pink noise of rms 1 above the 50 Hz where microphones begin."""
    frequency_hz = fft.rfftfreq(num_samples, 1 / sample_rate_hz)
    spectrum = fft.rfft(rng.standard_normal(num_samples))
    spectrum *= np.where(frequency_hz < 50, 0, 1 / np.sqrt(np.maximum(frequency_hz, 50)))
    noise = fft.irfft(spectrum, num_samples)
    return noise / _rms(noise)


def _rms(waveform: npt.NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(waveform**2)))
