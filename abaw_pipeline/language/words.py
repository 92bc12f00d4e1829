"""What the language stages pass on: words with times, per video, in one JSON file per shard of videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abaw_pipeline.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Word:
    """One spoken word. Times are seconds from the video's first frame; confidence runs from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """The word as it stands in a shard's file."""
        return {
            "text": self.text,
            "start": round(self.start, 6),
            "end": round(self.end, 6),
            "confidence": round(min(max(self.confidence, 0.0), 1.0), 6),
        }


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What an engine found in one video, and what a reader should know about it (empty: nothing)."""

    words: list[Word]
    note: str = ""


Recogniser = Callable[[str, Iterator[bytes]], Recognised]
"""Takes a video's name and its sound (PCM16, mono, 16 kHz, in pieces); consumes the sound and returns the words.

The result depends on this video alone, never on those recognised before."""


def read_shard(path: Path, keys: tuple[str, ...] = ("text", "start", "end", "confidence")) -> dict[str, Any]:
    """A shard's file as written by `recognise` or `punctuate`; each word must have `keys`.

    Raises InputError when it is absent, is not such a file, or a word lacks a key.
    """
    try:
        shard = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the stage before this one") from None
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); delete it and run the stage that writes it again") from None
    if not isinstance(shard, dict) or not isinstance(shard.get("videos"), dict):
        raise InputError(f"{path}: has no `videos`; give a file written by `recognise` or `punctuate`")
    for video, content in shard["videos"].items():
        for number, word in enumerate(content["words"]):
            missing = [key for key in keys if key not in word]
            if missing:
                raise InputError(
                    f"{path}: video {video}, word {number} has no {', '.join(missing)}; run the stages before this one in order"
                )
    return shard
