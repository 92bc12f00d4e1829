"""Sentence ends for recognised words: same words, same count, with marks, capitals and a sentence number."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from abaw_pipeline.atomic import write_json
from abaw_pipeline.config import Punctuation
from abaw_pipeline.language.words import read_shard
from abaw_pipeline.progress import Progress

MARKS = ".,?-:!;"
"""What the engines put behind a word. The model knows the first five."""
SENTENCE_ENDS = ".?!"

Punctuator = Callable[[Sequence[dict[str, Any]]], list[str]]
"""Takes the words of a video (`text`, `start`, `end`) and returns the mark behind each, empty for none."""


def no_marks(words: Sequence[dict[str, Any]]) -> list[str]:
    """Everything said is one sentence."""
    return [""] * len(words)


def pauses(seconds: float) -> Punctuator:
    """A full stop before every silence of `seconds` or longer, and behind the last word."""

    def marks(words: Sequence[dict[str, Any]]) -> list[str]:
        gaps = [after["start"] - before["end"] for before, after in itertools.pairwise(words)]
        return ["." if gap >= seconds else "" for gap in [*gaps, seconds]][: len(words)]

    return marks


def punctuated(words: Sequence[dict[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
    """The words with `punctuated` text and `sentence` number (from 0, rising by one behind a sentence end).

    A sentence's first word gets a capital. A mark that the word brings itself is not doubled, and also ends a sentence.
    """
    result, sentence, first = [], 0, True
    for word, mark in zip(words, marks, strict=True):
        text = word["text"][:1].upper() + word["text"][1:] if first else word["text"]
        if mark and text[-1:] not in MARKS:
            text += mark
        result.append(word | {"punctuated": text, "sentence": sentence})
        first = text[-1:] in SENTENCE_ENDS and bool(text)
        sentence += first
    return result


def load_engine(settings: Punctuation) -> Punctuator:
    """The configured engine. torch is imported for `model` only."""
    if settings.engine == "none":
        return no_marks
    if settings.engine == "pauses":
        return pauses(settings.pause_seconds)
    from abaw_pipeline.language import punctuation_model
    from abaw_pipeline.models import weights

    return punctuation_model.load(weights.find(settings.model))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `punctuate`."""
    parser.add_argument("--transcripts", type=Path, required=True, help="shard written by `recognise`")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--settings", default="{}", help="settings of punctuation, as JSON")


def main(args: argparse.Namespace) -> None:
    """Punctuate every video of the shard and write one JSON file."""
    settings = Punctuation.model_validate_json(args.settings)
    shard = read_shard(args.transcripts)
    engine = load_engine(settings)
    with Progress("punctuate", round(sum(content["seconds"] for content in shard["videos"].values()), 1), "s") as shown:
        for video, content in shard["videos"].items():
            content["words"] = punctuated(content["words"], engine(content["words"]))
            shown.advance(content["seconds"], video)
    write_json(args.output, shard | {"punctuation": settings.engine})
