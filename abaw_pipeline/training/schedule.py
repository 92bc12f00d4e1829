"""When the learning rate changes, when the next group of layers is released, and when a run ends (report, section 3.4).

A small state machine without torch. The training loop asks `learning_rate` before every batch, reports the validation
CCC to `end_epoch`, and does what the returned `Decision` says. `FineTuningSchedule.from_dict(schedule.to_dict())` goes
on exactly where it was.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(kw_only=True)
class State:
    """Everything that changes from epoch to epoch."""

    rate: float
    """The learning rate past warm-up."""
    epochs_left: int
    """What early stopping has left to count."""
    epoch: int = 0
    group: int = 1
    group_epoch: int = 0
    """Epochs since the last release."""
    bad_epochs: int = 0
    """Epochs without gain since the rate last changed."""
    best: float = -math.inf
    best_epoch: int = -1
    finished: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do at the end of an epoch, in this order."""

    better: bool
    """This epoch is the best of the run so far: keep its weights."""
    reload_best: bool
    """Load the best weights back (the optimizer's moments stay)."""
    release: int | None
    """Release this group of layers (counted from 1) and make a new optimizer; None: nothing to release."""
    end: bool
    """The run is over."""


class FineTuningSchedule:
    """Warm-up, plateau, early stopping and the release of groups, over the epochs of one run.

    Group 1 counts as released from the start. Epochs and batches count from 0.
    """

    def __init__(
        self,
        *,
        groups: int = 3,
        epochs: int = 100,
        learning_rate: float = 1e-5,
        min_learning_rate: float = 1e-8,
        warmup_epochs: int = 5,
        patience: int = 5,
        factor: float = 0.1,
        early_stopping: int = 20,
        warmup: Literal["per_epoch", "ramped"] = "per_epoch",
        scope: Literal["group", "run"] = "group",
    ) -> None:
        """`groups` of layers can be released; the other settings are those of `config.Training` and `config.Fidelity`."""
        self.groups, self.epochs = groups, epochs
        self.full_rate, self.min_learning_rate = learning_rate, min_learning_rate
        self.warmup_epochs, self.warmup = warmup_epochs, warmup
        self.patience, self.factor = patience, factor
        self.early_stopping, self.scope = early_stopping, scope
        self.state = State(rate=learning_rate, epochs_left=early_stopping)

    @property
    def epoch(self) -> int:
        """The epoch in progress."""
        return self.state.epoch

    @property
    def group(self) -> int:
        """How many groups are released."""
        return self.state.group

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest validation CCC so far; -1 before the first."""
        return self.state.best_epoch

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.state.finished

    def learning_rate(self, batch: int, batches: int) -> float:
        """The rate for batch `batch` of `batches` of the epoch in progress."""
        if self.state.group_epoch >= self.warmup_epochs:
            return self.state.rate
        climbed = self.full_rate * (batch / batches)
        return climbed * (self.state.group_epoch + 1) / self.warmup_epochs**2 if self.warmup == "ramped" else climbed

    def end_epoch(self, ccc: float) -> Decision:
        """Take note of the epoch's validation CCC (NaN counts as not better) and say what follows."""
        state = self.state
        if state.finished:
            raise ValueError("the run has ended")
        better = ccc > state.best
        if better:
            state.best, state.best_epoch = ccc, state.epoch
        stopped = self._count_early_stopping(better)
        state.epoch += 1
        state.group_epoch += 1
        self._count_plateau(better)

        next_group = state.rate < self.min_learning_rate or (stopped and self.scope == "group")
        none_left = next_group and state.group >= self.groups
        state.finished = state.epoch >= self.epochs or none_left or (stopped and self.scope == "run")
        release = None
        if next_group and not state.finished:
            release = state.group = state.group + 1
            state.group_epoch, state.bad_epochs = 0, 0
            state.epochs_left, state.rate = self.early_stopping, self.full_rate
        return Decision(better=better, reload_best=True, release=release, end=state.finished)

    def _count_early_stopping(self, better: bool) -> bool:
        """Count epochs without gain since the release, from the second past warm-up on; true when none is left."""
        state = self.state
        if state.group_epoch > self.warmup_epochs:
            state.epochs_left = self.early_stopping if better else state.epochs_left - 1
        return state.epochs_left <= 0

    def _count_plateau(self, better: bool) -> None:
        """Lower the rate of the next epoch after more than `patience` epochs without gain past warm-up."""
        state = self.state
        if better:
            state.bad_epochs = 0
        elif state.group_epoch > self.warmup_epochs:
            state.bad_epochs += 1
        if state.bad_epochs > self.patience:
            state.rate *= self.factor
            state.bad_epochs = 0

    def to_dict(self) -> dict[str, Any]:
        """Settings and state as plain values."""
        settings = {
            "groups": self.groups,
            "epochs": self.epochs,
            "learning_rate": self.full_rate,
            "min_learning_rate": self.min_learning_rate,
            "warmup_epochs": self.warmup_epochs,
            "patience": self.patience,
            "factor": self.factor,
            "early_stopping": self.early_stopping,
            "warmup": self.warmup,
            "scope": self.scope,
        }
        return {"settings": settings, "state": asdict(self.state)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FineTuningSchedule:
        """The schedule that `to_dict` described."""
        schedule = cls(**values["settings"])
        schedule.state = State(**values["state"])
        return schedule
