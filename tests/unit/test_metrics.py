"""Scores equal a plain float64 computation, survive NaN and constants, and add up over trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from abaw_pipeline.evaluation import metrics

values = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 6))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    length = draw(st.integers(2, 60))
    return draw(arrays(np.float64, length, elements=values)), draw(arrays(np.float64, length, elements=values))


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    covariance = np.mean((x - np.mean(x)) * (y - np.mean(y)))
    return float(2 * covariance / (np.var(x) + np.var(y) + (np.mean(x) - np.mean(y)) ** 2))


@given(pairs())
def test_scores_equal_a_plain_computation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assert metrics.rmse(x, y) == pytest.approx(math.sqrt(np.mean((x - y) ** 2)), abs=1e-12)
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        assert metrics.ccc(x, y) == pytest.approx(plain_ccc(x, y), abs=1e-12)
        assert metrics.pcc(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


@given(pairs())
def test_ccc_is_symmetric_bounded_and_no_larger_than_pcc(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assert metrics.ccc(x, y) == pytest.approx(metrics.ccc(y, x), abs=1e-12)
    assert -1 - 1e-12 <= metrics.ccc(x, y) <= 1 + 1e-12
    if np.ptp(x) > 0 or np.ptp(y) > 0:
        assert abs(metrics.ccc(x, y)) <= abs(metrics.pcc(x, y)) + 1e-9


def test_perfect_prediction_scores_one_and_shift_lowers_ccc_but_not_pcc() -> None:
    y = np.sin(np.arange(100) / 7)
    assert metrics.ccc(y, y) == pytest.approx(1.0)
    assert metrics.pcc(y + 0.5, y) == pytest.approx(1.0)
    assert metrics.ccc(y + 0.5, y) == pytest.approx(plain_ccc(y + 0.5, y))


@pytest.mark.parametrize("constant", [0.0, 0.1, -0.7, 1 / 3])
def test_a_constant_prediction_scores_zero_not_nan(constant: float) -> None:
    target = np.linspace(-0.9, 0.8, 333)
    assert metrics.ccc(np.full(333, constant), target) == 0
    assert metrics.pcc(np.full(333, constant), target) == 0
    assert metrics.ccc(np.full(333, np.float32(constant), dtype=np.float32), target) == 0


def test_two_constants_score_zero() -> None:
    assert metrics.ccc(np.full(5, 0.1), np.full(5, 0.1)) == 0
    assert metrics.ccc(np.full(5, 0.1), np.full(5, 0.2)) == 0


def test_rows_that_are_not_finite_are_left_out_and_counted() -> None:
    x, y = np.array([0.1, np.nan, 0.3, 0.4, np.inf]), np.array([0.2, 0.2, np.nan, 0.1, 0.0])
    result = metrics.scores(x, y)
    assert (result.rows, result.left_out) == (2, 3)
    assert result.ccc == pytest.approx(plain_ccc(x[[0, 3]], y[[0, 3]]))


def test_no_rows_is_nan_and_unequal_lengths_are_refused() -> None:
    assert math.isnan(metrics.ccc([], [])) and math.isnan(metrics.ccc([np.nan], [1.0]))
    with pytest.raises(ValueError, match="3 predictions for 2 targets"):
        metrics.ccc([1, 2, 3], [1, 2])


@given(st.lists(pairs(), min_size=1, max_size=6), st.data())
@settings(max_examples=60)
def test_moments_add_like_concatenation(parts: list[tuple[np.ndarray, np.ndarray]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts)).filter(any))
    x = np.concatenate([part[0] for part, weight in zip(parts, weights, strict=True) for _ in range(weight)])
    y = np.concatenate([part[1] for part, weight in zip(parts, weights, strict=True) for _ in range(weight)])
    total = metrics.add(np.array([metrics.moments(*part) for part in parts]), np.array(weights, dtype=float))
    np.testing.assert_allclose(total, metrics.moments(x, y), atol=1e-9)
    assert metrics.rmse_of(total) == pytest.approx(metrics.rmse(x, y), abs=1e-7)


def test_float32_input_is_computed_in_float64() -> None:
    generator = np.random.default_rng(0)
    y = (0.9 + 1e-3 * generator.standard_normal(200_000)).astype(np.float32)
    x = (y + 1e-3 * generator.standard_normal(y.size)).astype(np.float32)
    assert metrics.ccc(x, y) == pytest.approx(plain_ccc(x.astype(np.float64), y.astype(np.float64)), abs=1e-9)


def test_scores_per_group_are_the_scores_of_its_rows() -> None:
    groups = ["b", "a", "b", "a", "b"]
    x, y = np.array([0.1, 0.5, 0.2, 0.1, 0.4]), np.array([0.2, 0.4, 0.1, 0.2, 0.5])
    by = metrics.scores_by(groups, x, y)
    assert list(by) == ["b", "a"]
    assert by["b"].ccc == pytest.approx(plain_ccc(x[[0, 2, 4]], y[[0, 2, 4]]))
    names, sums = metrics.moments_by(groups, x, y)
    assert names == ["b", "a"] and metrics.ccc_of(metrics.add(sums)) == pytest.approx(plain_ccc(x, y))
