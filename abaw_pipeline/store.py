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
BLACK_SIZE = 48
"""Edge of the black frames of a trial without images."""
NOT_ANNOTATED = -5.0
NAMED = 4
"""Parts named of a file that is another program's or another stage's."""
ATTRIBUTES = ("trial", "video", "partition", "group", "format_version", "settings", "audit")
PARTITIONS = ("train", "validation", "test")
ARRAYS = {
    "face_present": (("F",), np.bool_),
    "time": (("F",), np.float64),
    "rows": (("N",), np.int64),
    "frame": (("N",), np.int64),
    "logmel": (("M", LOGMEL_BANDS), np.float16),
    "logmel_start": (("N",), np.int32),
    "words": (("W", "D"), np.float16),
    "word": (("N",), np.int32),
    "word_time": (("W", 2), np.float64),
}
"""Shape and type of each dataset that every file has, besides `frames` and `word_text`."""

BROKEN = (OSError, KeyError, RuntimeError, ValueError, MemoryError)
"""What h5py raises for a file whose bytes were damaged, as by a full disk or an interrupted copy."""


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


def write_trial(path: Path, data: TrialData, frames: NDArray[np.uint8] | Path | None) -> None:
    """Write a trial's file whole or not at all.

    `frames` is the (F, S, S, 3) array, a file whose dataset `frames` is linked by relative path, or None for a trial
    without images: black frames, which take no space.
    """
    with whole_file(path) as aside, h5py.File(aside, "w", track_order=True) as file:
        attributes = {"trial": data.trial, "video": data.video, "partition": data.partition, "group": data.group}
        file.attrs.update(attributes | {"format_version": FORMAT_VERSION})
        file.attrs["settings"] = json.dumps(data.settings, sort_keys=True)
        file.attrs["audit"] = json.dumps(data.audit, sort_keys=True)
        if isinstance(frames, Path):
            file["frames"] = h5py.ExternalLink(os.path.relpath(frames, path.parent), "/frames")
        elif frames is None:
            shape = (len(data.time), BLACK_SIZE, BLACK_SIZE, 3)
            file.create_dataset("frames", shape, np.uint8, chunks=(1, *shape[1:]))
        else:
            file.create_dataset("frames", data=frames)
        for name, (_, kind) in ARRAYS.items():
            file.create_dataset(name, data=np.asarray(getattr(data, name), kind))
        if data.label is not None:
            file.create_dataset("label", data=data.label)
        file.create_dataset("word_text", data=data.word_text, dtype=h5py.string_dtype(), shape=(len(data.word_text),))


def read_trial(path: Path) -> TrialData:
    """Read everything but the frames. Raises InputError when the file is absent, broken or of another version."""
    with open_trial(path) as file:
        arrays = {name: file[name][()] for name in ARRAYS}
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
    """Open a trial's file for reading. Raises InputError when it is absent, broken, of another version or lacks a part."""
    file = _opened(path)
    missing = [name for name in (*ARRAYS, "word_text") if name not in file] + [name for name in ATTRIBUTES if name not in file.attrs]
    if missing:
        file.close()
        raise InputError(f"{path}: no {', '.join(missing)}; run the dataset stage again")
    return file


def _opened(path: Path) -> h5py.File:
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
    """What is wrong with a trial's file, in words; empty when it is valid. Reads everything but the frames."""
    try:
        if stranger := _stranger(path):
            return [stranger]
        with _opened(path) as file:
            problems = _check_attributes(file) + _check_frames(file, path) + _check_arrays(file)
        return problems or _check_content(read_trial(path))
    except InputError as error:
        return [str(error).removeprefix(f"{path}: ")]
    except BROKEN as error:
        return [f"broken: {error}; delete it and run the dataset stage again"]


def _stranger(path: Path) -> str:
    """Why `path` can be no trial's file at all; empty when it can."""
    if path.is_dir():
        return f"a folder; name the files in it: {path}/*.h5"
    if not path.exists():
        return "no such file"
    if not h5py.is_hdf5(path):
        return "cannot be read as HDF5; a trial's file is dataset/{trial}.h5. If this is one, delete it and run the dataset stage again"
    with h5py.File(path, "r") as file:
        if "format_version" in file.attrs:
            return ""
        held = ", ".join(list(file)[:NAMED]) or "nothing"
    return f"HDF5, but no trial's file: it has no format version, and holds {held}; a trial's file is dataset/{{trial}}.h5"


def _check_attributes(file: h5py.File) -> list[str]:
    problems = [f"attribute {name}: missing" for name in ATTRIBUTES if name not in file.attrs]
    for name in {"settings", "audit"} & set(file.attrs):
        try:
            if not isinstance(json.loads(str(file.attrs[name])), dict):
                problems.append(f"attribute {name}: not a JSON object")
        except ValueError:
            problems.append(f"attribute {name}: not JSON")
    partition = file.attrs.get("partition", PARTITIONS[0])
    if partition not in PARTITIONS:
        problems.append(f"attribute partition: {partition!r} is none of {', '.join(PARTITIONS)}")
    return problems


def _check_frames(file: h5py.File, path: Path) -> list[str]:
    link = file.get("frames", getlink=True)
    if link is None:
        return ["frames: missing"]
    if isinstance(link, h5py.ExternalLink):
        target = path.parent / link.filename
        if not target.is_file():
            return [f"frames: linked file {target} is missing; run the frames stage"]
        if not h5py.is_hdf5(target) or "frames" not in file:
            return [f"frames: linked file {target} holds no dataset {link.path}; run the frames stage"]
    frames = file["frames"]
    if not isinstance(frames, h5py.Dataset):
        return ["frames: not a dataset"]
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3:
        return [f"frames: expected (F, S, S, 3) uint8, found {frames.shape} {frames.dtype}"]
    if isinstance(file.get("time"), h5py.Dataset) and frames.shape[:1] != file["time"].shape:
        return [f"frames: {frames.shape[0]} frames, but `time` has {file['time'].shape}"]
    return []


def _check_arrays(file: h5py.File) -> list[str]:
    """Presence, types and shapes, which must agree with each other."""
    wanted = dict(ARRAYS)
    if "label" in file or file.attrs.get("partition") != "test":
        wanted["label"] = (("N", 2), np.float32)
    problems: list[str] = []
    sizes: dict[str, tuple[int, str]] = {}
    for name, (shape, kind) in wanted.items():
        if name not in file:
            problems.append(f"{name}: missing")
            continue
        found = file[name]
        if not isinstance(found, h5py.Dataset):
            problems.append(f"{name}: not a dataset")
            continue
        if found.dtype != kind:
            problems.append(f"{name}: expected {np.dtype(kind)}, found {found.dtype}")
        if found.ndim != len(shape):
            problems.append(f"{name}: expected {len(shape)} dimensions, found shape {found.shape}")
            continue
        for axis, (size, length) in enumerate(zip(shape, found.shape, strict=True)):
            expected, reason = (size, "") if isinstance(size, int) else sizes.setdefault(size, (length, f" as in {name}"))
            if length != expected:
                problems.append(f"{name}: length {length} along axis {axis}, expected {expected}{reason}")
    if "word_text" not in file:
        problems.append("word_text: missing")
    elif not isinstance(file["word_text"], h5py.Dataset):
        problems.append("word_text: not a dataset")
    elif h5py.check_string_dtype(file["word_text"].dtype) is None:
        problems.append(f"word_text: expected strings, found {file['word_text'].dtype}")
    elif "W" in sizes and file["word_text"].shape != sizes["W"][:1]:
        problems.append(f"word_text: shape {file['word_text'].shape}, expected {sizes['W'][0]} words{sizes['W'][1]}")
    return problems


def _check_content(data: TrialData) -> list[str]:
    """Values, in a file whose types and shapes are right."""
    frames, spectrum, words = len(data.time), len(data.logmel), len(data.words)
    slid = data.settings.get("rows") == "report"
    label = np.zeros((0, 2)) if data.label is None else data.label
    allowed = (np.abs(label) <= 1) | ((label == NOT_ANNOTATED) & slid)
    last_start = spectrum - LOGMEL_WINDOW if spectrum else -1
    findings = {
        "time: not finite": ~np.isfinite(data.time),
        "time: decreasing": np.diff(data.time) < 0,
        "rows: not increasing": np.diff(data.rows) <= 0,
        f"rows: outside the {frames} frames": (data.rows < 0) | (data.rows >= frames),
        f"frame: outside the {frames} frames": (data.frame < 0) | (data.frame >= frames),
        "frame: differs from rows, although not settings.rows: report": (data.frame != data.rows) & (not slid),
        "label: outside [-1, 1]": ~allowed,
        "logmel: not finite": ~np.isfinite(data.logmel),
        f"logmel_start: outside 0 to {last_start}, the last full window"
        if spectrum
        else "logmel_start: not -1 although there is no sound": (data.logmel_start < min(0, last_start)) | (data.logmel_start > last_start),
        f"word: outside -1 to {words - 1}": (data.word < -1) | (data.word >= words),
        "words: not finite": ~np.isfinite(data.words),
        "word_time: not finite": ~np.isfinite(data.word_time),
        "word_time: starts decrease": np.diff(data.word_time[:, 0]) < 0,
        "word_time: ends before it starts": data.word_time[:, 1] < data.word_time[:, 0],
    }
    problems = ["rows: none"] if not len(data.rows) else []
    if 0 < spectrum < LOGMEL_WINDOW:
        problems.append(f"logmel: {spectrum} rows are less than one window of {LOGMEL_WINDOW}")
    for what, wrong in findings.items():
        where = np.argwhere(wrong)
        if len(where):
            problems.append(f"{what} ({len(where)} of {wrong.size}, first at {int(where[0][0])})")
    if not problems:
        problems += _check_words(data)
    return problems


def _check_words(data: TrialData) -> list[str]:
    """Each row's word must span its time: start < t <= end."""
    spoken = np.flatnonzero(data.word >= 0)
    time, span = data.time[data.rows[spoken]], data.word_time[data.word[spoken]]
    wrong = spoken[(time <= span[:, 0]) | (time > span[:, 1])]
    return [f"word: {len(wrong)} rows lie outside the span of their word, first at {wrong[0]}"] if len(wrong) else []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="dataset/{trial}.h5 files")


def main(args: argparse.Namespace) -> int:
    """Check each file; exit status 1 when any has a problem."""
    bad = 0
    for path in args.files:
        problems = check_trial(path)
        bad += bool(problems)
        print(f"{path}:" if problems else f"{path}: valid", *(f"  - {problem}" for problem in problems), sep="\n")
    print(f"{len(args.files) - bad} valid, {bad} with problems", file=sys.stderr)
    return 1 if bad else 0
