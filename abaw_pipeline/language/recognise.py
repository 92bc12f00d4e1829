"""Speech to words with times, for a shard of videos with the model loaded once."""

from __future__ import annotations

import argparse
import wave
from collections.abc import Iterator
from pathlib import Path

from abaw_pipeline.atomic import write_json
from abaw_pipeline.config import Recognition
from abaw_pipeline.errors import InputError
from abaw_pipeline.language.words import Recognised, Recogniser
from abaw_pipeline.progress import Progress

RATE = 16000


def load_engine(settings: Recognition) -> Recogniser:
    """The configured engine, with its model loaded. Only that engine's package is imported."""
    if settings.engine == "vosk":
        from abaw_pipeline.language.engines import vosk
        from abaw_pipeline.models import weights

        return vosk.load(weights.find(settings.model))
    if settings.engine == "pocketsphinx":
        from abaw_pipeline.language.engines import pocketsphinx

        return pocketsphinx.load()
    from abaw_pipeline.language.engines import transcript

    return transcript.load(settings.transcripts)


def wav_frames(path: Path) -> int:
    """Number of samples of a wav. Raises InputError unless it is mono, 16 kHz, 16 bit."""
    try:
        with wave.open(str(path), "rb") as file:
            found = (file.getnchannels(), file.getframerate(), file.getsampwidth())
            if found != (1, RATE, 2):
                raise InputError(
                    f"{path}: has {found[0]} channels of {8 * found[2]} bit at {found[1]} Hz; run `wav` to make mono, 16 bit, 16 kHz"
                )
            return file.getnframes()
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"{path}: cannot be read as WAV ({error}); run `wav` for this video") from None


def pieces(path: Path, seconds: float) -> Iterator[bytes]:
    """The samples of a wav, `seconds` at a time, so that memory does not grow with length."""
    with wave.open(str(path), "rb") as file:
        while piece := file.readframes(max(int(seconds * RATE), 1)):
            yield piece


def recognise_video(engine: Recogniser, video: str, path: Path, chunk_seconds: float, shown: Progress) -> Recognised:
    """Words of one video. Progress counts the sound that the engine has taken."""

    def counted() -> Iterator[bytes]:
        for piece in pieces(path, chunk_seconds):
            shown.advance(len(piece) / 2 / RATE, video)
            yield piece

    found = engine(video, counted())
    note = found.note
    if not note and not found.words:
        note = "no word recognised" if wav_frames(path) else "no sound"
    return Recognised(words=found.words, note=note)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `recognise`."""
    parser.add_argument("--shard-videos", nargs="*", required=True, metavar="VIDEO", help="names of the shard's videos")
    parser.add_argument("--audio", type=Path, required=True, help="folder of {video}.wav")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--settings", default="{}", help="settings of recognition, as JSON")


def main(args: argparse.Namespace) -> None:
    """Recognise every video of the shard and write one JSON file."""
    settings = Recognition.model_validate_json(args.settings)
    wavs = {video: args.audio / f"{video}.wav" for video in args.shard_videos}
    seconds = {video: wav_frames(path) / RATE for video, path in wavs.items()}
    engine = load_engine(settings)
    videos = {}
    with Progress("recognise", round(sum(seconds.values()), 1), "s") as shown:
        for video, path in wavs.items():
            found = recognise_video(engine, video, path, settings.chunk_seconds, shown)
            words = [word.as_json() for word in found.words]
            videos[video] = {"seconds": seconds[video], "words": words, "note": found.note}
    model = settings.model if settings.engine == "vosk" else ""
    write_json(args.output, {"engine": settings.engine, "model": model, "videos": videos})
