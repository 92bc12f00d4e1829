"""Work on real rows only: what is padding or absent neither enters batch statistics nor comes out as anything but zero.

Shapes: B windows, T rows of a window, N real rows; `x` stands for a modality's own axes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def places_of(mask_BT: Tensor) -> Tensor:
    """(N,) int64: where the mask is true, counted over all rows of all windows. On a GPU this waits for it."""
    return mask_BT.flatten().nonzero()[:, 0]


def on_real_rows(function: Callable[[Tensor], Tensor], x_BTx: Tensor, places_N: Tensor, width: int) -> Tensor:
    """`function` (N, …) -> (N, width) over the rows at these places; zeros elsewhere. Gives (B, T, width).

    Batch normalisation inside `function` thus sees real rows only. It needs two to have a variance, so a single row is
    given twice; with none at all `function` is not called.
    """
    windows, rows = x_BTx.shape[:2]
    count = len(places_N)
    if count == 0:
        return x_BTx.new_zeros(windows, rows, width)
    rows_Nx = x_BTx.flatten(0, 1).index_select(0, places_N)
    if count == 1:
        rows_Nx = rows_Nx.expand(2, *rows_Nx.shape[1:])
    result_NC = function(rows_Nx)[:count]
    return result_NC.new_zeros(windows * rows, width).index_copy(0, places_N, result_NC).view(windows, rows, width)
