"""Small videos made on the spot, with a white flash in the picture and a click in the sound at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 90000
"""Ticks per second in which picture times are given to the encoder."""


def click_track(seconds: float, click: float, rate: int = 44100) -> np.ndarray:
    """Faint noise with one click of 2 ms, centred on `click` seconds."""
    sound = 0.001 * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
    middle = round(click * rate)
    sound[middle - rate // 1000 : middle + rate // 1000] = 0.8
    return sound


def make_video(
    path: Path,
    times: Sequence[float],
    *,
    codec: str = "libx264",
    flash: int = -1,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    sound_codec: str = "aac",
    rate: int = 44100,
    hole: tuple[float, float] | None = None,
    options: dict[str, str] | None = None,
    fps: int = 25,
) -> None:
    """Write pictures shown at `times` (seconds), number `flash` being white, and `sound` (k,) starting at `sound_start`.

    `hole` (from, to) in seconds of `sound` leaves these samples out of the track, so that its packets have a gap.
    """
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=fps, options=options or {})
        pictures.width, pictures.height = 64, 48
        pictures.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        constant = codec in ("mpeg4", "mjpeg")
        pictures.codec_context.time_base = Fraction(1, fps if constant else TICKS)
        track = None
        if sound is not None:
            track = container.add_stream(sound_codec, rate=rate)
            track.layout = "mono"
        for number, time in enumerate(times):
            pixels = np.full((48, 64, 3), 255 if number == flash else 10 + number % 7, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = pictures.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        if track is None or sound is None:
            return
        for first in range(0, len(sound), 1024):
            if hole is not None and hole[0] <= first / rate < hole[1]:
                continue
            part = np.ascontiguousarray(sound[None, first : first + 1024])
            piece = av.AudioFrame.from_ndarray(
                part if track.codec_context.format.name.startswith("flt") else (part * 32767).astype(np.int16),
                format="fltp" if track.codec_context.format.name.startswith("flt") else "s16",
                layout="mono",
            )
            piece.sample_rate, piece.time_base = rate, Fraction(1, rate)
            piece.pts = first + round(sound_start * rate)
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
