"""Is run A better than run B? Paired bootstrap over trials of their validation predictions.

Every pair of instances is compared on the rows that both predict, with the same resampled trials for both. A run is any
folder that holds instances: a results folder, `runs/can`, `runs/can/valence/fold0`, or one seed's folder. Pairs are
matched by what lies below the two folders; of several seeds the one with the best validation CCC stands for its fold
(choosing flatters both sides alike only when both have as many seeds, so their numbers are given).
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import bootstrap, metrics
from abaw_pipeline.evaluation.instances import TARGETS, read_predictions

RESAMPLES = 5000
SEED_FOLDER = re.compile(r"seed(\d+)")
LABEL_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Side:
    """The instance that stands for one place of a run."""

    folder: Path
    seeds: int
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A against B at one place for one target; `probability` that A is better, by resampling trials."""

    place: str
    target: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    probability: float
    trials: int
    rows: int
    seeds_a: int
    seeds_b: int


def sides(run: Path) -> dict[str, Side]:
    """For every place below `run` ("runs/can/valence/fold0", or "" for the folder itself) its best instance."""
    if not run.is_dir():
        raise InputError(f"{run}: no such folder")
    found: dict[str, list[tuple[float, int, Path]]] = {}
    for path in sorted(run.rglob("metrics.json")):
        folder = path.parent
        match = SEED_FOLDER.fullmatch(folder.resolve().name)
        if not match or not (folder / "validation.csv").is_file():
            continue
        place = "" if folder == run else folder.parent.relative_to(run).as_posix()
        values = [score.get("ccc") for score in json.loads(path.read_text(encoding="utf-8")).get("validation", {}).values()]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if known:
            found.setdefault("" if place == "." else place, []).append((-sum(known) / len(known), int(match[1]), folder))
    if not found:
        raise InputError(f"{run}: holds no trained instance (seed*/metrics.json with validation.csv beside it)")
    return {place: Side(min(seeds)[2], len(seeds), _targets(min(seeds)[2])) for place, seeds in found.items()}


def _targets(folder: Path) -> tuple[str, ...]:
    columns = pd.read_csv(folder / "validation.csv", nrows=0).columns
    return tuple(target for target in TARGETS if target in columns)


def paired(a: Path, b: Path, target: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moments per trial of A and of B, over the trials and rows that both predict. Raises InputError when labels differ."""
    tables = [read_predictions(folder / "validation.csv", (target,), labels=True) for folder in (a, b)]
    both = tables[0].merge(tables[1], on=["trial", "frame"], suffixes=("_a", "_b"), validate="one_to_one").sort_values(["trial", "frame"])
    if both.empty:
        raise InputError(f"{a} and {b} share no validation row: their folds differ")
    label = both[f"{target}_label_a"].to_numpy()
    differing = int((np.abs(label - both[f"{target}_label_b"].to_numpy()) > LABEL_TOLERANCE).sum())
    if differing:
        raise InputError(f"{a} and {b}: {differing} rows have different labels; the runs saw different datasets")
    trials = both["trial"].tolist()
    # A row that either cannot score is scored by neither.
    usable = np.isfinite(both[f"{target}_a"].to_numpy()) & np.isfinite(both[f"{target}_b"].to_numpy())
    label = np.where(usable, label, np.nan)
    return metrics.moments_by(trials, both[f"{target}_a"], label)[1], metrics.moments_by(trials, both[f"{target}_b"], label)[1]


def compare(a: Path, b: Path, resamples: int = RESAMPLES) -> list[Comparison]:
    """Every place and target that both runs have, then all places of a target together.

    Raises InputError when there is nothing in common.
    """
    left, right = sides(a), sides(b)
    places = [place for place in left if place in right]
    rows: list[Comparison] = []
    for target in TARGETS:
        pooled: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        for place in places:
            one, other = left[place], right[place]
            if target in one.targets and target in other.targets:
                pair = paired(one.folder, other.folder, target)
                pooled.append(pair)
                rows.append(_compare(place or one.folder.name, target, *pair, resamples, one.seeds, other.seeds))
        if len(pooled) > 1:
            together = [np.concatenate([pair[side] for pair in pooled]) for side in (0, 1)]
            rows.append(_compare("all together", target, together[0], together[1], resamples, 0, 0))
    if not rows:
        raise InputError(
            f"{a} (with {', '.join(left) or 'one instance'}) and {b} (with {', '.join(right) or 'one instance'}) have nothing in common"
        )
    return rows


def _compare(
    place: str, target: str, a: NDArray[np.float64], b: NDArray[np.float64], resamples: int, seeds_a: int, seeds_b: int
) -> Comparison:
    difference = bootstrap.ccc_difference(a, b, resamples)
    ccc = [float(metrics.ccc_of(metrics.add(parts))) for parts in (a, b)]
    rows = int(a[:, metrics.N].sum())
    found = (difference.value, difference.low, difference.high, difference.probability)
    return Comparison(place, target, ccc[0], ccc[1], *found, len(a), rows, seeds_a, seeds_b)


def text(rows: Sequence[Comparison]) -> str:
    """A table for people."""
    width = max(len(row.place) for row in rows)
    lines = [f"{'':<{width}} emotion      A       B     A - B   95 % interval      P(A better)  trials  seeds"]
    for row in rows:
        seeds = f"{row.seeds_a}/{row.seeds_b}" if row.seeds_a else ""
        lines.append(
            f"{row.place:<{width}} {row.target:<8} {row.a:7.3f} {row.b:7.3f}  {row.difference:+7.3f}  [{row.low:+.3f}, {row.high:+.3f}]"
            f"   {row.probability:10.3f}  {row.trials:>6}  {seeds}"
        )
    if any(row.seeds_a != row.seeds_b for row in rows):
        lines.append("note: the side with more seeds had more to choose from, which flatters it")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="a results folder, or a folder below runs/")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="the other")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples of trials (default {RESAMPLES})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(args: argparse.Namespace) -> None:
    """Print the comparison."""
    rows = compare(args.run_a, args.run_b, args.resamples)
    if args.json:
        value: list[dict[str, Any]] = [
            {name: None if isinstance(item, float) and not math.isfinite(item) else item for name, item in asdict(row).items()}
            for row in rows
        ]
        print(json.dumps(value, indent=1))
    else:
        print(text(rows))
