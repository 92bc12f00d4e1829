"""The training loop: per epoch train, validate, log, decide, checkpoint, for instances that see the same windows.

Shapes: B windows, T rows, C targets.
"""

from __future__ import annotations

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

EVALUATION_BATCH = 2
"""Validation and test batches are this many times larger than training batches: they keep nothing for a backward pass."""
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
    def validation_labels(self) -> NDArray[np.float32]:
        """(rows, C) of the validation trials, one after the other."""
        return self.validation.reader.labels()[:, self.columns]


def train(instances: Sequence[Instance], job: Job, record: Callable[[Instance], None], name: str) -> None:
    """Train every instance to its end. Those at the same epoch go through it side by side, on the same batches.

    `record` is called for each instance after each of its epochs, before its resume state is written.
    """
    left = sum(instance.schedule.epochs - instance.schedule.epoch for instance in instances if not instance.schedule.finished)
    with Progress(name, left, "epochs") as progress:
        while live := [instance for instance in instances if not instance.schedule.finished]:
            first = min((instance.schedule.epoch, instance.data_seed) for instance in live)
            together = [instance for instance in live if (instance.schedule.epoch, instance.data_seed) == first]
            began = time.monotonic()
            run_epoch(together, job)
            seconds = (time.monotonic() - began) / len(together)
            for instance in together:
                instance.epoch_seconds.append(seconds)
                record(instance)
                instance.save()
                if instance.schedule.finished:
                    progress.total -= instance.schedule.epochs - instance.schedule.epoch
                progress.advance(1, f"CCC {instance.schedule.state.best:.3f}")


def run_epoch(instances: Sequence[Instance], job: Job) -> None:
    """One epoch of instances that stand at the same one: train, validate, decide; adds a line to each one's history."""
    epoch, data_seed = instances[0].schedule.epoch, instances[0].data_seed
    order = epoch_order(data_seed, epoch, len(job.train.reader), job.batch_size)
    crops = epoch_crops(data_seed, epoch, len(job.train.reader), job.margin)
    trained = train_epoch(instances, job, order, crops)
    validated = predict(instances, job, job.validation)

    for instance, (loss, train_ccc), prediction in zip(instances, trained, validated, strict=True):
        validation_ccc = ccc_per_target(prediction, job.validation_labels)
        line = {
            "epoch": epoch,
            "group": instance.schedule.group,
            "learning_rate": instance.schedule.learning_rate(len(order) - 1, len(order)),
            "train_loss": loss,
            "train_ccc": train_ccc,
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
    instances: Sequence[Instance], job: Job, order: Sequence[Sequence[int]], crops: NDArray[np.int64]
) -> list[tuple[float, float]]:
    """One pass over the training windows. Per instance the mean loss, and the CCC of what it predicted on the way."""
    for instance in instances:
        instance.model.train()
    losses: list[list[Tensor]] = [[] for _ in instances]
    predictions: list[list[Tensor]] = [[] for _ in instances]
    labels: list[Tensor] = []
    check_every = 1 if job.device.type == "cpu" else CHECK_EVERY
    with shared_trunks([instance.model for instance in instances if not job.compiled]) as through_trunk:
        for step, host in enumerate(job.train.loader.batches(order)):
            with job.autocast():
                batch = through_trunk(job.train.assembly.batch(host, crops))
            label_BTC = host["label"][..., job.columns].to(job.device, non_blocking=True)
            real_BT = torch.arange(label_BTC.shape[1]) < host["rows"][:, None]
            labels.append(label_BTC[real_BT])
            for number, instance in enumerate(instances):
                with instance.randomness(), job.autocast():
                    prediction_BTC = instance.forward(batch)
                loss = ccc_loss(prediction_BTC, label_BTC, batch.get("mask"))
                loss.backward()  # type: ignore[no-untyped-call]
                instance.optimizer.step(instance.schedule.learning_rate(step, len(order)))
                losses[number].append(loss.detach())
                predictions[number].append(prediction_BTC.detach().float()[real_BT])
            if (step + 1) % check_every == 0 or step + 1 == len(order):
                check_losses(instances, losses, order, max(0, step + 1 - check_every), job.train.reader)
    label = torch.cat(labels).cpu().numpy()
    return [
        (float(torch.stack(steps).mean()), float(np.mean(ccc_per_target(torch.cat(predicted).cpu().numpy(), label))))
        for steps, predicted in zip(losses, predictions, strict=True)
    ]


def check_losses(
    instances: Sequence[Instance], losses: Sequence[Sequence[Tensor]], order: Sequence[Sequence[int]], first: int, reader: WindowReader
) -> None:
    """Stop when a loss since step `first` is not a number, and name the trials of its batch."""
    for instance, values in zip(instances, losses, strict=True):
        finite = torch.stack(list(values[first:])).isfinite()
        if not bool(finite.all()):
            step = first + int(finite.int().argmin())
            trials = sorted({reader.trials[reader.windows[window].trial].name for window in order[step]})
            raise InputError(
                f"seed {instance.seed}, epoch {instance.schedule.epoch}, batch {step}: the loss is not a number. Trials in this batch:"
                f" {', '.join(trials)}. Check their files (python -m abaw_pipeline check), or lower training.learning_rate"
            )


@torch.inference_mode()
def predict(instances: Sequence[Instance], job: Job, partition: Partition) -> list[NDArray[np.float64]]:
    """Per instance (rows, C) of all trials of a partition, one after the other, averaged over overlapping windows."""
    reader, step = partition.reader, job.batch_size * EVALUATION_BATCH
    averages = [RowAverage([trial.rows for trial in reader.trials], len(job.targets)) for _ in instances]
    crops = centre_crops(len(reader), job.margin)
    for instance in instances:
        instance.model.eval()
    order = [list(range(first, min(first + step, len(reader)))) for first in range(0, len(reader), step)]
    with shared_trunks([instance.model for instance in instances if not job.compiled]) as through_trunk:
        for host in partition.loader.batches(order):
            with job.autocast():
                batch = through_trunk(partition.assembly.batch(host, crops))
            for instance, average in zip(instances, averages, strict=True):
                with job.autocast():
                    prediction_BTC = instance.forward(batch).float().cpu().numpy()
                for number, prediction_TC in zip(host["window"].tolist(), prediction_BTC, strict=True):
                    window = reader.windows[number]
                    average.add(window.trial, window.start, prediction_TC[: window.stop - window.start])
    return [average.mean() for average in averages]


def ccc_per_target(prediction_NC: NDArray[np.floating], label_NC: NDArray[np.floating]) -> list[float]:
    """CCC of each target over all rows."""
    return [ccc(prediction_NC[:, target], label_NC[:, target]) for target in range(label_NC.shape[1])]
