"""What each variant of a run changes: all models of a results folder against one of them.

A variant is one more entry under `models:` (other modalities, fusion, backbones, or `fidelity` switches of its own).
Its score is the mean over seeds of the CCC of all validation rows over all folds: no instance is chosen, so nothing
flatters a variant with a lucky seed. Intervals and differences resample trials, the same ones for both sides; a
difference counts only folds and seeds that both have.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abaw_pipeline.atomic import write_text
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import bootstrap, figures, metrics
from abaw_pipeline.evaluation.instances import TARGETS
from abaw_pipeline.evaluation.results import Results

RESAMPLES = 2000

# (fold, seed) -> moments per trial, in the order of the trials' names
Parts = Mapping[tuple[int, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Variant:
    """One model on one target; differences are against the reference, NaN for the reference itself."""

    target: str
    model: str
    ccc: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    probability: float
    """Share of resamples in which it is better than the reference (ties half)."""
    folds: int
    seeds: int
    trials: int


def read_parts(results: Results, target: str) -> dict[str, dict[tuple[int, int], NDArray[np.float64]]]:
    """Per model, fold and seed the moments of each validation trial. Networks for both emotions count as `model (both)`."""
    found: dict[str, dict[tuple[int, int], NDArray[np.float64]]] = {}
    for item in results.instances:
        if item.status == "ok" and target in item.targets:
            table = results.validation(item)
            names, parts = metrics.moments_by(table["trial"].tolist(), table[target], table[f"{target}_label"])
            name = item.model if item.emotion != "both" else f"{item.model} (both)"
            found.setdefault(name, {})[item.fold, item.seed] = parts[np.argsort(names, kind="stable")]
    return found


def scores(parts: Parts, keys: Sequence[tuple[int, int]], resamples: int) -> tuple[float, NDArray[np.float64], int]:
    """Mean over seeds of the CCC of all folds' rows together: as it is, for each resample of trials, and the number of trials."""
    seeds = sorted({seed for _, seed in keys})
    per_seed, drawn, trials = [], [], 0
    for seed in seeds:
        folds = [parts[key] for key in sorted(keys) if key[1] == seed]
        together = np.concatenate(folds)
        trials = len(together)
        per_seed.append(float(metrics.ccc_of(metrics.add(together))))
        if resamples and trials > 1:
            # Seeds with the same folds get the same draws, and so does the other side of a difference.
            drawn.append(metrics.ccc_of(metrics.add(together, bootstrap.counts(trials, resamples))))
    return float(np.mean(per_seed)), np.mean(drawn, axis=0) if drawn else np.full(1, np.nan), trials


def ablate(results: Results, reference: str, resamples: int = RESAMPLES) -> list[Variant]:
    """Every model and target against `reference`, in the order of the configuration. Raises InputError without instances."""
    rows = []
    for target in TARGETS:
        found = read_parts(results, target)
        if not found:
            continue
        if reference not in found:
            raise InputError(
                f"{results.folder}: no usable instance of the reference {reference!r} for {target}; there are {', '.join(found)}"
            )
        for model, parts in found.items():
            value, drawn, trials = scores(parts, list(parts), resamples)
            low, high = _bounds(drawn)
            common = [key for key in parts if key in found[reference]]
            difference, bounds, better = np.nan, (np.nan, np.nan), np.nan
            if model != reference and common:
                (a, drawn_a, _), (b, drawn_b, _) = (scores(side, common, resamples) for side in (parts, found[reference]))
                better = float(np.mean(drawn_a > drawn_b) + np.mean(drawn_a == drawn_b) / 2) if np.isfinite(drawn_a).all() else np.nan
                difference, bounds = a - b, _bounds(drawn_a - drawn_b)
            folds, seeds = len({fold for fold, _ in parts}), len({seed for _, seed in parts})
            rows.append(Variant(target, model, value, low, high, difference, *bounds, better, folds, seeds, trials))
    if not rows:
        raise InputError(f"{results.folder}: no usable instance in runs/; train first")
    return rows


def _bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - bootstrap.LEVEL) / 2, (1 + bootstrap.LEVEL) / 2])
    return float(low), float(high)


def table(rows: Sequence[Variant]) -> str:
    """`ablation.csv`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Variant)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(row).items()}
        writer.writerow({name: "" if pd.isna(value) else value for name, value in rounded.items()})
    return text.getvalue()


def markdown(rows: Sequence[Variant], reference: str) -> str:
    """The table for documents."""
    lines = [f"| variant | emotion | CCC (95 % interval) | against {reference} | P(better) | folds x seeds |", "|---|---|---|---|---|---|"]
    for row in rows:
        own = f"{row.ccc:.3f} ({row.low:.3f} to {row.high:.3f})"
        other = f"{row.difference:+.3f} ({row.difference_low:+.3f} to {row.difference_high:+.3f})" if np.isfinite(row.difference) else "–"
        better = f"{row.probability:.2f}" if np.isfinite(row.probability) else "–"
        lines.append(f"| {row.model} | {row.target} | {own} | {other} | {better} | {row.folds} x {row.seeds} |")
    return "\n".join(lines).replace("-0.", "−0.") + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `ablation`."""
    parser.add_argument("--results", type=Path, required=True, help="results folder whose config lists the variants as models")
    parser.add_argument("--reference", required=True, help="the model that the others are compared with")
    parser.add_argument("--output", type=Path, required=True, help="folder for ablation.csv, ablation.md and the figures")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples of trials (default {RESAMPLES})")


def main(args: argparse.Namespace) -> None:
    """Write the table, as CSV and Markdown, and one figure per emotion; print the table."""
    rows = ablate(Results(args.results), args.reference, args.resamples)
    write_text(args.output / "ablation.csv", table(rows))
    write_text(args.output / "ablation.md", markdown(rows, args.reference))
    for target in dict.fromkeys(row.target for row in rows):
        own = [row for row in rows if row.target == target]
        values = [(row.ccc, row.low, row.high) for row in own]
        figure = figures.intervals(f"{target}: variants", [row.model for row in own], values, "validation CCC, mean over seeds")
        figures.save(figure, args.output / f"ablation_{target}")
    print(markdown(rows, args.reference), end="")
