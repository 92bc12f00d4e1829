"""Intervals by resampling trials, from moments per trial.

Frames of one trial are alike, so resampling frames would give intervals that are far too narrow. A resample draws as
many trials as there are, with replacement; its score is that of the drawn trials concatenated. Only counts per trial
are drawn, so a thousand resamples of a hundred trials are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.evaluation import metrics

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A score with its bootstrap interval; the bounds are NaN without resamples or with fewer than two trials."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """CCC of A minus CCC of B on the same trials. `probability`: share of resamples in which A is better (ties half)."""

    probability: float


def counts(trials: int, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """(resamples, trials): how often each trial was drawn. The same seed draws the same, which pairs comparisons."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(trials, np.full(trials, 1 / trials), size=resamples).astype(np.float64)


def ccc_interval(parts: NDArray[np.float64], resamples: int, seed: int = 0) -> Interval:
    """CCC of all trials concatenated with its percentile interval. `parts`: (trials, 6) from `metrics.moments_by`."""
    parts = parts[parts[:, metrics.N] > 0]
    value = float(metrics.ccc_of(metrics.add(parts)))
    if resamples < 1 or len(parts) < 2:
        return Interval(value, float("nan"), float("nan"))
    return Interval(value, *_bounds(metrics.ccc_of(metrics.add(parts, counts(len(parts), resamples, seed)))))


def ccc_difference(a: NDArray[np.float64], b: NDArray[np.float64], resamples: int, seed: int = 0) -> Difference:
    """Paired: each resample draws the same trials for A and B. Row i of both must be the same trial."""
    if a.shape != b.shape or not np.array_equal(a[:, metrics.N], b[:, metrics.N]):
        raise ValueError("A and B must have the same trials with the same numbers of rows")
    rows = a[:, metrics.N] > 0
    a, b = a[rows], b[rows]
    value = float(metrics.ccc_of(metrics.add(a)) - metrics.ccc_of(metrics.add(b)))
    if resamples < 1 or len(a) < 2:
        return Difference(value, float("nan"), float("nan"), float("nan"))
    drawn = counts(len(a), resamples, seed)
    differences = metrics.ccc_of(metrics.add(a, drawn)) - metrics.ccc_of(metrics.add(b, drawn))
    probability = float(np.mean(differences > 0) + np.mean(differences == 0) / 2)
    return Difference(value, *_bounds(differences), probability)


def expected_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected best of k of these n scores, for k = 1 … n, drawing without replacement (exact, from order statistics).

    The first value is their mean, the last their maximum: how much of a chosen score is owed to choosing.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = ordered.size
    expected = np.empty(n)
    weights = np.full(n, 1 / n)  # weights[i]: chance that the i-th smallest is the best of k
    ranks = np.arange(n)
    for k in range(1, n + 1):
        expected[k - 1] = weights @ ordered
        # C(i, k) / C(n, k+1) from C(i, k-1) / C(n, k)
        if k < n:
            weights = weights * np.maximum(ranks - k + 1, 0) / k * (k + 1) / (n - k)
    return expected


def _bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
