"""Which word is spoken at a time: start < time <= end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.alignment import word_index


def test_start_is_outside_and_end_inside():
    assert word_index([0.9, 1.0, 1.1, 2.0, 2.1], [(1.0, 2.0)]).tolist() == [-1, -1, 0, 0, -1]


def test_words_that_touch_share_no_time():
    assert word_index([1.0, 1.5, 2.0, 2.5], [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]).tolist() == [0, 1, 1, 2]


def test_without_words_or_times():
    assert word_index([0.0, 1.0], []).tolist() == [-1, -1]
    assert word_index([0.0, 1.0], np.empty((0, 2))).tolist() == [-1, -1]
    assert word_index([], [(0.0, 1.0)]).tolist() == []
    assert word_index([], [(0.0, 1.0)]).dtype == np.int32


def test_a_word_without_length_is_never_spoken():
    assert word_index([0.5], [(0.5, 0.5)]).tolist() == [-1]


quarters = st.integers(0, 60).map(lambda number: number / 4)


@given(st.lists(quarters), st.lists(st.tuples(quarters, quarters).map(sorted), max_size=12))
def test_equals_the_definition_for_any_times_and_overlapping_words(times, spans):
    expected = []
    for time in times:
        spoken = [word for word, (start, end) in enumerate(spans) if start < time <= end]
        expected.append(max(spoken, key=lambda word: (spans[word][0], word), default=-1))
    assert word_index(times, spans).tolist() == expected
