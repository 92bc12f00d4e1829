"""A video's sound as mono 16 kHz PCM16, on the frame clock: sample 0 is heard when the first picture is shown.

ffmpeg left to itself starts each output at its own first sample, and so loses how the sound lies against the pictures. Here the
container's times are kept (`-copyts`), shifted so that the first picture is at 0, and `aresample` fills or cuts the start and
any hole of more than `SOUND_GAP_SECONDS` to make the samples sit at their times.
"""

from __future__ import annotations

import argparse
import re
import wave
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from abaw_pipeline.atomic import whole_file, write_json
from abaw_pipeline.config import Wav
from abaw_pipeline.errors import InputError
from abaw_pipeline.media.container import REMEDY, SOUND_GAP_SECONDS, Pictures, Sound, read_container

MESSAGES_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `wav`."""
    parser.add_argument("--video", type=Path, required=True, help="video file")
    parser.add_argument("--output", type=Path, required=True, help="WAV file; holds no sample when the video has no sound track")
    parser.add_argument("--record", type=Path, required=True, help="JSON: lengths, offset, and every sample padded or trimmed")
    parser.add_argument("--settings", default="{}", help="JSON of the `wav` settings")


def main(args: argparse.Namespace) -> None:
    """Write the wav and its record; raises InputError when the video or its sound cannot be read."""
    settings = Wav.model_validate_json(args.settings)
    pictures, sound = read_container(args.video)
    with whole_file(args.output) as aside:
        if sound is None:
            write_silence(aside, settings.rate)
            messages: list[str] = []
        else:
            messages = extract(args.video, aside, sound.index, pictures.first_frame, settings)
        with wave.open(str(aside)) as written:
            samples = written.getnframes()
        record = describe(pictures, sound, samples, settings.rate)
        if sound is not None and samples == 0 and record["expected_samples"] > 0:
            raise InputError(f"{args.video}: ffmpeg found no sound in its sound track{_tail(messages)}; {REMEDY}")
    write_json(args.record, record | {"decoder_messages": len(messages), "decoder_first_messages": messages[:MESSAGES_SHOWN]})


def extract(video: Path, wav: Path, stream: int, first_frame: float, settings: Wav) -> list[str]:
    """Write sound stream number `stream` of `video` to `wav`, time 0 being `first_frame` on the container clock.

    Gives the decoder's complaints. The same input gives the same bytes. Raises InputError with ffmpeg's last words when it fails.
    """
    source = ffmpeg.input(str(video.absolute()), threads=1)
    sound = source[str(stream)].filter("asetpts", f"PTS-({first_frame!r})/TB")
    sound = sound.filter("aresample", settings.rate, min_comp=1e-4, min_hard_comp=SOUND_GAP_SECONDS, first_pts=0, ochl="mono", osf="s16")
    plain: dict[str, Any] = {"map_metadata": -1, "fflags": "+bitexact", "flags": "+bitexact", "threads": 1}
    command = ffmpeg.output(sound, str(wav), format="wav", acodec="pcm_s16le", **plain)
    command = command.global_args("-nostdin", "-hide_banner", "-loglevel", "error", "-copyts", "-filter_complex_threads", "1")
    try:
        _, said = ffmpeg.run(command, cmd=settings.ffmpeg or imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True, capture_stderr=True)
    except FileNotFoundError:
        raise InputError(f"wav.ffmpeg: no program {settings.ffmpeg!r}; leave it empty for the one in imageio-ffmpeg") from None
    except ffmpeg.Error as error:
        raise InputError(f"{video}: ffmpeg cannot read its sound{_tail(_lines(error.stderr))}; {REMEDY}") from None
    return _lines(said)


def write_silence(wav: Path, rate: int) -> None:
    """A valid mono PCM16 file without a sample."""
    with wave.open(str(wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)


def describe(pictures: Pictures, sound: Sound | None, samples: int, rate: int) -> dict[str, Any]:
    """The record of a wav: what the container says, and what was done to bring `samples` samples onto the frame clock.

    `padded_samples` is silence in front of sound that starts after the first picture, `trimmed_samples` is sound before the first
    picture, `gap_samples` silence in holes of the track, `overlap_samples` sound that the track holds twice, and
    `unexplained_samples` what the file has beyond `expected_samples`, the end of the track on the frame clock.
    """
    record = {"track": sound is not None, "rate": rate, "samples": samples, "seconds": samples / rate, "picture_seconds": pictures.duration}
    offset = 0.0 if sound is None else sound.start - pictures.first_frame
    expected = 0 if sound is None else max(0, round((sound.end - pictures.first_frame) * rate))
    return record | {
        "offset_seconds": round(offset, 6),
        "declared_seconds": None if sound is None else sound.declared_seconds,
        "padded_samples": max(0, round(offset * rate)),
        "trimmed_samples": max(0, round(-offset * rate)),
        "gap_samples": 0 if sound is None else round(sound.gap_seconds * rate),
        "overlap_samples": 0 if sound is None else round(sound.overlap_seconds * rate),
        "expected_samples": expected,
        "unexplained_samples": samples - expected,
    }


def _lines(said: bytes) -> list[str]:
    """What ffmpeg said, without the memory addresses that would make two runs differ."""
    return [re.sub(r" @ 0x[0-9a-f]+", "", line) for line in said.decode("utf-8", "replace").splitlines() if line.strip()]


def _tail(lines: list[str]) -> str:
    return ":\n  " + "\n  ".join(lines[-MESSAGES_SHOWN:]) + "\n" if lines else ""
