"""Work on real rows only: what is padding or absent neither enters batch statistics nor comes out as anything but zero."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def on_real_rows(function: Callable[[Tensor], Tensor], x_BTx: Tensor, mask_BT: Tensor, width: int) -> Tensor:
    """`function` (N, …) -> (N, width) over the rows where the mask is true; zeros elsewhere. Gives (B, T, width).

    Batch normalisation inside `function` thus sees real rows only. It needs two to have a variance, so a single row is
    given twice; with none at all `function` is not called.
    """
    rows_Nx = x_BTx[mask_BT]
    count = rows_Nx.shape[0]
    if count == 0:
        return x_BTx.new_zeros(*mask_BT.shape, width)
    if count == 1:
        rows_Nx = rows_Nx.expand(2, *rows_Nx.shape[1:])
    result_NC = function(rows_Nx)[:count]
    full_BTC = result_NC.new_zeros(*mask_BT.shape, width)
    full_BTC[mask_BT] = result_NC
    return full_BTC
