"""The submission template of the test set: which frames of which trials are to be predicted.

Header `image_location,valence,arousal`, then rows such as `video7_left/00001.jpg,,`. Its frame counts are the
authority for the lengths of test trials; they are often one more than what a decoder counts.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError

HEADER = "image_location,valence,arousal"
_LOCATION = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)/0*([1-9][0-9]*)\.(?:jpg|png)")


def read_template(path: Path) -> dict[str, NDArray[np.int64]]:
    """Image numbers (from 1, in the template's order) of each trial, trials in order of first appearance.

    Values in the rows are ignored. Raises InputError for a bad header, a bad location, or one that comes twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the submission template ({error})") from None
    lines = text.rstrip().split("\n")
    if lines[0].replace(" ", "").strip().lower() != HEADER:
        raise InputError(f"{path}, line 1: expected the header {HEADER!r}, found {lines[0][:80]!r}; is this the template?")
    numbers: dict[str, list[int]] = {}
    for row, line in enumerate(lines[1:], start=2):
        location = _LOCATION.fullmatch(line.split(",", 1)[0].strip())
        if location is None:
            raise InputError(f"{path}, line {row}: expected `trial/00001.jpg,,`, found {line[:80]!r}; restore the template")
        numbers.setdefault(location[1], []).append(int(location[2]))
    if not numbers:
        raise InputError(f"{path}: no row after the header; restore the template")
    for trial, images in numbers.items():
        if len(set(images)) != len(images):
            twice = next(image for image in images if images.count(image) > 1)
            raise InputError(f"{path}: {trial}/{twice:05d}.jpg comes twice; remove one of the rows")
    return {trial: np.array(images, np.int64) for trial, images in numbers.items()}


def template_frames(path: Path, trial: str) -> int:
    """How many frames the template gives a trial: its highest image number. Raises InputError when it has no row."""
    images = read_template(path).get(trial)
    if images is None:
        raise InputError(f"{path}: no row for the test trial {trial}; the template and the list of test trials do not fit together")
    return int(images.max())
