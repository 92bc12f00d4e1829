"""Adam, with the learning rate given at every step.

The same arithmetic as `torch.optim.Adam(…, fused=True)`, in fact the same kernel. torch's own class imports its compiler at the
first step, which takes longer than everything else a short run starts with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Steps over the parameters that are trainable at its making. `weight_decay` is an L2 term in the gradient."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], weight_decay: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.weight_decay = weight_decay
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.mean_square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), dtype=torch.float32, device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move against the gradients, then forget them. Parameters without a gradient stay."""
        moved = [place for place, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if moved:
            steps = [self.steps[place] for place in moved]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                [self.parameters[place] for place in moved],
                [gradient for parameter in self.parameters if (gradient := parameter.grad) is not None],
                [self.mean[place] for place in moved],
                [self.mean_square[place] for place in moved],
                [],
                steps,
                lr=learning_rate,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=self.weight_decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Moments and step counts, in the parameters' order."""
        return {"mean": self.mean, "mean_square": self.mean_square, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave for the same parameters."""
        if [tensor.shape for tensor in state["mean"]] != [parameter.shape for parameter in self.parameters]:
            raise ValueError("the optimizer's state belongs to other parameters")
        self.mean, self.mean_square, self.steps = list(state["mean"]), list(state["mean_square"]), list(state["steps"])
