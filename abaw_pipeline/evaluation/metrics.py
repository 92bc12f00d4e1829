"""Concordance (CCC), Pearson correlation (PCC) and root mean square error (RMSE), in float64, from moments.

Everything is computed from six sums per set of rows (`Moments`). Sums add, so the score of many trials concatenated is
the score of their added sums: that is what makes resampling trials cheap (`bootstrap`). All moments are biased
(divided by n), as in the challenge's own CCC over all annotated frames of all trials, concatenated.

Stated rules: rows where either value is not finite are left out and counted (`Scores.left_out`); a score over no rows is
NaN; a constant prediction or target has CCC 0 and PCC 0, never NaN (nor 1: two equal constants show no agreement in change).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Axis of `moments`: count, mean of each, centred sums of squares and of products.
N, MEAN_X, MEAN_Y, SXX, SYY, SXY = range(6)
# Below this share of a value's own size, a variance is rounding noise of a constant.
CONSTANT = 1e-12


@dataclass(frozen=True)
class Scores:
    """One set of rows, scored. `rows` were used; `left_out` had a value that is not finite."""

    ccc: float
    pcc: float
    rmse: float
    rows: int
    left_out: int


def finite_pairs(prediction: ArrayLike, target: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Both as flat float64 without the rows where either is not finite, and how many those were."""
    x, y = np.asarray(prediction, dtype=np.float64).ravel(), np.asarray(target, dtype=np.float64).ravel()
    if x.shape != y.shape:
        raise ValueError(f"{x.size} predictions for {y.size} targets")
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite], int(x.size - finite.sum())


def moments(prediction: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """(6,): n, mean of predictions, mean of targets, and the centred sums of squares xx, yy and of products xy."""
    x, y, _ = finite_pairs(prediction, target)
    if not x.size:
        return np.zeros(6)
    mean_x, mean_y = x.mean(), y.mean()
    # A constant's mean can be off by a rounding step; its deviations are then noise, not variance.
    dx, dy = _deviations(x, mean_x), _deviations(y, mean_y)
    return np.array([x.size, mean_x, mean_y, dx @ dx, dy @ dy, dx @ dy])


def _deviations(values: NDArray[np.float64], mean: np.float64) -> NDArray[np.float64]:
    constant = np.ptp(values) <= CONSTANT * np.abs(values).max()
    return np.zeros_like(values) if constant else values - mean


def add(parts: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Moments of the concatenation of (P, 6) parts, each taken `weights` times: (6,) for (P,), (R, 6) for (R, P) weights."""
    weights = np.ones(len(parts)) if weights is None else weights
    n = weights @ parts[:, N]
    safe = np.maximum(n, 1)
    # Deviations from a common centre keep the cross terms small, so nothing cancels.
    centre_x, centre_y = _centre(parts, MEAN_X), _centre(parts, MEAN_Y)
    off_x, off_y = parts[:, MEAN_X] - centre_x, parts[:, MEAN_Y] - centre_y
    shift_x, shift_y = weights @ (parts[:, N] * off_x) / safe, weights @ (parts[:, N] * off_y) / safe
    xx = weights @ (parts[:, SXX] + parts[:, N] * off_x**2) - safe * shift_x**2
    yy = weights @ (parts[:, SYY] + parts[:, N] * off_y**2) - safe * shift_y**2
    xy = weights @ (parts[:, SXY] + parts[:, N] * off_x * off_y) - safe * shift_x * shift_y
    return np.stack([n, centre_x + shift_x, centre_y + shift_y, np.maximum(xx, 0), np.maximum(yy, 0), xy], axis=-1)


def _centre(parts: NDArray[np.float64], column: int) -> float:
    total = float(parts[:, N].sum())
    return float(parts[:, N] @ parts[:, column] / total) if total else 0.0


def ccc_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """CCC of moments (…, 6): 2 cov / (var x + var y + (mean x - mean y)^2)."""
    n, mean_x, mean_y, sxx, syy, sxy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    safe = np.maximum(n, 1)
    scale = (sxx + syy) / safe + (mean_x - mean_y) ** 2
    value = np.where(scale > 0, 2 * sxy / safe / np.where(scale > 0, scale, 1.0), 0.0)
    return np.where(n > 0, value, np.nan)


def pcc_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of moments (…, 6); 0 when either side is constant."""
    n, _, _, sxx, syy, sxy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    both = np.sqrt(sxx) * np.sqrt(syy)
    value = np.where(both > 0, np.clip(sxy / np.where(both > 0, both, 1.0), -1, 1), 0.0)
    return np.where(n > 0, value, np.nan)


def rmse_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square difference of moments (…, 6)."""
    n, mean_x, mean_y, sxx, syy, sxy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    square = np.maximum((sxx + syy - 2 * sxy) / np.maximum(n, 1), 0) + (mean_x - mean_y) ** 2
    return np.where(n > 0, np.sqrt(square), np.nan)


def ccc(prediction: ArrayLike, target: ArrayLike) -> float:
    """Concordance correlation coefficient of two equally long arrays, in float64."""
    return float(ccc_of(moments(prediction, target)))


def pcc(prediction: ArrayLike, target: ArrayLike) -> float:
    """Pearson's correlation of two equally long arrays; 0 when either is constant."""
    return float(pcc_of(moments(prediction, target)))


def rmse(prediction: ArrayLike, target: ArrayLike) -> float:
    """Root mean square error of two equally long arrays."""
    x, y, _ = finite_pairs(prediction, target)
    return float(np.sqrt(np.mean((x - y) ** 2))) if x.size else float("nan")


def scores(prediction: ArrayLike, target: ArrayLike) -> Scores:
    """All three over all rows, with the number of rows used and left out."""
    x, y, left_out = finite_pairs(prediction, target)
    sums = moments(x, y)
    return Scores(float(ccc_of(sums)), float(pcc_of(sums)), rmse(x, y), x.size, left_out)


def scores_by(groups: Sequence[str], prediction: ArrayLike, target: ArrayLike) -> dict[str, Scores]:
    """Scores of each group of rows (`groups` names the trial, or the subject, of every row), in order of first sight."""
    x, y = np.asarray(prediction, dtype=np.float64).ravel(), np.asarray(target, dtype=np.float64).ravel()
    return {name: scores(x[rows], y[rows]) for name, rows in rows_of(groups).items()}


def rows_of(groups: Iterable[str]) -> Mapping[str, NDArray[np.int64]]:
    """Row numbers of each group, in order of first sight."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(groups):
        found.setdefault(name, []).append(row)
    return {name: np.array(rows, dtype=np.int64) for name, rows in found.items()}


def moments_by(groups: Sequence[str], prediction: ArrayLike, target: ArrayLike) -> tuple[list[str], NDArray[np.float64]]:
    """Names and (groups, 6) moments of each group of rows, for `bootstrap`."""
    x, y = np.asarray(prediction, dtype=np.float64).ravel(), np.asarray(target, dtype=np.float64).ravel()
    found = rows_of(groups)
    return list(found), np.array([moments(x[rows], y[rows]) for rows in found.values()]).reshape(-1, 6)
