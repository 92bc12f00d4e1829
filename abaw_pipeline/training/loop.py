"""The training loop: per epoch train, validate, log, decide, checkpoint, for instances that see the same windows.

Losses and predictions go into tensors that are made before the first step. What a step makes it frees: anything small that
outlived it would lie between what it frees, and memory would grow with the number of steps.

Shapes: I instances, S steps, W windows, B windows of a batch, T rows, C targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation.metrics import ccc
from abaw_pipeline.models.trunks import shared_trunks
from abaw_pipeline.progress import Progress
from abaw_pipeline.training.augment import Assembly, centre_crops, epoch_crops, epoch_order
from abaw_pipeline.training.instance import Instance
from abaw_pipeline.training.loader import WindowLoader, WindowReader
from abaw_pipeline.training.loss import ccc_loss
from abaw_pipeline.training.windows import RowAverage

CHECK_EVERY = 50
"""Steps between looks at the losses on a GPU, each of which waits for it."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition's windows and how its batches are put together."""

    loader: WindowLoader
    assembly: Assembly

    @property
    def reader(self) -> WindowReader:
        """What reads its windows."""
        return self.loader.reader


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the instances of one process share."""

    train: Partition
    validation: Partition
    targets: tuple[str, ...]
    columns: list[int]
    """Columns of the label: 0 valence, 1 arousal."""
    batch_size: int
    margin: int
    """Edge of a stored picture minus edge of a crop."""
    weight_decay: float
    autocast: Callable[[], AbstractContextManager[object]]
    compiled: bool
    """Networks are compiled: their parts cannot be taken out, so no trunk is shared."""
    device: torch.device

    @cached_property
    def train_labels(self) -> NDArray[np.float32]:
        """(rows, C) of the training trials, one after the other."""
        return self.train.reader.labels()[:, self.columns]

    @cached_property
    def validation_labels(self) -> NDArray[np.float32]:
        """(rows, C) of the validation trials, one after the other."""
        return self.validation.reader.labels()[:, self.columns]

    @property
    def windows(self) -> int:
        """How many an instance goes through in an epoch."""
        return len(self.train.reader) + len(self.validation.reader)


def train(instances: Sequence[Instance], job: Job, record: Callable[[Instance], None], name: str) -> None:
    """Train every instance to its end. Those at the same epoch go through it side by side, on the same batches.

    `record` is called for each instance after each of its epochs, before its resume state is written.
    """
    left = sum(instance.schedule.epochs - instance.schedule.epoch for instance in instances if not instance.schedule.finished)
    with Progress(name, left * job.windows, "windows") as progress:
        while live := [instance for instance in instances if not instance.schedule.finished]:
            first = min((instance.schedule.epoch, instance.data_seed) for instance in live)
            together = [instance for instance in live if (instance.schedule.epoch, instance.data_seed) == first]
            began = time.monotonic()
            run_epoch(together, job, progress)
            seconds = (time.monotonic() - began) / len(together)
            for instance in together:
                instance.epoch_seconds.append(seconds)
                record(instance)
                instance.save()
                if instance.schedule.finished:
                    progress.expect(progress.total - (instance.schedule.epochs - instance.schedule.epoch) * job.windows)


def run_epoch(instances: Sequence[Instance], job: Job, progress: Progress) -> None:
    """One epoch of instances that stand at the same one: train, validate, decide; adds a line to each one's history."""
    epoch, data_seed = instances[0].schedule.epoch, instances[0].data_seed
    order = epoch_order(data_seed, epoch, len(job.train.reader), job.batch_size)
    crops = epoch_crops(data_seed, epoch, len(job.train.reader), job.margin)
    best = max(instance.schedule.state.best for instance in instances)
    progress.advance(0, f"epoch {epoch + 1}" + (f", best CCC {best:.3f}" if best > -math.inf else ""))
    losses, trained = train_epoch(instances, job, order, crops, progress)
    validated = predict(instances, job, job.validation, progress)

    for instance, loss, while_training, prediction in zip(instances, losses, trained, validated, strict=True):
        validation_ccc = ccc_per_target(prediction, job.validation_labels)
        line = {
            "epoch": epoch,
            "group": instance.schedule.group,
            "learning_rate": instance.schedule.learning_rate(len(order) - 1, len(order)),
            "train_loss": loss,
            "train_ccc": float(np.mean(ccc_per_target(while_training, job.train_labels))),
            "validation_ccc": float(np.mean(validation_ccc)),
        }
        if len(job.targets) > 1:
            line |= {f"validation_ccc_{target}": value for target, value in zip(job.targets, validation_ccc, strict=True)}
        decision = instance.schedule.end_epoch(line["validation_ccc"])
        if decision.better:
            instance.keep_best()
        elif decision.reload_best:
            instance.reload_best()
        if decision.release is not None:
            instance.release(decision.release, job.weight_decay)
        line |= {"best": decision.better, "released": decision.release or 0, "reloaded": decision.reload_best and not decision.better}
        instance.history.append(line)


def train_epoch(
    instances: Sequence[Instance], job: Job, order: Sequence[Sequence[int]], crops: NDArray[np.int64], progress: Progress
) -> tuple[list[float], list[NDArray[np.float64]]]:
    """One pass over the training windows. Per instance the mean loss, and (rows, C) that it predicted on the way."""
    reader = job.train.reader
    losses_IS = torch.zeros(len(instances), len(order), device=job.device)
    predictions_IWTC = new_predictions(instances, job, reader)
    check_every = 1 if job.device.type == "cpu" else CHECK_EVERY
    done = 0
    for instance in instances:
        instance.model.train()
    with shared_trunks([instance.model for instance in instances if not job.compiled]) as through_trunk:
        for step, host in enumerate(job.train.loader.batches(order)):
            with job.autocast():
                batch = through_trunk(job.train.assembly.batch(host, crops))
            label_BTC = host["label"][..., job.columns].to(job.device, non_blocking=True)
            places = slice(done, done + len(label_BTC))
            for number, instance in enumerate(instances):
                with instance.randomness(), job.autocast():
                    prediction_BTC = instance.forward(batch)
                loss = ccc_loss(prediction_BTC, label_BTC, batch.get("mask"))
                loss.backward()  # type: ignore[no-untyped-call]
                instance.optimizer.step(instance.schedule.learning_rate(step, len(order)))
                losses_IS[number, step] = loss.detach()
                predictions_IWTC[number, places] = prediction_BTC.detach()
            if (step + 1) % check_every == 0 or step + 1 == len(order):
                check_losses(instances, losses_IS[:, : step + 1], order, max(0, step + 1 - check_every), reader)
            progress.advance(len(label_BTC) * len(instances))
            done = places.stop
    return losses_IS.mean(1).tolist(), rows_of(reader, order, predictions_IWTC)


def check_losses(
    instances: Sequence[Instance], losses_IS: Tensor, order: Sequence[Sequence[int]], first: int, reader: WindowReader
) -> None:
    """Stop when a loss since step `first` is not a number, and name the trials of its batch."""
    finite_IS = losses_IS[:, first:].isfinite().cpu()
    if bool(finite_IS.all()):
        return
    number, step = (~finite_IS).nonzero()[0].tolist()
    instance, step = instances[number], first + step
    trials = sorted({reader.trials[reader.windows[window].trial].name for window in order[step]})
    raise InputError(
        f"seed {instance.seed}, epoch {instance.schedule.epoch}, batch {step}: the loss is not a number. Trials in this batch:"
        f" {', '.join(trials)}. Check their files (python -m abaw_pipeline check), or lower training.learning_rate"
    )


@torch.inference_mode()
def predict(instances: Sequence[Instance], job: Job, partition: Partition, progress: Progress) -> list[NDArray[np.float64]]:
    """Per instance (rows, C) of all trials of a partition, one after the other, averaged over overlapping windows."""
    reader = partition.reader
    predictions_IWTC = new_predictions(instances, job, reader)
    crops = centre_crops(len(reader), job.margin)
    order = [list(range(first, min(first + job.batch_size, len(reader)))) for first in range(0, len(reader), job.batch_size)]
    for instance in instances:
        instance.model.eval()
    with shared_trunks([instance.model for instance in instances if not job.compiled]) as through_trunk:
        for numbers, host in zip(order, partition.loader.batches(order), strict=True):
            with job.autocast():
                batch = through_trunk(partition.assembly.batch(host, crops))
                for number, instance in enumerate(instances):
                    predictions_IWTC[number, numbers[0] : numbers[-1] + 1] = instance.forward(batch)
            progress.advance(len(numbers) * len(instances))
    return rows_of(reader, order, predictions_IWTC)


def new_predictions(instances: Sequence[Instance], job: Job, reader: WindowReader) -> Tensor:
    """(I, W, T, C) float32 on the device, for what the instances predict of all windows in the order in which they come."""
    return torch.zeros(len(instances), len(reader), reader.length, len(job.targets), device=job.device)


def rows_of(reader: WindowReader, order: Sequence[Sequence[int]], predictions_IWTC: Tensor) -> list[NDArray[np.float64]]:
    """Per instance (rows, C), averaged over overlapping windows; `predictions_IWTC` has the windows in this order."""
    windows = [reader.windows[number] for numbers in order for number in numbers]
    rows = []
    for predictions_WTC in predictions_IWTC.cpu().numpy():
        average = RowAverage([trial.rows for trial in reader.trials], predictions_WTC.shape[-1])
        for window, prediction_TC in zip(windows, predictions_WTC, strict=True):
            average.add(window.trial, window.start, prediction_TC[: window.stop - window.start])
        rows.append(average.mean())
    return rows


def ccc_per_target(prediction_NC: NDArray[np.floating], label_NC: NDArray[np.floating]) -> list[float]:
    """CCC of each target over all rows."""
    return [ccc(prediction_NC[:, target], label_NC[:, target]) for target in range(label_NC.shape[1])]
