"""Speech from espeak-ng, through the library and voices that the package `espeakng-loader` carries.

espeak-ng is licensed under GPL-3.0 or later and is installed as a package of its own; none of it is in this project.
"""

import ctypes
import sys
import threading
from typing import Any

import espeakng_loader
import numpy as np
import numpy.typing as npt

if sys.platform == "win32":
    from _ctypes import FreeLibrary as _unload
else:
    from _ctypes import dlclose as _unload

# from espeak-ng's speak_lib.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
PITCHES = (0, 99)
RATES_WPM = (80, 450)

SAMPLE_RATE_HZ = 22_050

_lock = threading.Lock()  # the library has one state a process
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, voice: str, rate_wpm: int, pitch: int, pitch_range: int) -> npt.NDArray[np.float32]:
    """Read `text` aloud: float32 [T] in -1..1 at 22,050 Hz, the same for the same arguments in any process.

    `voice` is a voice file of espeak-ng, a variant after a plus sign ("gmw/en-US+f1"); `pitch` and `pitch_range` are
    its scales of 0..99. The library keeps the state of its oscillators from one utterance to the next, so it is loaded
    anew for each (1 ms).
    Raises `ValueError` for an unknown voice or a value out of range.
    """
    for name, value, (low, high) in (
        ("rate_wpm", rate_wpm, RATES_WPM),
        ("pitch", pitch, PITCHES),
        ("pitch_range", pitch_range, PITCHES),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must be in {low}..{high} for espeak-ng (got {value})")
    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            return _speak(library, text, voice, rate_wpm, pitch, pitch_range)
        finally:
            library.espeak_Terminate()
            _unload(library._handle)


def _speak(
    library: ctypes.CDLL, text: str, voice: str, rate_wpm: int, pitch: int, pitch_range: int
) -> npt.NDArray[np.float32]:
    pieces: list[npt.NDArray[np.int16]] = []

    @_Callback
    def collect(samples: Any, num_samples: int, _events: Any) -> int:
        if samples and num_samples:
            pieces.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return 0  # go on

    data = espeakng_loader.get_data_path()
    rate_hz = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), 0)
    if rate_hz != SAMPLE_RATE_HZ:
        raise RuntimeError(f"espeak-ng did not start with its data in {data} ({rate_hz}); reinstall espeakng-loader")
    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise ValueError(f"espeak-ng has no voice {voice!r}; its voices are the files below {data}")
    for parameter, value in ((PARAMETER_RATE, rate_wpm), (PARAMETER_PITCH, pitch), (PARAMETER_RANGE, pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    speech: npt.NDArray[np.float32] = np.concatenate(pieces).astype(np.float32)
    return speech / np.float32(32768)
