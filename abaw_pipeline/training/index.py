"""What the dataset's index says: the trials, the folds, and the statistics that scale the word features."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abaw_pipeline.errors import InputError

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial's line of the index."""

    name: str
    path: Path
    rows: int
    frames: int
    """Of the video or face track; `rows` are those kept."""
    has_video: bool
    has_logmel: bool
    has_bert: bool
    bert_dim: int
    bert_rows: int
    """Rows that the two sums run over, rows between words (zero vectors) included."""
    bert_sum: float
    bert_sum_squares: float


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold's three partitions, in the index's order."""

    train: tuple[Trial, ...]
    validation: tuple[Trial, ...]
    test: tuple[Trial, ...]


@dataclass(frozen=True)
class Scaling:
    """Word features become (x - mean) / std, all dimensions alike."""

    mean: float
    std: float


def read_fold(index: Path, fold: int) -> tuple[Fold, str]:
    """Fold number `fold`, and the index's SHA-256. Raises InputError when the index or the fold is not there."""
    try:
        content = index.read_bytes()
        values = json.loads(content)
    except (OSError, ValueError) as error:
        raise InputError(f"{index}: cannot be read ({error}); run the index stage again") from None
    if values.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{index}: format version {values.get('format_version')}, expected {FORMAT_VERSION}; run the index stage again")
    trials = {item["trial"]: _trial(index, item) for item in values["trials"]}
    for item in values["folds"]:
        if item["fold"] == fold:
            train, validation, test = ([trials[name] for name in names] for names in (item["train"], item["validation"], values["test"]))
            if not any(trial.rows for trial in train) or not any(trial.rows for trial in validation):
                raise InputError(f"{index}: fold {fold} has no rows to train on or to validate on; use fewer folds (folds.number)")
            return Fold(train=tuple(train), validation=tuple(validation), test=tuple(test)), hashlib.sha256(content).hexdigest()
    known = ", ".join(str(item["fold"]) for item in values["folds"]) or "none, since no trial is for training"
    raise InputError(f"{index}: there is no fold {fold}; its folds are {known}")


def _trial(index: Path, item: dict[str, Any]) -> Trial:
    return Trial(
        name=item["trial"],
        path=index.parent / item["path"],
        rows=item["rows"],
        frames=item["frames"],
        has_video=item["has_video"],
        has_logmel=item["has_logmel"],
        has_bert=item["has_bert"],
        bert_dim=item["bert_dim"],
        bert_rows=item["bert_rows"],
        bert_sum=item["bert_sum"],
        bert_sum_squares=item["bert_sum_squares"],
    )


def word_scaling(trials: Sequence[Trial]) -> Scaling:
    """Scalar mean and standard deviation of the word features over all rows of `trials`; 0 and 1 without any spread."""
    count = sum(trial.bert_rows * trial.bert_dim for trial in trials)
    if not count:
        return Scaling(0.0, 1.0)
    mean = math.fsum(trial.bert_sum for trial in trials) / count
    variance = math.fsum(trial.bert_sum_squares for trial in trials) / count - mean**2
    return Scaling(mean, math.sqrt(variance)) if variance > 0 else Scaling(0.0, 1.0)


def partition_scalings(fold: Fold, normalisation: Literal["train", "partition"]) -> dict[str, Scaling]:
    """The scaling of each partition: the training part's for all (`train`), or each its own (`partition`, the authors')."""
    own = {name: word_scaling(getattr(fold, name)) for name in ("train", "validation", "test")}
    return own if normalisation == "partition" else dict.fromkeys(own, own["train"])
