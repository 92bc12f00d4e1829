"""One instance: a network with its own seed, schedule, optimizer and random numbers, and the state that survives a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.models.network import Network
from abaw_pipeline.training import checkpoint
from abaw_pipeline.training.adam import Adam
from abaw_pipeline.training.schedule import FineTuningSchedule

RESUME = "resume"
RECOMPILE_LIMIT = 256


@dataclass(kw_only=True)
class Instance:
    """Everything about one run that changes while it trains. Its best weights are also its weights after each epoch."""

    seed: int
    data_seed: int
    folder: Path
    stamp: str
    """Of everything that decides what this run becomes; a resume state with another one is not used."""
    model: Network
    forward: Callable[[Mapping[str, Tensor]], Tensor]
    """The network, compiled or not."""
    schedule: FineTuningSchedule
    optimizer: Adam
    random_state: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)

    @contextmanager
    def randomness(self) -> Iterator[None]:
        """Within, torch's global random numbers (dropout) are this instance's own stream."""
        _set_random_state(self.random_state)
        yield
        self.random_state = _random_state()

    def keep_best(self) -> None:
        """Remember the weights as they are."""
        for name, tensor in self.model.state_dict().items():
            self.best[name].copy_(tensor)

    def reload_best(self) -> None:
        """Load the best weights back; the optimizer's moments stay."""
        self.model.load_state_dict(self.best)

    def save(self) -> None:
        """Write the resume state, at the end of an epoch: the best weights are loaded then, so they stand for both."""
        state = {
            "schedule": self.schedule.to_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self.random_state,
            "best": self.best,
            "history": self.history,
            "epoch_seconds": self.epoch_seconds,
        }
        checkpoint.save(self.folder / RESUME, self.schedule.epoch, state, self.stamp)

    def saved(self, latest: int | None = None) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest resume state of this run, of no later epoch than `latest`; None when there is none. And remarks for the log."""
        return checkpoint.load(self.folder / RESUME, self.stamp, next(self.model.parameters()).device, latest)

    def go_on_from(self, state: dict[str, Any], weight_decay: float) -> None:
        """Be as when `state` was saved."""
        self.schedule = FineTuningSchedule.from_dict(state["schedule"])
        self.history, self.epoch_seconds = state["history"], state["epoch_seconds"]
        self.best = state["best"]
        self.reload_best()
        for group in release_groups(self.model)[: self.schedule.group]:
            release(self.model, group)
        self.optimizer = Adam(self.model.parameters(), weight_decay)
        self.optimizer.load_state_dict(state["optimizer"])
        self.random_state = {name: tensor.cpu() for name, tensor in state["random_state"].items()}

    def release(self, group: int, weight_decay: float) -> None:
        """Make group number `group` (from 1) trainable, under a new optimizer."""
        release(self.model, release_groups(self.model)[group - 1])
        self.optimizer = Adam(self.model.parameters(), weight_decay)


def resume(instances: Sequence[Instance], weight_decay: float) -> list[str]:
    """Let instances that were just made go on from their resume states; gives remarks for the log.

    Those that were side by side go on side by side: one that was saved before a kill while others were not is an epoch ahead, and
    goes back by it. Going on alone, it would end with other last digits where a trunk is shared.
    """
    remarks: list[str] = []
    reached: list[FineTuningSchedule] = []
    for instance in instances:
        checkpoint.remove_unfinished(instance.folder)
        state, said = instance.saved()
        remarks += said
        reached.append(instance.schedule if state is None else FineTuningSchedule.from_dict(state["schedule"]))
    for instance, schedule in zip(instances, reached, strict=True):
        others = zip(instances, reached, strict=True)
        slowest = min((its.epoch for other, its in others if other.data_seed == instance.data_seed and not its.finished), default=None)
        ahead = slowest is not None and schedule.epoch == slowest + 1
        if ahead and slowest == 0:
            remarks.append(f"seed {instance.seed}: starting anew with the others")
        elif schedule.epoch > 0:
            before = instance.saved(slowest)[0] if ahead else None
            if ahead and before is None:
                remarks.append(f"seed {instance.seed}: cannot go back to where the others are; the last digits of all may differ")
            state = before or instance.saved()[0]
            assert state is not None
            instance.go_on_from(state, weight_decay)
            remarks.append(f"seed {instance.seed}: resumed after epoch {instance.schedule.epoch}")
    return remarks


def new_instance(
    *,
    seed: int,
    data_seed: int,
    folder: Path,
    stamp: str,
    create: Callable[[], Network],
    device: torch.device,
    compiled: bool,
    weight_decay: float,
    schedule: Mapping[str, Any],
) -> Instance:
    """An instance before its first epoch: `seed` drives its initial weights and its dropout; the first group is released."""
    torch.manual_seed(seed)
    model = create().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    random_state = _random_state()
    groups = release_groups(model)
    freeze_trunks(model)
    release(model, groups[0])
    return Instance(
        seed=seed,
        data_seed=data_seed,
        folder=folder,
        stamp=stamp,
        model=model,
        forward=_compiled(model) if compiled else model,
        schedule=FineTuningSchedule(groups=len(groups), **schedule),
        optimizer=Adam(model.parameters(), weight_decay),
        random_state=random_state,
        best={name: tensor.detach().clone() for name, tensor in model.state_dict().items()},
    )


def _compiled(model: Network) -> Callable[[Mapping[str, Tensor]], Tensor]:
    # One graph for training and one for evaluation, for each step of release, set of masks and instance: torch's own limit
    # of 8 would soon leave the rest uncompiled, with no more than a warning.
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    return torch.compile(model)


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
