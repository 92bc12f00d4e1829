"""What a results folder holds, read for the report, the summary and comparisons. Absent parts are None or empty."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation.instances import TARGETS, Instance, expected_instances, read_instances, read_predictions
from abaw_pipeline.evaluation.select import rank

# Table 1 of the ABAW5 report: validation CCC of the best of 15 instances.
PAPER_FOLDS: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "valence": {"lfan": {0: 0.441}, "can": {0: 0.423, 1: 0.612, 2: 0.484, 3: 0.529, 4: 0.543, 5: 0.488}},
    "arousal": {"lfan": {0: 0.645}, "can": {0: 0.670, 1: 0.680, 2: 0.592, 3: 0.618, 4: 0.655, 5: 0.610}},
}
PAPER_TEST = {"valence": 0.553, "arousal": 0.630, "mean": 0.591}


@dataclass(frozen=True)
class Results:
    """A results folder."""

    folder: Path

    def json(self, name: str) -> Any:
        """A JSON file, or None when it is absent."""
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error}); delete it and run its stage again") from None

    def table(self, name: str) -> pd.DataFrame | None:
        """A CSV file, or None when it is absent or has no rows. Trial and video names stay text."""
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            texts = dict.fromkeys(("trial", "video", "subject", "partition", "model", "emotion", "status", "note"), "str")
            table = pd.read_csv(path, dtype=texts)
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(f"{path}: not a CSV table ({error}); delete it and run its stage again") from None
        return None if table.empty else table

    @cached_property
    def index(self) -> dict[str, Any]:
        """dataset/index.json, or an empty mapping."""
        return self.json("dataset/index.json") or {}

    @cached_property
    def instances(self) -> list[Instance]:
        """Every instance, expected (when the run says which were) or found."""
        expected = self.json("runs/expected.json")
        keys = None if expected is None else expected_instances(expected["instances"] if isinstance(expected, dict) else expected)
        return read_instances(self.folder / "runs", keys)

    @cached_property
    def chosen(self) -> dict[tuple[str, str, int], Instance]:
        """The best instance of each model, emotion and fold."""
        return {key: ranked[0] for key, ranked in rank(self.instances).items()}

    def validation(self, instance: Instance) -> pd.DataFrame:
        """Validation predictions and labels of an instance."""
        return read_predictions(self.folder / "runs" / instance.name / "validation.csv", instance.targets, labels=True)

    def history(self, instance: Instance) -> pd.DataFrame | None:
        """history.csv of an instance."""
        return self.table(f"runs/{instance.name}/history.csv")

    def faces(self, trial: str, frames: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[NDArray[np.uint8] | None]] | None:
        """Times (s) and face images of some frames of a trial; None for a frame without a face, or without a dataset file."""
        paths = {item["trial"]: item["path"] for item in self.index.get("trials", [])}
        path = self.folder / "dataset" / paths.get(trial, f"{trial}.h5")
        if not path.is_file():
            return None
        try:
            with h5py.File(path, "r") as file:
                present, times = file["face_present"][()], file["time"][()]
                images = [np.asarray(file["frames"][int(frame)]) if present[frame] else None for frame in frames]
                return np.asarray(times, dtype=np.float64)[frames], images
        except (OSError, KeyError, IndexError):
            # A file that was moved away, or whose linked frames were: the curve stands without pictures.
            return None

    def times(self, trial: str) -> NDArray[np.float64] | None:
        """Seconds of every frame of a trial."""
        paths = {item["trial"]: item["path"] for item in self.index.get("trials", [])}
        path = self.folder / "dataset" / paths.get(trial, f"{trial}.h5")
        if not path.is_file():
            return None
        with h5py.File(path, "r") as file:
            return np.asarray(file["time"][()], dtype=np.float64) if "time" in file else None

    def costs(self) -> list[dict[str, Any]]:
        """Per stage, from Snakemake's benchmark files: jobs, seconds in all and at most, CPU seconds, memory at most (MB)."""
        stages: dict[str, list[dict[str, float]]] = {}
        folder = self.folder / "benchmarks"
        for path in sorted(folder.rglob("*.tsv")):
            stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
            lines = path.read_text(encoding="utf-8").splitlines()
            header = lines[0].split("\t") if lines else []
            for line in lines[1:]:
                values = dict(zip(header, line.split("\t"), strict=False))
                stages.setdefault(stage, []).append({name: _number(values.get(name, "")) for name in ("s", "cpu_time", "max_rss")})
        rows = []
        for stage, jobs in stages.items():
            seconds = [job["s"] for job in jobs]
            row = {"stage": stage, "jobs": len(jobs), "seconds": _sum(seconds), "longest": max(seconds)}
            rows.append(row | {"cpu": _sum([job["cpu_time"] for job in jobs]), "memory": _most([job["max_rss"] for job in jobs])})
        return sorted(rows, key=lambda row: -row["seconds"])


def pooled_validation(results: Results, model: str, target: str) -> pd.DataFrame:
    """Validation rows of a model's chosen instances over all its folds: trial, frame, prediction, label, fold.

    Between the best network for one emotion and one for both, the one chosen by `select` counts.
    """
    from abaw_pipeline.evaluation.select import per_fold

    parts = []
    for (name, fold), chosen in per_fold(results.instances).items():
        if name == model and target in chosen:
            table = results.validation(chosen[target])
            named = table.rename(columns={target: "prediction", f"{target}_label": "label"})
            parts.append(named[["trial", "frame", "prediction", "label"]].assign(fold=fold))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["trial", "frame", "prediction", "label", "fold"])


def targets_of(instances: list[Instance]) -> list[str]:
    """Valence, arousal, or both, whichever are predicted."""
    return [target for target in TARGETS if any(target in item.targets for item in instances)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # Snakemake writes "-" or "NA" for jobs too short to measure


def _sum(values: list[float]) -> float:
    return math.fsum(value for value in values if math.isfinite(value))


def _most(values: list[float]) -> float:
    return max((value for value in values if math.isfinite(value)), default=math.nan)
