"""Vosk: Kaldi models, streamed. PyPI's build runs on the CPU."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from pathlib import Path

import vosk

from abaw_pipeline.errors import InputError
from abaw_pipeline.language.words import Recognised, Recogniser, Word

RATE = 16000


def load(folder: Path) -> Recogniser:
    """A recogniser with the model in `folder`, loaded once. Raises InputError when it is not a Vosk model."""
    vosk.SetLogLevel(-1)
    try:
        model = vosk.Model(str(folder))
    except Exception:
        raise InputError(f"{folder}: is not a Vosk model; give the folder that holds am/, conf/ and graph/") from None

    def recognise(video: str, sound: Iterator[bytes]) -> Recognised:
        # A new recogniser per video: its speaker adaptation must not reach the next one. Kaldi dithers the sound with the C
        # library's random numbers: started anew, equal sound gives equal words.
        ctypes.CDLL(None).srand(0)
        recogniser = vosk.KaldiRecognizer(model, RATE)
        recogniser.SetWords(True)
        words: list[Word] = []
        for piece in sound:
            # True at a pause (and after 20 s of speech at the latest): taking the result frees what was decoded.
            if recogniser.AcceptWaveform(piece):
                words += _words(recogniser.Result())
        # What was said since the last pause; without it a recording that ends in mid speech loses its last words.
        words += _words(recogniser.FinalResult())
        return Recognised(words=words)

    return recognise


def _words(result: str) -> list[Word]:
    return [
        Word(text=word["word"], start=word["start"], end=word["end"], confidence=word["conf"])
        for word in json.loads(result).get("result", [])
    ]
