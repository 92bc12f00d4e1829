"""Intervals resample trials, pairs share their resamples, and the best of k is expected exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.evaluation import bootstrap, metrics


def trials(number: int, noise: float, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    labels = [generator.normal(generator.normal(0, 0.3), 0.3, 50 + 10 * i) for i in range(number)]
    return [label + noise * generator.normal(generator.normal(), 1, label.size) for label in labels], labels


def parts(predictions: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    return np.array([metrics.moments(x, y) for x, y in zip(predictions, labels, strict=True)])


def test_the_interval_equals_resampling_rows_by_hand() -> None:
    x, y = trials(12, 0.3)
    drawn = bootstrap.counts(12, 200, seed=4)
    by_hand = []
    for row in drawn.astype(int):
        picked = [i for i, count in enumerate(row) for _ in range(count)]
        by_hand.append(metrics.ccc(np.concatenate([x[i] for i in picked]), np.concatenate([y[i] for i in picked])))
    interval = bootstrap.ccc_interval(parts(x, y), 200, seed=4)
    assert interval.value == pytest.approx(metrics.ccc(np.concatenate(x), np.concatenate(y)))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])))


def test_the_interval_is_that_of_trials_not_of_frames() -> None:
    x, y = trials(10, 0.3)
    by_trial = bootstrap.ccc_interval(parts(x, y), 500)
    # The same rows split into many short "trials" look far more certain.
    split = parts([piece for v in x for piece in np.array_split(v, 25)], [piece for v in y for piece in np.array_split(v, 25)])
    by_piece = bootstrap.ccc_interval(split, 500)
    assert by_trial.high - by_trial.low > 1.5 * (by_piece.high - by_piece.low)


def test_without_resamples_or_with_one_trial_there_is_no_interval() -> None:
    x, y = trials(3, 0.3)
    assert math.isnan(bootstrap.ccc_interval(parts(x, y), 0).low)
    assert math.isnan(bootstrap.ccc_interval(parts(x[:1], y[:1]), 100).low)


def test_a_clearly_better_run_is_found_better_and_equal_runs_are_even() -> None:
    good, labels = trials(20, 0.1)
    bad, _ = trials(20, 0.6)
    difference = bootstrap.ccc_difference(parts(good, labels), parts(bad, labels), 500)
    assert difference.value > 0 and difference.low > 0 and difference.probability == 1
    same = bootstrap.ccc_difference(parts(good, labels), parts(good, labels), 500)
    assert (same.value, same.low, same.high, same.probability) == (0, 0, 0, 0.5)


def test_comparing_different_trials_is_refused() -> None:
    x, y = trials(4, 0.1)
    with pytest.raises(ValueError, match="same trials"):
        bootstrap.ccc_difference(parts(x, y), parts(x[::-1], y[::-1]), 10)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=7))
def test_expected_best_of_k_equals_the_mean_over_all_subsets(values: list[float]) -> None:
    expected = bootstrap.expected_best(np.array(values))
    for k in range(1, len(values) + 1):
        assert expected[k - 1] == pytest.approx(np.mean([max(subset) for subset in itertools.combinations(values, k)]), abs=1e-9)


def test_a_thousand_resamples_of_76_trials_are_quick() -> None:
    import time

    x, y = trials(76, 0.3)
    sums = parts(x, y)
    began = time.perf_counter()
    bootstrap.ccc_interval(sums, 1000)
    assert time.perf_counter() - began < 0.5
