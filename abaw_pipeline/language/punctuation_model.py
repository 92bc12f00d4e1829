"""deepmultilingualpunctuation: a token classifier that says which mark stands behind each word.

The package's own `predict` asserts that no chunk was clipped, drops a short last chunk and, with repeated text, takes a
middle chunk for the last one. Here its model is run over chunks of our own making, so that every word gets exactly one mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepmultilingualpunctuation import PunctuationModel

from abaw_pipeline.errors import InputError
from abaw_pipeline.language.context import best_piece, pieces
from abaw_pipeline.language.punctuate import Punctuator

CHUNK_WORDS = 230
"""As in the package: far enough below the model's 512 tokens for usual words."""
OVERLAP_WORDS = 10
MARKS = frozenset(".,?-:")
_MARK_OUTSIDE_NUMBER = re.compile(r"(?<!\d)[.,;:!?](?!\d)")

Pipe = Callable[[str], list[dict[str, Any]]]
"""Takes a text and returns its sub-words in order, each with `entity`, `start` and `end` (characters)."""


def load(folder: Path) -> Punctuator:
    """The model in `folder`, on the GPU when there is one."""
    try:
        pipe: Pipe = PunctuationModel(model=str(folder)).pipe
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is not a token classification model for transformers ({error})") from None
    return lambda words: predict(pipe, [word["text"] for word in words])


def predict(pipe: Pipe, words: Sequence[str]) -> list[str]:
    """The mark behind each word, empty for none; as many as there are words, whatever the model returns."""
    # As the package does, marks go before the model sees the text; a word of marks alone stays, to keep the count.
    bare = [_MARK_OUTSIDE_NUMBER.sub("", word) or word for word in words]
    spans = pieces([1] * len(bare), CHUNK_WORDS, OVERLAP_WORDS)
    labels = [_labels(pipe, bare[start:stop]) for start, stop in spans]
    return [labels[piece][item - spans[piece][0]] for item, piece in enumerate(best_piece([1] * len(bare), spans))]


def _labels(pipe: Pipe, words: Sequence[str]) -> list[str]:
    """Marks of one chunk. A chunk that the model clips is halved, down to single words, of which the part it sees counts."""
    text = " ".join(words)
    tokens = pipe(text)
    if len(words) > 1 and (not tokens or tokens[-1]["end"] < len(text.rstrip())):
        half = len(words) // 2
        return _labels(pipe, words[:half]) + _labels(pipe, words[half:])
    marks, token, end = [], 0, 0
    for word in words:
        end += len(word) + 1
        mark = ""
        # The last sub-word decides, as in the package.
        while token < len(tokens) and tokens[token]["end"] < end:
            mark = tokens[token]["entity"]
            token += 1
        marks.append(mark if mark in MARKS else "")
    return marks
