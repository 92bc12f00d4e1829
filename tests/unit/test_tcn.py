"""The temporal network looks back only, and as far as its dilations say."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline.models.tcn import KERNEL, TCN


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 80), row=st.integers(0, 79), channels=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_row_of_output_depends_on_no_later_row_and_on_none_beyond_its_reach(rows: int, row: int, channels: list[int]) -> None:
    row = min(row, rows - 1)
    torch.manual_seed(rows)
    network = TCN(3, channels, dropout=0.0).double()
    x = torch.randn(1, 3, rows, dtype=torch.float64)
    changed = x.clone()
    changed[..., row] += 1.0
    differs = (network(x) != network(changed)).any(dim=1)[0]
    reach = sum(2 * (KERNEL - 1) * 2**level for level in range(len(channels)))
    assert not differs[:row].any()
    assert differs[row]
    assert not differs[row + reach + 1 :].any()


def test_one_block_is_two_weight_normalised_convolutions_with_a_shortcut() -> None:
    torch.manual_seed(0)
    block = TCN(2, [3], dropout=0.0).blocks[0]
    x = torch.randn(1, 2, 6)
    y = x
    for convolution in (block.conv1, block.conv2):
        v = convolution.parametrizations.weight.original1
        weight = convolution.parametrizations.weight.original0 * v / v.flatten(1).norm(dim=1)[:, None, None]
        rows = []
        for t in range(x.shape[-1]):
            past = torch.stack([y[..., t - lag] if t >= lag else torch.zeros_like(y[..., 0]) for lag in range(KERNEL - 1, -1, -1)], dim=-1)
            rows.append(torch.einsum("bck,dck->bd", past, weight) + convolution.bias)
        y = torch.nn.functional.leaky_relu(torch.stack(rows, dim=-1), 0.01)
    shortcut = torch.einsum("bct,dc->bdt", x, block.shortcut.weight[..., 0]) + block.shortcut.bias[:, None]
    expected = torch.nn.functional.leaky_relu(y + shortcut, 0.01)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-6)
