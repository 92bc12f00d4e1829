"""Pieces cover everything, stay within the limit, and each item knows where it has most context."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.language.context import best_piece, pieces

SIZES = st.lists(st.integers(0, 12), max_size=60)


@given(SIZES, st.integers(1, 30), st.integers(0, 10))
def test_spans_cover_all_items_in_order_within_the_limit(sizes: list[int], limit: int, overlap: int) -> None:
    spans = pieces(sizes, limit, overlap)
    assert {item for start, stop in spans for item in range(start, stop)} == set(range(len(sizes)))
    for start, stop in spans:
        assert start < stop
        assert sum(sizes[start:stop]) <= limit or stop == start + 1
    for (start, stop), (next_start, next_stop) in itertools.pairwise(spans):
        assert start < next_start <= stop < next_stop


def test_what_fits_is_one_piece() -> None:
    assert pieces([3, 4, 5], 12, 4) == [(0, 3)]
    assert pieces([], 12, 4) == []


def test_neighbours_share_the_overlap() -> None:
    assert pieces([1] * 10, 4, 2) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert pieces([9, 9, 9], 4, 2) == [(0, 1), (1, 2), (2, 3)]


def test_each_item_counts_where_it_is_farthest_from_a_cut() -> None:
    spans = pieces([1] * 10, 4, 2)
    assert best_piece([1] * 10, spans) == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]


@given(SIZES, st.integers(1, 30), st.integers(0, 10))
def test_the_best_piece_holds_its_item(sizes: list[int], limit: int, overlap: int) -> None:
    spans = pieces(sizes, limit, overlap)
    best = best_piece(sizes, spans)
    assert len(best) == len(sizes)
    assert all(spans[piece][0] <= item < spans[piece][1] for item, piece in enumerate(best))
    assert best == sorted(best)
