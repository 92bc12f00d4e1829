"""Transcripts that the user brings: WebVTT, SRT, CTM or JSON, with the time of each word or of each line.

A line's time is spread over its words in proportion to their letters. All times count from the video's first frame,
which is where a player's clock stands at zero.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from abaw_pipeline.errors import InputError
from abaw_pipeline.language.words import Recognised, Recogniser, Word

_INLINE_TIME = re.compile(r"<((?:\d+:)?\d{1,2}:\d{2}\.\d{3})>")
_TAG = re.compile(r"<[^>]*>")


@dataclass
class Found:
    """Words of a file as they are read, with what is counted on the way."""

    words: list[Word]
    spread_lines: int = 0
    repeated_lines: int = 0
    without_confidence: bool = True


def load(folder: str) -> Recogniser:
    """A recogniser that ignores the sound and reads `{folder}/{video}.vtt`, `.srt`, `.ctm` or `.json`."""
    if not folder or not Path(folder).is_dir():
        raise InputError(
            f"recognition.transcripts: {folder or '(empty)'} is not a folder; name the folder that holds one transcript per video"
        )

    def recognise(video: str, sound: Iterator[bytes]) -> Recognised:
        seconds = sum(len(piece) for piece in sound) / 2 / 16000
        found = read(transcript_of(Path(folder), video))
        late = sum(word.start >= seconds for word in found.words) if seconds else 0
        notes = [
            f"{found.spread_lines} line times spread over their words" if found.spread_lines else "",
            f"{found.repeated_lines} repeated lines of rolling captions left out" if found.repeated_lines else "",
            "no confidence given, taken as 1" if found.words and found.without_confidence else "",
            f"{late} words begin after the sound ends" if late else "",
            "no word in the transcript" if not found.words else "",
        ]
        return Recognised(words=found.words, note="; ".join(note for note in notes if note))

    return recognise


def transcript_of(folder: Path, video: str) -> Path:
    """The one transcript of a video. Raises InputError when there is none or more than one."""
    paths = [folder / f"{video}{suffix}" for suffix in READERS]
    present = [path for path in paths if path.is_file()]
    if not present:
        raise InputError(
            f"{folder}: no transcript of video {video}; add one of {', '.join(path.name for path in paths)} "
            "(a WebVTT file without lines says that nothing is said)"
        )
    if len(present) > 1:
        raise InputError(f"{folder}: video {video} has several transcripts, {', '.join(path.name for path in present)}; keep one")
    return present[0]


def read(path: Path) -> Found:
    """The words of a transcript, in order of their start.

    Raises InputError, with the line where there is one, when the file is not of its format, a time runs backwards, or a
    confidence is not from 0 to 1.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    found = READERS[path.suffix](path, text)
    for word in found.words:
        if not 0 <= word.start <= word.end < math.inf:
            raise InputError(f"{path}: {word.text!r} runs from {word.start} to {word.end} s; mend its times")
        if not 0 <= word.confidence <= 1:
            raise InputError(f"{path}: {word.text!r} has confidence {word.confidence}; give shares from 0 to 1, or none")
    found.words.sort(key=lambda word: (word.start, word.end))
    return found


def spread(text: str, start: float, end: float) -> list[Word]:
    """The words of a line said from `start` to `end`: each gets a share of the time in proportion to its letters."""
    texts = text.split()
    total = sum(len(word) for word in texts)
    words, before = [], 0
    for word in texts:
        times = [start + (end - start) * letters / total for letters in (before, before + len(word))]
        words.append(Word(text=word, start=times[0], end=times[1]))
        before += len(word)
    return words


def _captions(path: Path, text: str) -> Found:
    """WebVTT or SRT. Times inside a line (`<00:00:01.200>`) are word times.

    Captions that roll, as video sites make them with word times, show each line again in the next caption; a line equal to
    one of the caption before is then left out.
    """
    found = Found([])
    if path.suffix == ".srt" and not text.strip():
        return found
    lines = text.splitlines()
    try:
        captions = webvtt.from_buffer(iter(lines), format=path.suffix[1:]).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        raise InputError(f"{path}: is not {path.suffix[1:].upper()} ({error})") from None
    timed = sum("-->" in line for line in lines)
    if timed != len(captions):
        raise InputError(f"{path}: {timed} lines hold `-->` but only {len(captions)} captions can be read; mend the time lines")
    rolling = any(_INLINE_TIME.search(caption.raw_text) for caption in captions)
    before: list[str] = []
    for caption in captions:
        start, end = caption.start_time.in_milliseconds() / 1000, caption.end_time.in_milliseconds() / 1000
        shown = [_TAG.sub("", line).strip() for line in caption.lines]
        fresh = [line for line, plain in zip(caption.lines, shown, strict=True) if not (rolling and plain in before)]
        found.repeated_lines += sum(bool(plain) and rolling and plain in before for plain in shown)
        before = [plain for plain in shown if plain]
        parts = _INLINE_TIME.split(" ".join(fresh))
        times = [start, *map(_seconds, parts[1::2]), end]
        for number, part in enumerate(parts[::2]):
            words = spread(html.unescape(_TAG.sub("", part)), times[number], times[number + 1])
            found.words += words
            found.spread_lines += len(words) > 1
    return found


def _seconds(clock: str) -> float:
    """Seconds of `[hh:]mm:ss.mmm`."""
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total


def _ctm(path: Path, text: str) -> Found:
    """NIST CTM: recording, channel, start, duration, word and, if given, confidence."""
    found = Found([])
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            start, duration, word = float(fields[2]), float(fields[3]), fields[4]
            confidence = float(fields[5]) if len(fields) > 5 else 1.0
        except (IndexError, ValueError):
            raise InputError(
                f"{path}, line {number}: expected `recording channel start duration word [confidence]`, found {line!r}"
            ) from None
        found.without_confidence &= len(fields) <= 5
        found.words.append(Word(text=word, start=start, end=start + duration, confidence=confidence))
    return found


def _json(path: Path, text: str) -> Found:
    """A list of words or lines, alone or as `words`, `result` (Vosk), `segments` (Whisper), nested or not.

    Each has `start`, `end` and `text` or `word`; a confidence may be called `confidence`, `conf` or `probability`.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error})") from None
    found = Found([])
    for number, entry in enumerate(_entries(path, value)):
        spoken = entry.get("word", entry.get("text"))
        confidence = next((entry[key] for key in ("confidence", "conf", "probability") if key in entry), None)
        try:
            start, end = float(entry["start"]), float(entry["end"])
            words = spread(str(spoken).strip(), start, end)
            known = 1.0 if confidence is None else float(confidence)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}, entry {number}: expected start, end and text or word, found {entry!r}") from None
        if spoken is None:
            raise InputError(f"{path}, entry {number}: has neither `text` nor `word`: {entry!r}")
        found.words += [Word(text=word.text, start=word.start, end=word.end, confidence=known) for word in words]
        found.spread_lines += len(words) > 1
        found.without_confidence &= confidence is None
    return found


def _entries(path: Path, value: Any) -> Iterator[dict[str, Any]]:
    """The innermost timed entries of a transcript."""
    if isinstance(value, dict):
        inner = next((value[key] for key in ("words", "result", "segments") if isinstance(value.get(key), list)), None)
        if inner is None or ("start" in value and not inner):
            yield value
        else:
            yield from _entries(path, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _entries(path, item)
    else:
        raise InputError(f"{path}: expected a list of words or lines, found {value!r}")


READERS: dict[str, Callable[[Path, str], Found]] = {".vtt": _captions, ".srt": _captions, ".ctm": _ctm, ".json": _json}
