"""Speech: espeak-ng from the espeakng-loader package, phrase by phrase.

espeak-ng carries hidden state from one call to the next: the same calls give the same samples only in a fresh process.
So one process speaks for one video and no more.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import espeakng_loader
import numpy as np

from abaw_pipeline.corpus.demo.person import Expression, Floats, generator
from abaw_pipeline.corpus.demo.script import phrase

RATE = 22050
"""Samples per second that espeak-ng gives."""
_RETRIEVAL, _UTF8 = 1, 1
_SPEED, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_QUIET = 250
"""Samples below this (of 32767) at the ends of a phrase are cut off."""

VOICES = ("f2", "f5", "m6", "f3", "klatt4")
"""Variants of the American voice that speech recognition understands best."""
LEVEL = 0.06
"""Root mean square of a phrase spoken with a neutral state, full scale being 1."""
GAIN_DB = 5.0
"""How much louder a phrase gets per unit of arousal."""


@dataclass(frozen=True)
class Spoken:
    """A phrase of the sound track."""

    start: float
    end: float
    text: str
    speaker: int


def speech(seconds: float, seed: int, video: str, speakers: list[tuple[str, Expression, Expression]]) -> tuple[Floats, list[Spoken]]:
    """The sound of a video, mono at `RATE`, in [-1, 1], and what is said when.

    `speakers` are (subject, voice expression, words expression); they take turns. Arousal makes speech louder, higher
    and faster with shorter pauses; valence makes it brighter and its melody livelier. The last phrase may be cut off
    by the end, as in real clips.
    """
    samples = generator(seed, "room", video).normal(0, 0.0005, round(seconds * RATE))
    draw = generator(seed, "speech", video)
    said: list[Spoken] = []
    time = float(draw.uniform(0.1, 0.3))
    turn = 0
    while time < seconds - 0.3:
        subject, voice, words = speakers[turn % len(speakers)]
        valence, arousal = voice.at(time + 0.6)
        text = phrase(*words.at(time + 0.6), draw)
        sound = _spoken(seed, subject, text, valence, arousal)
        begin = round(time * RATE)
        sound = sound[: len(samples) - begin]
        at = time + np.arange(len(sound)) / RATE
        level = 10 ** (GAIN_DB / 20 * np.clip(np.interp(at, voice.times, voice.arousal), -2.2, 2.2))
        samples[begin : begin + len(sound)] += sound * level
        end = time + len(sound) / RATE
        said.append(Spoken(round(time, 3), round(end, 3), text, turn % len(speakers)))
        time = end + float(np.clip(0.28 - 0.08 * arousal, 0.1, 0.5))
        turn += 1
    return np.tanh(samples), said


def _spoken(seed: int, subject: str, text: str, valence: float, arousal: float) -> Floats:
    """One phrase at the neutral level, with the subject's voice."""
    draw = generator(seed, "voice", subject)
    variant = VOICES[int(draw.integers(len(VOICES)))]
    pitch, speed = draw.uniform(38, 56), draw.uniform(138, 152)
    sound = _espeak(
        text,
        f"en-us+{variant}",
        speed=round(float(np.clip(speed + 14 * arousal, 110, 185))),
        pitch=round(float(np.clip(pitch + 11 * arousal, 5, 95))),
        melody=round(float(np.clip(50 + 18 * valence, 5, 100))),
    )
    sound = _brighten(sound, 2.5 * float(np.clip(valence, -2, 2)))
    return sound * (LEVEL / max(float(np.sqrt(np.mean(sound**2))), 1e-6))


def _brighten(sound: Floats, decibels: float) -> Floats:
    """Tilt the spectrum around 1 kHz by `decibels` per octave, up to two octaves either way."""
    size = 1 << (len(sound) - 1).bit_length()
    spectrum = np.fft.rfft(sound, size)
    octaves = np.clip(np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1) / 1000), -2, 2)
    return np.fft.irfft(spectrum * 10 ** (decibels * octaves / 20), size)[: len(sound)]


def _espeak(text: str, voice: str, *, speed: int, pitch: int, melody: int) -> Floats:
    """Samples in [-1, 1] of `text`, without the quiet at its ends."""
    library, chunks = _library()
    chunks.clear()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {voice}")
    for parameter, value in ((_SPEED, speed), (_VOLUME, 60), (_PITCH, pitch), (_RANGE, melody)):
        library.espeak_SetParameter(parameter, value, 0)
    spelled = text.encode()
    library.espeak_Synth(spelled, len(spelled) + 1, 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    sound = np.concatenate(chunks).astype(np.float64)
    loud = np.flatnonzero(np.abs(sound) > _QUIET)
    return sound[loud[0] : loud[-1] + 1] / 32768


@cache
def _library() -> tuple[ctypes.CDLL, list[np.ndarray]]:
    """The library, and the list that it fills with sound."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    chunks: list[np.ndarray] = []

    def receive(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(receive)
    library.callback = callback  # type: ignore[attr-defined]  # kept alive as long as the library
    if library.espeak_Initialize(_RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0) != RATE:
        raise RuntimeError("espeak-ng does not start, or not at 22050 Hz")
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(1)  # breath and roughness are random, otherwise seeded by the clock
    return library, chunks
