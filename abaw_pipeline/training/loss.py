"""The training loss: one minus the concordance correlation coefficient of each window."""

from __future__ import annotations

import torch
from torch import Tensor

CONSTANT = 1e-12
"""A denominator below this is float32 rounding of two equal constants, not spread: such a window has no concordance."""


def ccc_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over windows and targets of 1 - CCC over time, as a float32 scalar.

    `prediction` and `target` are (B, T, C) or (B, T); `mask` (B, T) is true for real rows (all, when absent).
    Per window and target: 1 - 2 mean(cov) / (var + var + (difference of means)^2), with the biased covariance and the
    unbiased variances of the authors' code. A window without spread in either counts 1 and has a finite gradient.
    """
    if prediction.dim() == 2:
        prediction, target = prediction[..., None], target[..., None]
    if prediction.shape != target.shape:
        raise ValueError(f"prediction is {tuple(prediction.shape)}, target {tuple(target.shape)}: expected the same shape")
    x, y = prediction.float(), target.float()
    if mask is None:
        real = x.new_ones(x.shape[0], x.shape[1], 1)
    else:
        real = mask[..., None].to(x.dtype)
    rows = real.sum(1).clamp(min=1.0)
    mean_x, mean_y = (x * real).sum(1) / rows, (y * real).sum(1) / rows
    from_x, from_y = (x - mean_x[:, None]) * real, (y - mean_y[:, None]) * real
    covariance = (from_x * from_y).sum(1) / rows
    variances = (from_x.square().sum(1) + from_y.square().sum(1)) / (rows - 1.0).clamp(min=1.0)
    denominator = variances + (mean_x - mean_y).square()
    constant = denominator <= CONSTANT  # false for NaN, which must show
    concordance = torch.where(constant, 0.0, 2.0 * covariance / torch.where(constant, 1.0, denominator))
    return (1.0 - concordance).mean()
