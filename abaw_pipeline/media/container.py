"""What a video's container says about its pictures and its sound, without decoding the pictures.

Times on the *container clock* are as written in the file; times on the *frame clock* count from the first picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError

SOUND_GAP_SECONDS = 0.02
"""A hole or overlap of sound packets longer than this is real; a shorter one is rounding of the container's clock."""
JITTER_SECONDS = 0.0015
"""Frames whose distance strays further than this have a variable rate; containers with a clock of milliseconds stray by one."""
Stamp = tuple[int | None, int | None, int]
"""A packet's presentation time, decoding time and duration, in ticks."""
REMEDY = "replace it by the original file, or leave the video out of the corpus"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The picture stream; `time` (n,) is on the frame clock in seconds, in order of presentation."""

    time: NDArray[np.float64]
    first_frame: float
    """Container clock, seconds."""
    duration: float
    """From the first picture's start to the last one's end, seconds."""
    fps_mean: float
    variable_rate: bool
    rate_assumed: bool
    """The file holds no times for its packets, so every picture lasts as long as the header's rate says."""
    hidden: int
    """Packets that the container tells players not to show (edit lists); they are not in `time`, as decoders leave them out."""
    declared: int
    """Pictures that the header counts, hidden ones included; 0 when it does not say. More than were found: the file is cut short."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """The sound stream, in seconds on the container clock."""

    index: int
    """Number of the stream in the container."""
    start: float
    """Of the first audible sample: encoder delay that the container tells players to skip does not count."""
    end: float
    """Of the last packet."""
    declared_seconds: float | None
    """Length that the header says."""
    gap_seconds: float
    """Holes between packets, all together."""
    overlap_seconds: float
    """Packets that begin before the one before them has ended, all together."""


def read_container(path: Path) -> tuple[Pictures, Sound | None]:
    """Times of every picture, and the extent of the sound (None where there is none).

    Raises InputError when the file is absent, empty, no video, or cut off so that nothing can be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such video file; check the corpus folder in the configuration")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; {REMEDY}")
    try:
        return _read(path)
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be read as a video ({error.strerror}); {REMEDY}") from None


def _read(path: Path) -> tuple[Pictures, Sound | None]:
    with av.open(str(path), metadata_errors="replace") as container:
        shown = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not shown:
            raise InputError(f"{path}: has no picture stream (format: {container.format.long_name}); {REMEDY}")
        best = container.streams.best("video")
        picture_stream = best if isinstance(best, VideoStream) and best in shown else shown[0]
        sound_stream = container.streams.best("audio")
        stamps: list[Stamp] = []
        sounds: list[tuple[int, int]] = []
        hidden = 0
        for packet in container.demux([stream for stream in (picture_stream, sound_stream) if stream is not None]):
            if packet.size == 0:  # end of the stream, or an avi's "show the last picture again", which decoders pass over
                continue
            if packet.stream_index != picture_stream.index:
                if packet.pts is not None:
                    sounds.append((packet.pts, packet.duration or 0))
            elif packet.is_discard:
                hidden += 1
            else:
                stamps.append((packet.pts, packet.dts, packet.duration or 0))
        if not stamps:
            raise InputError(f"{path}: its picture stream holds no picture; {REMEDY}")
        pictures = _pictures(picture_stream, stamps, hidden, stored=container.format.name != "avi")
        if sound_stream is None or not sounds:
            return pictures, None
        base = float(sound_stream.time_base or 1)
        declared = None if sound_stream.duration is None else sound_stream.duration * base
        start, index = sound_stream.start_time, sound_stream.index
        even = isinstance(sound_stream, AudioStream) and sound_stream.codec_context.frame_size > 0
    first_sample = _first_sample(path)
    if first_sample is None:
        first_sample = (min(sounds)[0] if start is None else start) * base
    gaps, overlaps, end = _extent(sounds, base, even)
    return pictures, Sound(index=index, start=first_sample, end=end, declared_seconds=declared, gap_seconds=gaps, overlap_seconds=overlaps)


def _pictures(stream: VideoStream, stamps: list[Stamp], hidden: int, stored: bool) -> Pictures:
    base = float(stream.time_base or 1)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    ticks = presentation_ticks(stamps, 1 / (rate * base), stored)
    gaps = np.diff(ticks) * base
    usual = float(np.median(gaps)) if len(gaps) else 1 / rate
    last = max(stamps, key=lambda stamp: stamp[0] if stamp[0] is not None else 0)[2] * base
    span = float(ticks[-1] - ticks[0]) * base
    return Pictures(
        time=(ticks - ticks[0]) * base,
        first_frame=float(ticks[0]) * base,
        duration=span + (last if stored and last > 0 else usual),
        fps_mean=len(gaps) / span if span > 0 else rate,
        rate_assumed=all(any(stamp[clock] is None for stamp in stamps) for clock in (0, 1)),
        variable_rate=bool(len(gaps)) and float(np.abs(gaps - usual).max()) > JITTER_SECONDS,
        hidden=hidden,
        declared=stream.frames,
    )


def presentation_ticks(stamps: list[Stamp], frame_ticks: float, stored: bool = True) -> NDArray[np.float64]:
    """Presentation times (n,) in clock ticks, sorted, from packets' (pts, dts, duration) in decoding order.

    Packets come in decoding order, so that B-frames must be sorted. An avi stores no presentation times (`stored` is false): its
    n-th chunk is the n-th moment, sound starts with the first, and what libav guesses for B-frames is late by their delay and wrong
    at the end; so the decoding times are the moments. Where there are neither, every frame takes `frame_ticks`.
    """
    pts = [stamp[0] for stamp in stamps if stamp[0] is not None]
    dts = [stamp[1] for stamp in stamps if stamp[1] is not None]
    for ticks in (pts, dts) if stored else (dts, pts):
        if len(ticks) == len(stamps):
            return np.sort(np.array(ticks, dtype=np.float64))
    return np.arange(len(stamps), dtype=np.float64) * frame_ticks


def _first_sample(path: Path) -> float | None:
    """Container time of the first sample that a decoder gives out: priming that players skip is skipped here too."""
    with av.open(str(path), metadata_errors="replace") as container:
        try:
            frame = next(container.decode(container.streams.best("audio")))
        except (av.error.FFmpegError, StopIteration):
            return None
        return frame.time if isinstance(frame, AudioFrame) else None


def _extent(sounds: list[tuple[int, int]], base: float, even: bool) -> tuple[float, float, float]:
    """Holes, overlaps and end, in seconds, of sound packets given as (pts, duration) in ticks.

    `even`: the codec's packets all hold the same number of samples. Then a packet that claims to last longer hides a hole, as mp4 does.
    """
    spans = np.array(sorted(sounds), dtype=np.float64) * base
    if even:
        spans[:, 1] = np.minimum(spans[:, 1], np.median(spans[:, 1]))
    ends = spans.sum(1)
    steps = spans[1:, 0] - ends[:-1]
    if not spans[:, 1].all():  # durations unknown: nothing can be said about holes
        steps = steps[:0]
    return float(steps[steps > SOUND_GAP_SECONDS].sum()), float(-steps[steps < -SOUND_GAP_SECONDS].sum()), float(ends.max())
