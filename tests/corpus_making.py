"""The parts of a trial as the stages before the dataset leave them, small and with known content; and the stages' own calls."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from abaw_pipeline import dataset
from abaw_pipeline.media import frames

SIZE = 112


def numbered_image(number: int) -> Image.Image:
    """An image whose colour tells its number: 6 bits as a red, green or blue level in four steps each."""
    level = (number % 4, number // 4 % 4, number // 16 % 4)
    return Image.new("RGB", (SIZE, SIZE), tuple(32 + 64 * value for value in level))


def number_of(square: np.ndarray) -> int | None:
    """The number shown in a square (S, S, 3) made from a numbered image of 0 to 63; None for black."""
    red, green, blue = (round((value - 32) / 64) for value in square.mean(axis=(0, 1)))
    return None if not square.any() else red + 4 * green + 16 * blue


def make_parts(
    folder: Path,
    trial: str,
    values: Sequence[tuple[float, float]] | None,
    *,
    times: Sequence[float],
    images: Sequence[int],
    sound_seconds: float | None = None,
    words: Sequence[tuple[float, float]] = (),
    dimension: int = 4,
    number_images: bool = True,
    word_counts: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Files of one trial below `folder`; `images` are frame numbers from 0 that have a face. Gives the dataset stage's options."""
    faces = folder / "faces" / trial
    faces.mkdir(parents=True)
    for frame in images:
        image = numbered_image(frame) if number_images else numbered_image(0)
        image.save(faces / f"{frame + 1:05d}.jpg", quality=95)
    parts: dict[str, Any] = {"trial": trial, "video": trial, "group": trial, "partition": "test", "annotation": None, "template": None}
    if values is not None:
        parts |= {"partition": "train", "annotation": folder / f"{trial}.txt"}
        parts["annotation"].write_text("valence,arousal\n" + "".join(f"{valence},{arousal}\n" for valence, arousal in values))
    parts["timestamps"] = folder / f"{trial}.timestamps.h5"
    with h5py.File(parts["timestamps"], "w") as file:
        file["time"] = np.asarray(times, np.float64)
        file.attrs.update({"fps_mean": 1 / np.median(np.diff(times)), "variable_rate": False, "rate_assumed": False, "hidden_pictures": 0})
    picture = float(times[-1] + np.median(np.diff(times)))
    heard = picture if sound_seconds is None else sound_seconds
    parts["record"] = folder / f"{trial}.json"
    record = {
        "track": heard > 0,
        "seconds": heard,
        "picture_seconds": picture,
        "offset_seconds": 0.0,
    } | dict.fromkeys(dataset.SAMPLE_COUNTS, 0)
    parts["record"].write_text(json.dumps(record))
    parts["logmel"] = folder / f"{trial}.logmel.h5"
    rows = round(100 * (heard + 1)) - 2 if heard > 0 else 0
    with h5py.File(parts["logmel"], "w") as file:
        file["logmel"] = np.repeat(np.arange(rows, dtype=np.float16)[:, None] / 128, 64, axis=1)
        file.attrs["edge_padded_samples"] = 16000 if rows else 0
    parts["features"] = folder / f"{trial}.features.h5"
    with h5py.File(parts["features"], "w") as file:
        group = file.create_group(trial)
        group.attrs.update(dict.fromkeys(dataset.WORD_COUNTS, 0) | (word_counts or {}))
        group["words"] = np.arange(len(words) * dimension, dtype=np.float16).reshape(-1, dimension) / 8
        group["word_time"] = np.asarray(words, np.float64).reshape(-1, 2)
        group.create_dataset("word_text", data=[f"word{n}" for n in range(len(words))], dtype=h5py.string_dtype(), shape=(len(words),))
    parts["faces"], parts["frames"] = faces, folder / "frames" / f"{trial}.h5"
    return parts


def make_dataset(parts: dict[str, Any], output: Path, **settings: str) -> Path:
    """Run the stages `frames` and `dataset` on the parts."""
    names = ("trial", "faces", "annotation", "template", "timestamps")
    frames.main(argparse.Namespace(**{name: parts[name] for name in names}, output=parts["frames"], settings="{}", threads=1))
    dataset.main(argparse.Namespace(**parts, output=output, settings=json.dumps({"rows": "kept", "window": "ahead"} | settings)))
    return output
