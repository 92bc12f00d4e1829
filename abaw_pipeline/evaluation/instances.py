"""Trained instances as they lie on disk: `runs/{model}/{emotion}/fold{fold}/seed{seed}/`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from abaw_pipeline.errors import InputError

TARGETS = ("valence", "arousal")
FILES = ("metrics.json", "validation.csv", "test.csv")
FOLDER = re.compile(r"(?P<model>[^/]+)/(?P<emotion>valence|arousal|both)/fold(?P<fold>\d+)/seed(?P<seed>\d+)")

Key = tuple[str, str, int, int]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One trained network, or the place where one should be."""

    model: str
    emotion: str
    fold: int
    seed: int
    status: str = "ok"
    """ok; missing (no metrics.json); failed (its metrics.json says so, is broken, or a CCC is not a number);
    incomplete (another file is absent); unexpected (on disk, but not configured)."""
    note: str = ""
    ccc: Mapping[str, float] = field(default_factory=dict)
    """Validation CCC per target."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """The whole metrics.json."""

    @property
    def key(self) -> Key:
        """What tells instances apart."""
        return (self.model, self.emotion, self.fold, self.seed)

    @property
    def name(self) -> str:
        """Folder below `runs`."""
        return f"{self.model}/{self.emotion}/fold{self.fold}/seed{self.seed}"

    @property
    def targets(self) -> tuple[str, ...]:
        """What it predicts."""
        return TARGETS if self.emotion == "both" else (self.emotion,)

    @property
    def score(self) -> float:
        """Mean validation CCC over its targets; NaN when it has none."""
        values = [self.ccc.get(target, math.nan) for target in self.targets]
        return sum(values) / len(values)


def expected_instances(values: Iterable[Mapping[str, Any]]) -> list[Key]:
    """Keys from `[{model, emotion, fold, seed}, …]`."""
    try:
        keys = [(str(item["model"]), str(item["emotion"]), int(item["fold"]), int(item["seed"])) for item in values]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected instances: each needs model, emotion, fold and seed ({error!r})") from None
    if len(set(keys)) != len(keys):
        raise InputError("expected instances: one is listed twice")
    return keys


def read_instances(runs: Path, expected: Sequence[Key] | None = None) -> list[Instance]:
    """Every expected instance with its status, then those that lie in `runs` unexpected; none vanishes.

    Without `expected`, all that lie in `runs`. Sorted by model (in the order expected), emotion, fold and seed.
    """
    found = []
    for path in sorted(runs.glob("*/*/fold*/seed*")):
        match = FOLDER.fullmatch(path.relative_to(runs).as_posix())
        if match:
            found.append((match["model"], match["emotion"], int(match["fold"]), int(match["seed"])))
    known = sorted(found) if expected is None else list(expected)
    instances = [_read(runs, key) for key in known]
    for key in sorted(set(found) - set(known)):
        model, emotion, fold, seed = key
        note = "lies in the runs folder but is not configured"
        instances.append(Instance(model=model, emotion=emotion, fold=fold, seed=seed, status="unexpected", note=note))
    models = list(dict.fromkeys(instance.model for instance in instances))
    emotions = (*TARGETS, "both")
    return sorted(instances, key=lambda item: (models.index(item.model), emotions.index(item.emotion), item.fold, item.seed))


def _read(runs: Path, key: Key) -> Instance:
    model, emotion, fold, seed = key
    instance = Instance(model=model, emotion=emotion, fold=fold, seed=seed)
    folder = runs / instance.name

    def troubled(status: str, note: str, metrics: Mapping[str, Any] | None = None) -> Instance:
        return Instance(model=model, emotion=emotion, fold=fold, seed=seed, status=status, note=note, metrics=metrics or {})

    if not (folder / "metrics.json").is_file():
        return troubled("missing", "no metrics.json: not trained, or stopped before its end")
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        validation = metrics.get("validation", {})
        ccc = {target: _number(validation[target]["ccc"]) for target in instance.targets if target in validation}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return troubled("failed", f"metrics.json cannot be used ({error!r})")
    if metrics.get("failed"):
        return troubled("failed", str(metrics["failed"]), metrics)
    unusable = [target for target in instance.targets if not math.isfinite(ccc.get(target, math.nan))]
    if unusable:
        return troubled("failed", f"validation CCC of {' and '.join(unusable)} is not a number", metrics)
    absent = [name for name in FILES if not (folder / name).is_file()]
    if absent:
        return troubled("incomplete", f"{' and '.join(absent)} absent", metrics)
    return Instance(model=model, emotion=emotion, fold=fold, seed=seed, ccc=ccc, metrics=metrics)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def read_predictions(path: Path, targets: Sequence[str], *, labels: bool = False) -> pd.DataFrame:
    """Rows of validation.csv or test.csv: trial, frame (from 0), the targets and, when `labels`, `{target}_label`."""
    columns = [*targets, *(f"{target}_label" for target in targets if labels)]
    types: dict[Hashable, str] = {"trial": "str", "frame": "int64", **dict.fromkeys(columns, "float64")}
    try:
        # A trial may be called "NA" or "null"; only numbers can be absent.
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={name: ["", "nan", "NaN"] for name in columns})
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as predictions ({error}); train this instance again") from None
    absent = [name for name in ("trial", "frame", *columns) if name not in table.columns]
    if absent:
        raise InputError(f"{path}: column {', '.join(absent)} is absent (found: {', '.join(table.columns)}); train this instance again")
    return table[["trial", "frame", *columns]]
