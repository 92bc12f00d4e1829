"""Score submission files against a hidden truth, for corpora that have one (the demo)."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abaw_pipeline.atomic import write_json
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import bootstrap, metrics
from abaw_pipeline.evaluation.instances import TARGETS
from abaw_pipeline.evaluation.validate import split_location

RESAMPLES = 1000


def read_truth(folder: Path) -> pd.DataFrame:
    """Rows of every `{trial}.csv` in `folder` (frame from 0, valence, arousal), with a column `trial`."""
    tables = []
    for path in sorted(folder.glob("*.csv")):
        try:
            table = pd.read_csv(path)[["frame", *TARGETS]]
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: expected columns frame, valence, arousal ({error})") from None
        tables.append(table.assign(trial=path.stem))
    if not tables:
        raise InputError(f"{folder}: no truth there ({{trial}}.csv with frame, valence, arousal)")
    return pd.concat(tables, ignore_index=True)


def read_submission(path: Path) -> pd.DataFrame:
    """Rows of a submission file: trial, frame (from 0), valence, arousal."""
    table = pd.read_csv(path, dtype={"image_location": "str"}, keep_default_na=False)
    places = [split_location(location) for location in table["image_location"]]
    return table.assign(trial=[trial for trial, _ in places], frame=[frame for _, frame in places])[["trial", "frame", *TARGETS]]


def score(submission: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """CCC of valence, arousal and their mean over all rows that have a truth, intervals over trials, and CCC per trial.

    Rows whose truth is -5 (not annotated) are left out, as in the challenge; `rows` counts those scored and
    `rows_without_truth` the submission's others.
    """
    joined = submission.merge(truth, on=["trial", "frame"], how="inner", suffixes=("", "_truth"), validate="one_to_one")
    annotated = joined[(joined["valence_truth"] > -5) & (joined["arousal_truth"] > -5)]
    if annotated.empty:
        raise InputError("no row of the submission has a truth; does the truth folder belong to this corpus?")
    values: dict[str, Any] = {"rows": len(annotated), "rows_without_truth": len(submission) - len(annotated)}
    values["trials"] = int(annotated["trial"].nunique())
    values["truth_trials_without_rows"] = sorted(set(truth["trial"]) - set(annotated["trial"]))
    per_trial: dict[str, dict[str, float | None]] = {}
    for target in TARGETS:
        names, parts = metrics.moments_by(annotated["trial"].tolist(), annotated[target], annotated[f"{target}_truth"])
        interval = bootstrap.ccc_interval(parts, RESAMPLES)
        values[target] = _rounded(interval.value)
        values[f"{target}_interval"] = [_rounded(interval.low), _rounded(interval.high)]
        values[f"{target}_rmse"] = _rounded(float(metrics.rmse_of(metrics.add(parts))))
        for name, value in zip(names, np.atleast_1d(metrics.ccc_of(parts)), strict=True):
            per_trial.setdefault(name, {})[target] = _rounded(float(value))
    values["mean"] = _rounded((values["valence"] + values["arousal"]) / 2)
    values["per_trial"] = per_trial
    return values


def _rounded(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def write_scores(files: Sequence[Path], truth: Path, output: Path) -> dict[str, Any]:
    """Score each file and write `{file name: scores}` as JSON."""
    table = read_truth(truth)
    value = {path.name: score(read_submission(path), table) for path in files}
    write_json(output, value)
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `score`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="valid submission text files")
    parser.add_argument("--truth", type=Path, required=True, help="folder of {trial}.csv: frame, valence, arousal")
    parser.add_argument("--output", type=Path, required=True, help="scores.json")


def main(args: argparse.Namespace) -> None:
    """Score, write and print."""
    for name, values in write_scores(args.files, args.truth, args.output).items():
        print(f"{name}: test CCC valence {values['valence']:.3f}, arousal {values['arousal']:.3f}, mean {values['mean']:.3f}")
