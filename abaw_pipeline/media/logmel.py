"""Log-mel spectrogram of VGGish's front end: 100 rows of 64 bands per second of 16 kHz sound.

25 ms periodic Hann windows every 10 ms, magnitude of a 512-point FFT, 64 triangular bands on the HTK mel scale from 125 to
7500 Hz, log(mel + 0.01). numpy does it: on these short transforms it is as quick as torchaudio, whose import alone would cost a job more
time and memory than a video's whole spectrogram (benchmarks/media.py).
"""

from __future__ import annotations

import argparse
import json
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from abaw_pipeline.atomic import whole_file
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import Progress

RATE = 16000
WINDOW = 400
HOP = 160
FFT = 512
BANDS = 64
LOWEST, HIGHEST = 125.0, 7500.0
OFFSET = 0.01
ROWS_PER_SECOND = RATE / HOP
BLOCK_SECONDS = 10
"""Sound transformed at a time; 10 s need about 10 MB."""
EDGE_SECONDS = 1
"""How long the stage repeats the last sample, as the authors do, so that the window of the last frame is full."""


def log_mel_spectrogram(samples: ArrayLike, rate: int = RATE) -> NDArray[np.float32]:
    """Log-mel rows (n, 64), float32, of mono `samples` (k,), floats in [-1, 1].

    n = 1 + (k - 400) // 160, or 0 when there are fewer than 400 samples; nothing is padded. Raises ValueError for other rates and
    for integers, whose scale is unknown.
    """
    sound = np.asarray(samples)
    if rate != RATE:
        raise ValueError(f"the VGGish front end is made for {RATE} Hz, not {rate}; resample first")
    if sound.ndim != 1 or not np.issubdtype(sound.dtype, np.floating):
        raise ValueError(f"samples must be one row of floats in [-1, 1], not {sound.dtype} of shape {sound.shape}")
    block = BLOCK_SECONDS * RATE
    rows = list(log_mel_rows(sound[start : start + block] for start in range(0, len(sound), block)))
    return np.concatenate(rows) if rows else np.empty((0, BANDS), np.float32)


def log_mel_rows(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    """The same for sound that arrives in blocks of any length: where it is cut makes no difference beyond rounding."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    bands = mel_bands().astype(np.float32)
    rest = np.empty(0, np.float32)
    for block in blocks:
        sound = np.concatenate([rest, block.astype(np.float32, copy=False)])
        if len(sound) < WINDOW:
            rest = sound
            continue
        frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
        rest = sound[len(frames) * HOP :]
        magnitude = np.abs(np.fft.rfft(frames * window, FFT, axis=1))
        yield np.log(magnitude @ bands + np.float32(OFFSET))


def mel_bands() -> NDArray[np.float64]:
    """Weights (257, 64) of each FFT bin in each band: triangles on the HTK mel scale, evenly spaced, without the DC bin."""
    edges = np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2)
    bins = _mel(np.arange(FFT // 2 + 1) * RATE / FFT)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    weights[0] = 0.0
    return weights


def _mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def row_count(samples: int) -> int:
    """How many rows `samples` samples give."""
    return max(0, 1 + (samples - WINDOW) // HOP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `logmel`."""
    parser.add_argument("--wav", type=Path, required=True, help="mono 16 kHz PCM16")
    parser.add_argument("--record", type=Path, required=True, help="the JSON that the wav stage wrote beside it")
    parser.add_argument("--output", type=Path, required=True, help="HDF5: dataset `logmel` (M, 64) float16; M = 0 without a sound track")


def main(args: argparse.Namespace) -> None:
    """Write the spectrogram; sound is padded at its end by one second of its last sample, and the file says so."""
    try:
        track = bool(json.loads(args.record.read_text())["track"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{args.record}: not a record of the wav stage; run that stage again") from None
    with _opened(args.wav) as sound, whole_file(args.output) as aside, h5py.File(aside, "w") as file:
        samples = sound.getnframes()
        padded = EDGE_SECONDS * RATE if samples else 0
        rows = row_count(samples + padded)
        dataset = file.create_dataset("logmel", (rows, BANDS), np.float16)
        file.attrs["present"] = track and samples > 0
        file.attrs["rate"] = ROWS_PER_SECOND
        file.attrs["seconds"] = samples / RATE
        file.attrs["edge_padded_samples"] = padded
        done = 0
        with Progress(f"log-mel {args.wav.stem}", samples / RATE, "s of sound") as shown:
            for block in log_mel_rows(_blocks(sound, padded, shown)):
                dataset[done : done + len(block)] = block.astype(np.float16)
                done += len(block)
        if done != rows:
            raise InputError(f"{args.wav}: its header counts {samples} samples, which it does not hold; run the wav stage again")


def _opened(path: Path) -> wave.Wave_read:
    try:
        sound: wave.Wave_read = wave.open(str(path), "rb")  # noqa: SIM115  (the caller closes it)
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"{path}: cannot be read as a WAV file ({error}); run the wav stage again") from None
    form = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
    if form != (1, 2, RATE):
        raise InputError(f"{path}: expected 1 channel of 2 bytes at {RATE} Hz, found {form}; run the wav stage again")
    return sound


def _blocks(sound: wave.Wave_read, padded: int, shown: Progress) -> Iterator[NDArray[np.float32]]:
    """Samples in [-1, 1), then `padded` times the last one."""
    last = np.float32(0)
    while data := sound.readframes(BLOCK_SECONDS * RATE):
        block = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
        last = block[-1]
        yield block
        shown.advance(len(block) / RATE)
    yield np.full(padded, last, np.float32)
