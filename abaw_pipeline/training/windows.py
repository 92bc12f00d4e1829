"""Which rows of a trial make up a window, and how predictions of overlapping windows become one per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def window_spans(length: int, window: int = 300, hop: int = 200) -> list[tuple[int, int]]:
    """Windows [start, stop) that cover the rows 0 to `length` - 1.

    They start every `hop` rows; when rows are left over, a last window lies flush with the end. A trial shorter than
    `window` is one shorter span, which the loader pads. Raises ValueError for a window or hop that leaves rows out.
    """
    if window < 1 or not 1 <= hop <= window:
        raise ValueError(f"window {window} and hop {hop}: the hop must be from 1 to the window, or rows between windows are never seen")
    if length < 1:
        return []
    if length <= window:
        return [(0, length)]
    spans = [(start, start + window) for start in range(0, length - window + 1, hop)]
    if spans[-1][1] < length:
        spans.append((length - window, length))
    return spans


class RowAverage:
    """The mean over windows of what was predicted for each row of a partition.

    Trials lie one after the other: the rows of trial k begin at `offsets[k]`.
    """

    def __init__(self, lengths: Sequence[int], targets: int) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._sum = np.zeros((self.offsets[-1], targets))
        self._count = np.zeros(self.offsets[-1], dtype=np.int64)

    def add(self, trial: int, start: int, prediction_TC: NDArray[np.floating]) -> None:
        """Add one window's predictions, which begin at row `start` of `trial`."""
        rows = slice(self.offsets[trial] + start, self.offsets[trial] + start + len(prediction_TC))
        self._sum[rows] += prediction_TC
        self._count[rows] += 1

    def mean(self) -> NDArray[np.float64]:
        """(rows, targets). Raises ValueError when a row was never predicted."""
        missing = int((self._count == 0).sum())
        if missing:
            raise ValueError(f"{missing} of {len(self._count)} rows were never predicted")
        return np.asarray(self._sum / self._count[:, None])
