"""From times to indices: which log-mel rows and which word go with a frame. Pure functions; one rounding rule each."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LOGMEL_ROWS_PER_SECOND = 100
LOGMEL_WINDOW_ROWS = 96
_ROWS_BEFORE = {"ahead": 0, "centred": LOGMEL_WINDOW_ROWS // 2, "past": LOGMEL_WINDOW_ROWS}


def logmel_starts(times: ArrayLike, window: Literal["ahead", "centred", "past"] = "ahead") -> NDArray[np.int32]:
    """First of the 96 log-mel rows (10 ms each) that a row at each of `times` (n,), seconds on the frame clock, sees.

    The nearest log-mel row, a tie going to the even one: `round(100 t)`, as the authors do, so a start is never more than half a
    hop (5 ms) off, however long the video. `ahead` sees 0.96 s from there on, `centred` half of it before, `past` all of it.
    A start may lie before 0 or too close to the end of the sound: the caller moves it to the nearest full window and counts that.
    Raises ValueError for times that are not finite and for an unknown window.
    """
    if window not in _ROWS_BEFORE:
        raise ValueError(f"window {window!r} is not one of {', '.join(_ROWS_BEFORE)}")
    seconds = np.asarray(times, dtype=np.float64)
    if not np.isfinite(seconds).all():
        raise ValueError("frame times must be finite")
    return (np.rint(LOGMEL_ROWS_PER_SECOND * seconds) - _ROWS_BEFORE[window]).astype(np.int32)


def word_index(times: ArrayLike, word_spans: ArrayLike) -> NDArray[np.int32]:
    """The word spoken at each of `times` (n,), seconds: the one with start < time <= end; -1 where there is none.

    `word_spans` (W, 2) holds start and end of each word in seconds, in any order. Where words overlap, the one that
    started last counts (of two that start together, the later in `word_spans`).
    """
    at = np.asarray(times, dtype=np.float64)
    spans = np.asarray(word_spans, dtype=np.float64).reshape(-1, 2)
    if not len(spans):
        return np.full(len(at), -1, np.int32)
    order = np.argsort(spans[:, 0], kind="stable")
    start, end = spans[order].T
    reach = np.maximum.accumulate(end)  # until when some word up to this one lasts
    found = np.searchsorted(start, at, side="left") - 1  # the last word with start < time
    while len(over := np.flatnonzero((found >= 0) & (at > end[found]))):
        found[over] = np.where(at[over] <= reach[found[over]], found[over] - 1, -1)
    return np.where(found >= 0, order[found], -1).astype(np.int32)
