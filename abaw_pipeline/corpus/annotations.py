"""Annotation files: one row per frame, -5 where a frame is not annotated.

Row i (from 0) of the data belongs to frame i, image `%05d.jpg` of i + 1. Values lie in [-1, 1].
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError

HEADER = "valence,arousal"
NOT_ANNOTATED = -5.0
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def read_annotation(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values (n, 2) of *all* rows of the file (valence, arousal; -5 as it stands), and the kept frame numbers.

    A frame is kept when neither of its values is -5, so `values[kept]` are the labels and `kept` their frames.
    A byte-order mark, CRLF line ends and blank lines at the very end are tolerated; everything else that is not a
    header `valence,arousal` followed by rows of two numbers, each -5 or within [-1, 1], is an InputError that names
    file, line and remedy.
    """
    values = _parse(Path(path))
    kept = np.flatnonzero((values != NOT_ANNOTATED).all(axis=1)).astype(np.int64)
    return values.astype(np.float32), kept


def report_rows(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frame numbers that the authors' code keeps: a row goes when valence + arousal = -10, so one -5 alone stays."""
    return np.flatnonzero(values.sum(axis=1) != 2 * NOT_ANNOTATED).astype(np.int64)


def _parse(path: Path) -> NDArray[np.float64]:
    """All rows as float64 (n, 2), checked."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read the annotation file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file (byte {error.start}); save it as plain text") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    if lines[0].replace(" ", "").lower() != HEADER:
        shown = lines[0][:60]
        raise InputError(f"{path}, line 1: expected the header {HEADER!r}, found {shown!r}; is this a valence-arousal annotation?")
    if len(lines) == 1:
        raise InputError(f"{path}: no row after the header; restore the file from the corpus")
    try:
        values = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError:
        values = np.empty((0, 2))
    # loadtxt skips blank lines without a word, which would shift every later row: hence the comparison of lengths.
    if values.shape != (len(lines) - 1, 2):
        raise InputError(_first_problem(path, lines))
    bad = ~((values == NOT_ANNOTATED) | (np.abs(values) <= 1.0))
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise InputError(
            f"{path}, line {row + 2}: {lines[row + 1]!r}: expected two numbers within [-1, 1], or -5 for a frame not annotated"
        )
    return values


def _first_problem(path: Path, lines: list[str]) -> str:
    """Name the first row that is not two numbers."""
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split(",")
        if not line.strip():
            return f"{path}, line {number}: blank; rows count the frames, so put the missing values (or -5,-5) there"
        if len(cells) != 2:
            return f"{path}, line {number}: expected 2 columns, found {len(cells)} in {line!r}; mend the row"
        wrong = [cell for cell in cells if not _NUMBER.fullmatch(cell)]
        if wrong:
            return f"{path}, line {number}: {wrong[0].strip()!r} is not a number; mend the row (-5 means not annotated)"
    return f"{path}: cannot be read as rows of two numbers; restore the file from the corpus"
