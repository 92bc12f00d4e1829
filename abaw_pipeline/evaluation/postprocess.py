"""Optional post-processing of predictions: smoothing over time, and scale and shift fitted on validation.

Off by default: the report says that none is employed. Order: smooth, scale and shift, clip to [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.evaluation import metrics

# A Gaussian's weight beyond this many standard deviations is below 0.0004 of its peak.
REACH = 4.0


@dataclass(frozen=True)
class Calibration:
    """`scale * prediction + shift`."""

    scale: float = 1.0
    shift: float = 0.0


def smooth(values: NDArray[np.float64], seconds: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Gaussian smoothing (N,) of one trial over its rows' own times (N,), so that gaps and variable frame rates count right.

    `deviation` is the Gaussian's standard deviation in seconds; 0 gives the values as they are. At the ends the weights
    that remain are scaled to 1. Raises ValueError when times do not increase.
    """
    if values.shape != seconds.shape:
        raise ValueError(f"{values.size} values for {seconds.size} times")
    if deviation <= 0 or values.size < 2:
        return values.copy()
    steps = np.diff(seconds)
    if steps.min() <= 0:
        raise ValueError("times must increase")
    total, weight = values.copy(), np.ones_like(values)
    for offset in range(1, values.size):
        gaps = seconds[offset:] - seconds[:-offset]
        if gaps.min() > REACH * deviation:
            break
        kernel = np.where(gaps <= REACH * deviation, np.exp(-0.5 * (gaps / deviation) ** 2), 0.0)
        total[offset:] += kernel * values[:-offset]
        total[:-offset] += kernel * values[offset:]
        weight[offset:] += kernel
        weight[:-offset] += kernel
    return np.asarray(total / weight)


def fit(prediction: NDArray[np.float64], target: NDArray[np.float64]) -> Calibration:
    """The scale and shift that give the highest CCC on these rows: equal means and equal standard deviations.

    Leaves predictions as they are when they are constant or do not correlate positively with the target.
    """
    _, mean_x, mean_y, xx, yy, xy = metrics.moments(prediction, target)
    if xx <= 0 or yy <= 0 or xy <= 0:
        return Calibration()
    scale = float(np.sqrt(yy / xx))
    return Calibration(scale, float(mean_y - scale * mean_x))


def apply(prediction: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Scale and shift."""
    return calibration.scale * prediction + calibration.shift
