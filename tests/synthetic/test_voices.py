from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import parselmouth
import pytest
import torch
import torchaudio
from scipy.linalg import solve_toeplitz
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from speech2face.synthetic import espeak
from speech2face.synthetic.speakers import ACCENTS, NUM_TEXTS, ROOMS, Speaker, Video, draw_speaker, draw_video
from speech2face.synthetic.texts import TEXTS
from speech2face.synthetic.voices import synthesise
from tests import forkserver

pytestmark = pytest.mark.slow

RATE_HZ, HOP = 16_000, 256
ORDER = 18
"""Of the linear prediction filters: two for each formant and two more."""
MFCC = torchaudio.transforms.MFCC(RATE_HZ, 20, melkwargs={"n_fft": 1024, "hop_length": HOP, "n_mels": 40})
QUIET = replace(draw_video(0, 0, 0), room="dry", noise_db=-60.0, words=0)
MAN = replace(
    draw_speaker(0, 0), sex="m", vocal_tract_length_cm=16.9, f0_hz=115.0, rate_wpm=165.0, tremor=0.0, breathiness=0.1
)
WOMAN = replace(MAN, sex="f", vocal_tract_length_cm=14.4, f0_hz=200.0)


def praat(waveform: np.ndarray) -> parselmouth.Pitch:
    """Fundamental frequency every `HOP` samples by Praat's autocorrelation (Boersma 1993)."""
    return parselmouth.Sound(waveform.astype(np.float64), RATE_HZ).to_pitch_ac(HOP / RATE_HZ, 70.0, pitch_ceiling=400.0)


def f0_track(waveform: np.ndarray) -> np.ndarray:
    """Fundamental frequency in Hz, NaN where unvoiced."""
    found = praat(waveform).selected_array["frequency"]
    return np.where(found > 0, found, np.nan)


def frames_of(waveform: np.ndarray, length: int, hop: int = HOP) -> np.ndarray:
    """[N, length], a frame every `hop` samples."""
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop]


def rms(waveform: np.ndarray, length: int, hop: int) -> np.ndarray:
    return np.sqrt(np.square(frames_of(waveform, length, hop)).mean(1))


def median_f0(speaker: Speaker, video: Video = QUIET) -> float:
    return float(np.nanmedian(f0_track(synthesise(speaker, video, 4.0))))


def spectral_envelope(speaker: Speaker, frequencies_hz: np.ndarray) -> np.ndarray:
    """Mean log spectrum of linear prediction filters over the louder frames of some speech."""
    waveform = np.concatenate([synthesise(speaker, replace(QUIET, words=k), 4.0) for k in (0, 5, 9)])
    frames = frames_of(waveform[1:] - 0.97 * waveform[:-1], 512)
    loud = frames[frames.std(1) > np.median(frames.std(1))] * np.hanning(512)
    correlations = np.fft.irfft(np.abs(np.fft.rfft(loud, 1024)) ** 2)[:, : ORDER + 1]
    filters = [np.append(1, solve_toeplitz(r[:-1], -r[1:])) for r in correlations]
    mean = -np.log(np.abs(np.fft.rfft(filters, 1024)) ** 2).mean(0)
    return np.interp(frequencies_hz, np.arange(513) * RATE_HZ / 1024, mean)


def spectral_shift(one: Speaker, other: Speaker) -> float:
    """By what factor the frequencies of the envelope of `other` lie above those of `one`."""
    step = 0.004
    grid = np.exp(np.arange(np.log(350), np.log(5500), step))
    a, b = spectral_envelope(one, grid), spectral_envelope(other, grid)
    lags = range(-75, 76)
    match = [np.corrcoef(a[max(0, -k) : len(a) - max(0, k)], b[max(0, k) : len(b) - max(0, -k)])[0, 1] for k in lags]
    return float(np.exp(step * lags[int(np.argmax(match))]))


def test_shape_level_and_type() -> None:
    for number, (duration_s, rate_hz) in enumerate([(6.0, 16_000), (1.5, 22_050), (0.5, 8_000)]):
        video = draw_video(0, 1, number)
        waveform = synthesise(draw_speaker(0, 1), video, duration_s, rate_hz)
        assert waveform.dtype == np.float32 and waveform.shape == (round(duration_s * rate_hz),)
        assert np.abs(waveform).max() == pytest.approx(10 ** (video.level_db / 20), rel=1e-5)


def synthesise_after_others(arguments: tuple[Speaker, Video]) -> bytes:
    synthesise(WOMAN, QUIET, 0.5)
    return synthesise(*arguments, 1.0).tobytes()


def test_the_same_in_any_process_whatever_was_spoken_before() -> None:
    arguments = (draw_speaker(0, 2), draw_video(0, 2, 0))
    here = synthesise(*arguments, 1.0).tobytes()
    assert synthesise_after_others(arguments) == here
    with ProcessPoolExecutor(1, mp_context=forkserver.get_context("spawn")) as pool:
        assert pool.submit(synthesise_after_others, arguments).result() == here


def test_another_video_or_speaker_sounds_different() -> None:
    base = synthesise(MAN, QUIET, 1.0)
    for speaker, video in ((WOMAN, QUIET), (MAN, replace(QUIET, words=1)), (MAN, replace(QUIET, room="hall"))):
        assert np.corrcoef(base, synthesise(speaker, video, 1.0))[0, 1] < 0.9


@pytest.mark.parametrize("index", range(6))
def test_the_median_fundamental_frequency_is_the_speakers(index: int) -> None:
    speaker = draw_speaker(0, index)
    assert median_f0(speaker) == pytest.approx(speaker.f0_hz, rel=0.08)


@pytest.mark.parametrize("speaker", [MAN, WOMAN], ids=["man", "woman"])
def test_vocal_tract_and_accent_leave_the_fundamental_frequency_alone(speaker: Speaker) -> None:
    others = [replace(speaker, accent=accent) for accent in ACCENTS]
    others += [replace(speaker, vocal_tract_length_cm=length) for length in (13.5, 17.5)]
    assert [median_f0(other) for other in others] == pytest.approx([speaker.f0_hz] * len(others), rel=0.08)


@pytest.mark.parametrize("sex", ["f", "m"])
def test_formants_go_as_one_over_vocal_tract_length(sex: str) -> None:
    one = replace(MAN if sex == "m" else WOMAN, vocal_tract_length_cm=17.0)
    other = replace(one, vocal_tract_length_cm=14.5)
    assert spectral_shift(one, other) == pytest.approx(17.0 / 14.5, rel=0.03)


def test_sex_alone_does_not_move_the_formants() -> None:
    low, high = replace(MAN, f0_hz=150.0), replace(WOMAN, f0_hz=150.0, vocal_tract_length_cm=MAN.vocal_tract_length_cm)
    assert spectral_shift(low, high) == pytest.approx(1.0, abs=0.03)


def test_speech_takes_time_in_inverse_proportion_to_the_rate() -> None:
    def end_of_first_sentence_s(rate_wpm: float) -> float:
        video = replace(QUIET, words=11)  # pauses first after "... on the left"
        waveform = synthesise(replace(MAN, rate_wpm=rate_wpm), video, 6.0)
        loudness = rms(waveform, 400, 160)
        quiet = loudness < 0.05 * np.percentile(loudness, 95)
        runs = np.convolve(quiet, np.ones(12), "valid") == 12  # 120 ms
        return float(np.argmax(runs[20:]) + 20) / 100

    assert end_of_first_sentence_s(130) / end_of_first_sentence_s(195) == pytest.approx(195 / 130, rel=0.1)


def test_the_rate_is_in_words_a_minute() -> None:
    for words in (0, 7, 16):
        rate = round(165 / 1.24)
        spoken = espeak.speak(TEXTS[words], "gmw/en-US", rate, 50, 45)
        minutes = len(np.trim_zeros(spoken)) / espeak.SAMPLE_RATE_HZ / 60
        assert len(TEXTS[words].split()) / minutes == pytest.approx(165, rel=0.1)


def test_tremor_modulates_the_fundamental_frequency_at_5_hz() -> None:
    depth = 0.06
    steady, trembling = (f0_track(synthesise(replace(MAN, tremor=t), QUIET, 6.0)) for t in (0.0, depth))
    difference = np.log(trembling / steady)
    at_s = np.arange(len(difference)) * HOP / RATE_HZ
    voiced = np.isfinite(difference) & (np.abs(difference) < 0.2)  # without jumps of an octave
    assert voiced.mean() > 0.4

    def depth_at(frequency_hz: float) -> float:
        angle = 2 * np.pi * frequency_hz * at_s[voiced]
        basis = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], 1)
        return float(np.hypot(*np.linalg.lstsq(basis, difference[voiced], rcond=None)[0][:2]))

    assert depth_at(5.0) == pytest.approx(depth, rel=0.3)
    assert max(depth_at(3.0), depth_at(8.0)) < depth / 3


def periodicity(waveform: np.ndarray) -> float:
    """Median over voiced frames of the normalised autocorrelation at one period: 1 without any noise."""
    found = praat(waveform).selected_array
    return float(np.median(found["strength"][found["frequency"] > 0]))


def test_breathiness_lowers_periodicity() -> None:
    clear, middle, breathy = (periodicity(synthesise(replace(MAN, breathiness=b), QUIET, 4.0)) for b in (0, 0.5, 1))
    assert clear > middle > breathy
    assert 1 - breathy > 2 * (1 - clear)


def test_rooms_fill_the_pauses() -> None:
    def pause_over_speech_db(room: str) -> float:
        waveform = synthesise(MAN, replace(QUIET, room=room), 6.0)
        loudness = rms(waveform, 400, 160)
        return float(20 * np.log10(np.percentile(loudness, 8) / np.percentile(loudness, 90)))

    dry, office, hall = (pause_over_speech_db(room) for room in ROOMS)
    assert dry + 6 < office < hall - 3


def test_background_noise_is_at_its_level() -> None:
    def pause_over_all_db(noise_db: float) -> float:
        waveform = synthesise(replace(MAN, breathiness=0.0), replace(QUIET, noise_db=noise_db, words=11), 6.0)
        power = rms(waveform, 400, 160) ** 2
        pauses = power <= np.percentile(power, 5)  # where there is nothing but the noise
        return float(10 * np.log10(power[pauses].mean() / power.mean()))

    assert pause_over_all_db(-28) - pause_over_all_db(-40) == pytest.approx(12, abs=1.5)
    assert pause_over_all_db(-28) == pytest.approx(-28, abs=3)


def test_texts_last_ten_seconds_at_the_fastest_rate() -> None:
    assert len(set(TEXTS)) == NUM_TEXTS
    assert min(len(text.split()) for text in TEXTS) >= 220 * 10 / 60


def test_a_text_that_ends_early_is_read_again() -> None:
    waveform = synthesise(replace(MAN, rate_wpm=220), QUIET, 30.0)
    loudness = rms(waveform, 16_000, 16_000)
    assert loudness.min() > 0.3 * loudness.max()


def test_unknown_values_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"room must be one of dry, office, hall \(got 'cave'\)"):
        synthesise(MAN, replace(QUIET, room="cave"), 1.0)
    with pytest.raises(ValueError, match="accent must be one of en-us, "):
        synthesise(replace(MAN, accent="en-xx"), QUIET, 1.0)
    with pytest.raises(ValueError, match="words must be one of 0, 1, "):
        synthesise(MAN, replace(QUIET, words=NUM_TEXTS), 1.0)
    with pytest.raises(ValueError, match="duration_s must be above 0"):
        synthesise(MAN, QUIET, 0.0)
    with pytest.raises(ValueError, match="no voice 'gmw/en-XX'"):
        espeak.speak("Hello", "gmw/en-XX", 150, 50, 50)
    with pytest.raises(ValueError, match=r"pitch must be in 0..99 for espeak-ng \(got 100\)"):
        espeak.speak("Hello", "gmw/en", 150, 100, 50)


def features(index: int) -> np.ndarray:
    """What an ear might note in one recording: pitch, its wobble, noise, pace, and the mean and spread of the spectrum."""
    waveform = synthesise(draw_speaker(0, index), draw_video(0, index, 0), 6.0)
    pitch = praat(waveform)
    f0, periodic = pitch.selected_array["frequency"], pitch.selected_array["strength"]
    at = np.round(pitch.xs() * RATE_HZ / HOP).astype(int)
    loudness = frames_of(np.pad(waveform, 512), 1024)[at].std(1)
    voiced = (f0 > 0) & (loudness > 0.2 * np.percentile(loudness, 95))
    glide = np.diff(np.log(np.where(voiced, f0, 1)))[voiced[1:] & voiced[:-1]]
    noise_db = 10 * np.log10(1 / np.clip(periodic[voiced], 0, 0.9999) - 1 + 1e-6)
    beat = np.abs(np.fft.rfft(np.log(loudness + 1e-4) - np.log(loudness + 1e-4).mean()))[1:96] ** 2
    cepstrum = MFCC(torch.from_numpy(waveform)).numpy()[:, at]
    onsets = np.diff(cepstrum[0]).clip(0)
    pace = [(beat * np.arange(1, 96)).sum() / beat.sum(), onsets.mean()]
    melody = [np.log(np.median(f0[voiced])), np.median(np.abs(glide)), noise_db.mean()]
    return np.concatenate([melody, pace, cepstrum[:, voiced].mean(1), cepstrum[:, voiced].std(1)])


@pytest.mark.slow
def test_what_is_linked_can_be_heard_and_so_can_the_controls() -> None:
    """Probes of simple features over 150 speakers, each predicted from the other nine tenths."""
    num = 150
    x = np.stack([features(i) for i in range(num)])
    speakers, videos = [draw_speaker(0, i) for i in range(num)], [draw_video(0, i, 0) for i in range(num)]
    folds = KFold(10, shuffle=True, random_state=0)
    penalties = np.logspace(-2, 4, 13)

    def correlation(name: str) -> tuple[float, list[float]]:
        truth = np.array([getattr(s, name) for s in speakers])
        guess = cross_val_predict(make_pipeline(StandardScaler(), RidgeCV(penalties)), x, truth, cv=folds)
        within = [np.corrcoef(truth[sex == k], guess[sex == k])[0, 1] for k in ("f", "m")]
        return float(np.corrcoef(truth, guess)[0, 1]), within

    def accuracy(truth: np.ndarray) -> float:
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(penalties))
        return float((cross_val_predict(model, x, truth, cv=folds) == truth).mean())

    sex = np.array([s.sex for s in speakers])
    assert accuracy(sex) >= 0.98
    overall, within_sex = correlation("vocal_tract_length_cm")
    assert overall >= 0.85 and min(within_sex) >= 0.6
    assert correlation("age_years")[0] >= 0.8
    assert accuracy(np.array([s.accent for s in speakers])) > 0.5  # chance is 0.25 to 0.3
    assert accuracy(np.array([v.room for v in videos])) > 0.55  # chance is 0.33 to 0.4
    assert correlation("skin_tone")[0] < 0.2  # what is not in the voice is not found; a little below 0 by the folds
