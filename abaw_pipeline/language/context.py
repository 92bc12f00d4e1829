"""Cutting a long run of words into overlapping pieces, and choosing the piece that knows most around each word."""

from __future__ import annotations

from collections.abc import Sequence


def pieces(sizes: Sequence[int], limit: int, overlap: int) -> list[tuple[int, int]]:
    """Spans [start, stop) that cover all items in order, each of a total size of at most `limit`.

    Neighbours share items of a total size of `overlap` or a bit more; the shared part shrinks where large items leave no
    room for it. An item larger than `limit` gets a span of its own. No items give no spans.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(sizes):
        stop, size = start, 0
        while stop < len(sizes) and (stop == start or size + sizes[stop] <= limit):
            size += sizes[stop]
            stop += 1
        spans.append((start, stop))
        if stop == len(sizes):
            break
        shared, back = 0, stop
        while back > start + 1 and shared < overlap:
            back -= 1
            shared += sizes[back]
        # The next span must reach beyond this one.
        while back < stop and sum(sizes[back : stop + 1]) > limit:
            back += 1
        start = back
    return spans


def best_piece(sizes: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each item the number of the span in which it is farthest from a cut; the earlier one when equal.

    The ends of the whole run are no cuts: nothing was taken away there.
    """
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    best, margin = [0] * len(sizes), [-1.0] * len(sizes)
    for number, (start, stop) in enumerate(spans):
        for item in range(start, stop):
            left = float("inf") if start == 0 else ends[item] - ends[start]
            right = float("inf") if stop == len(sizes) else ends[stop] - ends[item + 1]
            if min(left, right) > margin[item]:
                best[item], margin[item] = number, min(left, right)
    return best
