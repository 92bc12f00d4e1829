"""The people of the demo corpus: lasting traits, and a hidden valence and arousal that shows, each time with noise.

Everything is drawn from the seed and a name, so that a person looks and sounds the same in every video, and adding
videos changes nothing about the others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PERIODS = (4.0, 12.0)
"""Seconds that a wave of the hidden state takes: several highs and lows within a video of 14 s."""
WAVES = 5
SPREAD = 0.5
"""Annotation = tanh(SPREAD * state), the state having a standard deviation of about 1."""
SHARED = 0.7
"""How much two people of one video feel alike (correlation of their states)."""

# How far each channel strays, in units of `DemoCorpus.noise`: (valence, arousal). The face tells more of valence, the
# words too, the voice of arousal and hardly of valence; no channel tells all.
STRAY = {"face": (1.0, 2.4), "voice": (16.0, 1.3), "words": (1.3, 3.0)}


@dataclass(frozen=True)
class Expression:
    """A person's state over time as one channel shows it: values around 0 with a standard deviation near 1."""

    times: Floats
    valence: Floats
    arousal: Floats

    def at(self, time: float) -> tuple[float, float]:
        """Valence and arousal at one time."""
        return float(np.interp(time, self.times, self.valence)), float(np.interp(time, self.times, self.arousal))


def generator(seed: int, *key: str) -> np.random.Generator:
    """A stream of random numbers of its own for every key."""
    return np.random.default_rng([seed, *(zlib.crc32(part.encode()) for part in key)])


def smooth(times: Floats, draw: np.random.Generator) -> Floats:
    """A smooth random function of time, mean 0 and standard deviation 1 over `times`."""
    low, high = np.log(PERIODS)
    periods = np.exp(draw.uniform(low, high, WAVES))
    phases = draw.uniform(0, 2 * np.pi, WAVES)
    return _standard(np.sin(2 * np.pi * times[:, None] / periods + phases).sum(axis=1))


def states(times: Floats, seed: int, video: str, subjects: list[str]) -> list[Expression]:
    """The hidden state of each person of a video at `times` (seconds).

    Valence and arousal are uncorrelated within a video. Each person has a modest offset of their own; people of
    one video share part of their feelings.
    """
    found: list[Expression] = []
    for number, subject in enumerate(subjects):
        draw = generator(seed, "state", video, str(number))
        valence, arousal = smooth(times, draw), smooth(times, draw)
        if number:
            rest = np.sqrt(1 - SHARED**2)
            valence = SHARED * found[0].valence + rest * valence
            arousal = SHARED * found[0].arousal + rest * arousal
        valence = _standard(valence)
        arousal = _standard(arousal - valence * np.mean(arousal * valence))
        offset = generator(seed, "offset", subject).normal(0, 0.2, 2).clip(-0.4, 0.4)
        found.append(Expression(times, valence + offset[0], arousal + offset[1]))
    return found


def annotation(state: Expression) -> Floats:
    """Valence and arousal in [-1, 1] as annotated, three decimals: (n, 2)."""
    values: Floats = np.tanh(SPREAD * np.stack([state.valence, state.arousal], axis=1))
    return values.round(3)


def shown(state: Expression, channel: str, noise: float, draw: np.random.Generator) -> Expression:
    """What `channel` (face, voice, words) shows of a state: the state and smooth noise of the channel's own."""
    stray = [noise * factor for factor in STRAY[channel]]
    return Expression(
        state.times,
        (state.valence + stray[0] * smooth(state.times, draw)) / np.hypot(1, stray[0]),
        (state.arousal + stray[1] * smooth(state.times, draw)) / np.hypot(1, stray[1]),
    )


def _standard(values: Floats) -> Floats:
    centred: Floats = values - values.mean()
    return centred / max(float(centred.std()), 1e-9)
