"""A trial's face images as one array of small squares, frame by frame; black where there is no face.

Image `%05d.jpg` of n shows frame n - 1. Pixels are to the last bit those that PIL gives (`convert("RGB")`, then `resize` with its
default filter, bicubic), as in the authors' preparation. simplejpeg decodes to the same bits as PIL in 0.6 of the time, both being
libjpeg-turbo; whatever it does not decode cleanly is left to PIL. JPEG's draft mode would be quicker still, but not equal.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from abaw_pipeline.atomic import whole_file
from abaw_pipeline.config import Frames
from abaw_pipeline.corpus.annotations import read_annotation
from abaw_pipeline.corpus.template import template_frames
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import Progress

IMAGE_NAME = re.compile(r"(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
BLOCK = 1024
"""Frames held in memory at a time."""
NAMES_SHOWN = 3


@dataclass(kw_only=True)
class Counts:
    """What was found for a trial's F frames."""

    images: int = 0
    """Image files in the folder."""
    surplus: int = 0
    """Images whose number lies beyond F; not used."""
    other_files: int = 0
    """Files that are no numbered image; not used."""
    missing: int = 0
    """Frames without an image file."""
    corrupt: list[str] = field(default_factory=list)
    """Names of images that cannot be decoded; their frames count as without a face."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `frames`."""
    parser.add_argument("--trial", required=True, help="name of the trial")
    parser.add_argument("--faces", type=Path, help="folder of face images; without it the trial has no pictures")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--annotation", type=Path, help="annotation file: its rows are the trial's frames")
    length.add_argument("--template", type=Path, help="submission template: its rows of this trial are the trial's frames")
    parser.add_argument("--timestamps", type=Path, help="frame times; their number counts where neither of these is given")
    parser.add_argument("--output", type=Path, required=True, help="HDF5: `frames` (F, S, S, 3) uint8, `face_present` (F)")
    parser.add_argument("--settings", default="{}", help="JSON of the `frames` settings")


def main(args: argparse.Namespace) -> None:
    """Write the frames and the counts of what is surplus, missing and corrupt."""
    size = Frames.model_validate_json(args.settings).size
    total = frame_count(args.trial, args.annotation, args.template, args.timestamps)
    counts = Counts()
    numbered = {} if args.faces is None else list_images(args.faces, counts)
    with whole_file(args.output) as aside, h5py.File(aside, "w", libver="v108") as file:  # v108: room for a long list of corrupt images
        frames = file.create_dataset("frames", (total, size, size, 3), np.uint8)
        present = file.create_dataset("face_present", (total,), np.bool_)
        with Progress(f"frames {args.trial}", total, "frames") as shown:
            for start, block, seen in shrunk(numbered, total, size, args.threads or 1, counts):
                frames[start : start + len(block)] = block
                present[start : start + len(block)] = seen
                shown.advance(len(block))
        file.attrs["size"] = size
        file.attrs["images"] = counts.images
        file.attrs["surplus_images"] = counts.surplus
        file.attrs["other_files"] = counts.other_files
        file.attrs["missing"] = counts.missing
        file.attrs["corrupt"] = json.dumps(counts.corrupt)
    if counts.corrupt:
        shown_names = ", ".join(counts.corrupt[:NAMES_SHOWN])
        print(f"{args.faces}: {len(counts.corrupt)} images cannot be decoded ({shown_names}…); they count as no face", file=sys.stderr)


def frame_count(trial: str, annotation: Path | None, template: Path | None, timestamps: Path | None) -> int:
    """F: rows of the annotation (-5 included), else rows of the template, else pictures in the container."""
    if annotation is not None:
        return len(read_annotation(annotation)[0])
    if template is not None:
        return template_frames(template, trial)
    if timestamps is None:
        raise InputError(f"{trial}: neither video, annotation nor template tells how long it is; give it one of these")
    try:
        with h5py.File(timestamps, "r") as file:
            return len(file["time"])
    except (OSError, KeyError) as error:
        raise InputError(f"{timestamps}: cannot be read ({error}); run the timestamps stage again") from None


def list_images(folder: Path, counts: Counts) -> dict[int, str]:
    """Path of each image by its frame, from 0. Raises InputError for a folder that is absent or ambiguously numbered."""
    numbered: dict[int, str] = {}
    try:
        entries = sorted((entry.name, entry.path) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: no folder of face images ({error.strerror}); crop the faces first") from None
    for name, path in entries:
        match = IMAGE_NAME.fullmatch(name)
        if match is None:
            counts.other_files += 1
            continue
        counts.images += 1
        frame = int(match[1]) - 1
        if frame < 0:
            raise InputError(f"{path}: images count from 1 (00001.jpg shows the first frame); rename the images of this folder")
        if frame in numbered:
            raise InputError(f"{path}: frame {frame + 1} has another image, {Path(numbered[frame]).name}; remove one of them")
        numbered[frame] = path
    return numbered


def shrunk(
    numbered: dict[int, str], total: int, size: int, threads: int, counts: Counts
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield (first frame, squares (k, size, size, 3), face present (k)) over all `total` frames, and fill in `counts`."""
    counts.surplus = sum(frame >= total for frame in numbered)
    counts.missing = total - (len(numbered) - counts.surplus)

    with ThreadPoolExecutor(threads) as pool:  # PIL lets go of the interpreter while it decodes and shrinks
        for start in range(0, total, BLOCK):
            stop = min(start + BLOCK, total)
            block, seen = np.zeros((stop - start, size, size, 3), np.uint8), np.zeros(stop - start, np.bool_)
            here = [frame for frame in range(start, stop) if frame in numbered]

            def place(frames: list[int], start: int = start, block: NDArray[Any] = block, seen: NDArray[Any] = seen) -> None:
                for frame in frames:
                    square = shrink(numbered[frame], size)
                    if square is not None:
                        block[frame - start], seen[frame - start] = square, True

            list(pool.map(place, [here[worker::threads] for worker in range(threads)]))
            counts.corrupt += [Path(numbered[frame]).name for frame in here if not seen[frame - start]]
            yield start, block, seen


def shrink(path: str, size: int) -> NDArray[np.uint8] | None:
    """The image as (size, size, 3), or None when it cannot be decoded to its end."""
    try:
        with io.FileIO(path) as file:  # read at once and raw: PIL would read a file in pieces
            return np.asarray(decoded(file.read()).resize((size, size)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what PIL raises for broken files of various kinds
        return None


def decoded(content: bytes) -> Image.Image:
    """An image file's content in RGB, as PIL gives it. Raises what PIL raises for a file that is none, or ends too early."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours in ("YCbCr", "Gray") and height * width <= (Image.MAX_IMAGE_PIXELS or 0):
            pixels = simplejpeg.decode_jpeg(content, "RGB")
            return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)
    except ValueError:
        pass  # no JPEG, or one with a fault that PIL may forgive
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")
