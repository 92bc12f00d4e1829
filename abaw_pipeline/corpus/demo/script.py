"""What the people of the demo corpus say: everyday sentences whose words go with valence and arousal.

Each sentence is one whose telling words pocketsphinx recognises from most of the synthetic voices, or at least mistakes
for the same words each time; most sentences tried were not.
"""

from __future__ import annotations

import numpy as np

CALM = {
    "bad": (
        "i feel sorry for them",
        "i am sorry for your loss",
        "he lost his job",
        "she was sick and lonely",
        "he was afraid and alone",
        "she has a serious injury",
    ),
    "plain": (
        "there are several reasons",
        "there are several languages",
        "in the middle of the road",
        "there are seven windows",
        "he works in the office",
    ),
    "good": (
        "thank you my friend",
        "she has a beautiful smile",
        "it is a beautiful song",
        "it is a beautiful garden",
        "he has a gentle smile",
        "we had a nice weekend",
    ),
}
INTENSE = {
    "bad": (
        "he was angry and afraid",
        "this is a serious problem",
        "there is a serious danger",
        "she was afraid of the violence",
        "the soldiers were afraid",
        "he is angry and guilty",
    ),
    "plain": (
        "in the morning we went to school",
        "this is the second question",
        "the paper is on the table",
        "the train goes to the north",
        "she works in the library",
    ),
    "good": (
        "everybody was laughing",
        "we are so happy",
        "it is really amazing",
        "this is wonderful",
        "it is a beautiful picture",
        "thank you for the music",
    ),
}
PLAIN = 0.45
"""Valence this far to either side of 0 gives plain sentences (standard deviations)."""


def phrase(valence: float, arousal: float, draw: np.random.Generator) -> str:
    """A sentence for a state, given in standard deviations."""
    feeling = "bad" if valence < -PLAIN else "good" if valence > PLAIN else "plain"
    choices = (INTENSE if arousal > 0 else CALM)[feeling]
    return choices[int(draw.integers(len(choices)))]
