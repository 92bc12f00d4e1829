"""Windows cover every row, and overlapping predictions are averaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.training.windows import RowAverage, window_spans


def test_reference_spans(reference: Path) -> None:
    for length, spans in json.loads((reference / "windows.json").read_text()).items():
        assert window_spans(int(length)) == [tuple(span) for span in spans]


@given(st.integers(1, 3000), st.integers(1, 400), st.data())
def test_windows_cover_every_row_and_never_leave_the_trial(length: int, window: int, data: st.DataObject) -> None:
    hop = data.draw(st.integers(1, window))
    spans = window_spans(length, window, hop)
    covered = np.zeros(length, dtype=int)
    for start, stop in spans:
        assert stop - start == min(window, length)
        covered[start:stop] += 1
    assert covered.min() >= 1
    assert len(set(spans)) == len(spans)


@pytest.mark.parametrize(("window", "hop"), [(300, 301), (300, 0), (0, 1)])
def test_hops_that_skip_rows_are_refused(window: int, hop: int) -> None:
    with pytest.raises(ValueError, match="hop"):
        window_spans(1000, window, hop)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_row_average_equals_the_plain_mean(lengths: list[int]) -> None:
    generator = np.random.default_rng(0)
    average = RowAverage(lengths, targets=2)
    collected: list[list[np.ndarray]] = [[] for _ in range(sum(lengths))]
    for trial, length in enumerate(lengths):
        for start, stop in window_spans(length, 10, 7):
            prediction = generator.normal(size=(stop - start, 2))
            average.add(trial, start, prediction)
            for row in range(start, stop):
                collected[sum(lengths[:trial]) + row].append(prediction[row - start])
    np.testing.assert_allclose(average.mean(), [np.mean(values, axis=0) for values in collected])


def test_a_row_without_a_prediction_is_an_error() -> None:
    average = RowAverage([4], targets=1)
    average.add(0, 0, np.zeros((3, 1)))
    with pytest.raises(ValueError, match="1 of 4"):
        average.mean()
