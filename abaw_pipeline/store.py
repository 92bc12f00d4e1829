"""The HDF5 file of one trial: schema, whole-or-nothing writing, reading, and validation.

Datasets (F frames of the video or face track, N kept rows, M log-mel rows, W words, D features per word):

    frames (F, S, S, 3) uint8, may be an external link; black where no face was found
    face_present (F) bool
    time (F) float64, seconds from the first frame
    rows (N) int64, kept frame numbers from 0, increasing
    frame (N) int64, the frame that each row shows (equal to `rows` unless `fidelity.rows: report`)
    label (N, 2) float32, valence and arousal in [-1, 1]; none for test trials
    logmel (M, 64) float16; M = 0 when the video has no sound track
    logmel_start (N) int32, first of the 96 log-mel rows that a row sees; -1 without sound
    words (W, D) float16, word_text (W) str, word_time (W, 2) float64 seconds
    word (N) int32, the word spoken at each row; -1 for none

Attributes: trial, video, partition, group, format_version, settings (JSON), audit (JSON: counts for the audit table).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.atomic import whole_file
from abaw_pipeline.errors import InputError

FORMAT_VERSION = 1
LOGMEL_BANDS = 64
LOGMEL_WINDOW = 96


@dataclass(frozen=True, kw_only=True)
class TrialData:
    """Everything in a trial's file but the frames, which are linked or given apart."""

    trial: str
    video: str
    partition: str
    group: str
    settings: dict[str, Any]
    time: NDArray[np.float64]
    face_present: NDArray[np.bool_]
    rows: NDArray[np.int64]
    frame: NDArray[np.int64]
    label: NDArray[np.float32] | None
    logmel: NDArray[np.float16]
    logmel_start: NDArray[np.int32]
    words: NDArray[np.float16]
    word: NDArray[np.int32]
    word_text: list[str]
    word_time: NDArray[np.float64]
    audit: dict[str, Any] = field(default_factory=dict)


def write_trial(path: Path, data: TrialData, frames: NDArray[np.uint8] | Path) -> None:
    """Write a trial's file whole or not at all.

    `frames` is the (F, S, S, 3) array, or a file whose dataset `frames` is linked by relative path.
    """
    with whole_file(path) as aside, h5py.File(aside, "w", track_order=True) as file:
        attributes = {"trial": data.trial, "video": data.video, "partition": data.partition, "group": data.group}
        file.attrs.update(attributes | {"format_version": FORMAT_VERSION})
        file.attrs["settings"] = json.dumps(data.settings, sort_keys=True)
        file.attrs["audit"] = json.dumps(data.audit, sort_keys=True)
        if isinstance(frames, Path):
            file["frames"] = h5py.ExternalLink(os.path.relpath(frames, path.parent), "/frames")
        else:
            file.create_dataset("frames", data=frames)
        for name in ("face_present", "time", "rows", "frame", "logmel", "logmel_start", "words", "word", "word_time"):
            file.create_dataset(name, data=getattr(data, name))
        if data.label is not None:
            file.create_dataset("label", data=data.label)
        file.create_dataset("word_text", data=data.word_text, dtype=h5py.string_dtype(), shape=(len(data.word_text),))


def read_trial(path: Path) -> TrialData:
    """Read everything but the frames. Raises InputError when the file is absent, broken or of another version."""
    with open_trial(path) as file:
        arrays = {
            name: file[name][()]
            for name in ("face_present", "time", "rows", "frame", "logmel", "logmel_start", "words", "word", "word_time")
        }
        return TrialData(
            trial=str(file.attrs["trial"]),
            video=str(file.attrs["video"]),
            partition=str(file.attrs["partition"]),
            group=str(file.attrs["group"]),
            settings=json.loads(str(file.attrs["settings"])),
            audit=json.loads(str(file.attrs["audit"])),
            label=file["label"][()] if "label" in file else None,
            word_text=[str(text) for text in file["word_text"].asstr()[()]],
            **arrays,
        )


def open_trial(path: Path) -> h5py.File:
    """Open a trial's file for reading, or raise InputError."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({error}); delete it and run the dataset stage again") from None
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        file.close()
        raise InputError(f"{path}: format version {version}, expected {FORMAT_VERSION}; run the dataset stage again")
    return file


def check_trial(path: Path) -> list[str]:
    """What is wrong with a trial's file, in words; empty when it is valid."""
    raise NotImplementedError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="dataset/{trial}.h5 files")


def main(args: argparse.Namespace) -> int:
    """Check each file; exit status 1 when any has a problem."""
    bad = 0
    for path in args.files:
        problems = check_trial(path)
        bad += bool(problems)
        print(f"{path}: {'valid' if not problems else ''}", *[f"  - {problem}" for problem in problems], sep="\n" if problems else "")
    print(f"{len(args.files) - bad} valid, {bad} with problems", file=sys.stderr)
    return 1 if bad else 0
