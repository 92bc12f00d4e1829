"""What the people of the demo corpus say: everyday sentences whose words go with valence and arousal.

Each sentence is one that speech recognition gets mostly right from synthetic voices, its telling words above all.
"""

from __future__ import annotations

import numpy as np

CALM = {
    "bad": (
        "i feel sorry for them",
        "my father is dead",
        "he lost his job",
        "she was sick and lonely",
        "nobody wants to help",
        "i am very sad",
    ),
    "plain": ("she walked down the street", "about seven people came", "in the morning we went to school", "there are several reasons"),
    "good": ("thank you my friend", "i feel much better now", "she is a good friend", "it is a beautiful picture"),
}
INTENSE = {
    "bad": ("he was angry and afraid", "the war killed my father", "this is a serious problem", "this is terrible"),
    "plain": ("this is the second question", "the system has several parts", "according to the report"),
    "good": ("this is wonderful", "we are so happy", "it is really amazing", "everybody was laughing"),
}
PLAIN = 0.45
"""Valence this far to either side of 0 gives plain sentences (standard deviations)."""


def phrase(valence: float, arousal: float, draw: np.random.Generator) -> str:
    """A sentence for a state, given in standard deviations."""
    feeling = "bad" if valence < -PLAIN else "good" if valence > PLAIN else "plain"
    choices = (INTENSE if arousal > 0 else CALM)[feeling]
    return choices[int(draw.integers(len(choices)))]
