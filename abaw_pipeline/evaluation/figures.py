"""The report's figures, in one style: readable in grey, at 360 pixels and on paper.

Each function draws one small figure and returns it; `save` writes SVG and PNG. Lines differ by dash and marker as well
as by colour, and colours differ in lightness. Text is drawn as outlines, so that a figure looks the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from abaw_pipeline.atomic import whole_file

STYLE: Any = {
    **{"font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5},
    **{"legend.fontsize": 8.5, "font.family": "DejaVu Sans", "axes.titlelocation": "left", "axes.titleweight": "bold"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555", "axes.linewidth": 0.8},
    **{"axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "text.color": "#222"},
    **{"axes.labelcolor": "#222", "xtick.color": "#333", "ytick.color": "#333", "legend.frameon": False},
    **{"lines.linewidth": 1.6, "figure.dpi": 160, "svg.fonttype": "path", "svg.hashsalt": "abaw", "figure.constrained_layout.use": True},
}
SMALL = (3.1, 2.45)
WIDE = (4.8, 2.8)
# Dark, middle and light by turns, so that neighbours differ in grey too.
COLOURS = ("#12436d", "#d9730d", "#3b8f5a", "#7a3b8f", "#b0282f", "#5d6b78")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, PALE = "#222222", "#b5bcc4"
MOST_POINTS = 1500


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png; equal figures give equal bytes."""
    with (
        mpl.rc_context(STYLE),
        whole_file(stem.with_name(stem.name + ".png")) as png,
        whole_file(stem.with_name(stem.name + ".svg")) as svg,
    ):
        # The canvases' own functions draw once each; `savefig` would draw, and lay out, twice as often.
        raster: Any = FigureCanvasAgg(figure)
        raster.print_png(png, metadata={"Software": None})
        figure.set_layout_engine("none")
        vector: Any = FigureCanvasSVG(figure)
        vector.print_svg(svg, metadata={"Date": None, "Creator": None})


def fold_scores(
    title: str,
    scores: Mapping[str, Mapping[int, Sequence[float]]],
    intervals: Mapping[str, Mapping[int, tuple[float, float]]],
    paper: Mapping[str, Mapping[int, float]],
) -> Figure:
    """Validation CCC by fold: every instance a pale dot, the best a full one with its interval, the paper's a cross."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SMALL)
        axes = figure.subplots()
        folds = sorted({fold for by_fold in scores.values() for fold in by_fold})
        step = 0.7 / max(len(scores), 1)
        for place, (model, by_fold) in enumerate(scores.items()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            shift = (place - (len(scores) - 1) / 2) * step
            for fold, values in by_fold.items():
                x = fold + shift
                axes.plot([x] * len(values), values, marker, color=colour, alpha=0.3, markersize=4, markeredgewidth=0)
                low, high = intervals.get(model, {}).get(fold, (np.nan, np.nan))
                if np.isfinite(low):
                    axes.plot([x, x], [low, high], "-", color=colour, linewidth=1.2)
                first = fold == min(by_fold)
                axes.plot([x], [max(values)], marker, color=colour, markersize=6.5, label=model if first else None)
                if fold in paper.get(model, {}):
                    axes.plot([x], [paper[model][fold]], "x", color=INK, markersize=7)
        if any(fold in paper.get(model, {}) for model, by_fold in scores.items() for fold in by_fold):
            axes.plot([], [], "x", color=INK, markersize=7, label="paper")
        axes.set_xticks(folds)
        axes.set(title=title, xlabel="fold", ylabel="validation CCC")
        axes.set_xlim(min(folds, default=0) - 0.6, max(folds, default=0) + 0.6)
        # The data may reach any corner, so the names stand above.
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.3, columnspacing=1.2)
    return figure


def best_of_k(title: str, curves: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Expected best validation CCC of k instances, mean over folds, for each model."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SMALL)
        axes = figure.subplots()
        for place, (model, values) in enumerate(curves.items()):
            style: Any = {"color": COLOURS[place % 6], "linestyle": DASHES[place % 6], "marker": MARKERS[place % 6]}
            axes.plot(np.arange(1, len(values) + 1), values, markersize=4.5, label=model, **style)
        axes.set_xlim(0.5, max((len(values) for values in curves.values()), default=1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(title=title, xlabel="instances to choose from (k)", ylabel="expected best CCC")
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.5, columnspacing=1.2)
    return figure


def learning_curve(title: str, histories: Mapping[int, pd.DataFrame], chosen: int, limits: tuple[float, float]) -> Figure:
    """Validation CCC by epoch: the chosen instance with its training CCC and releases, the other seeds behind it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SMALL)
        axes = figure.subplots()
        others = [seed for seed in histories if seed != chosen]
        for place, seed in enumerate(others):
            table = histories[seed]
            axes.plot(table["epoch"], table["validation_ccc"], color=PALE, linewidth=1, label="" if place else "other seeds")
        table = histories[chosen]
        if "train_ccc" in table:
            axes.plot(table["epoch"], table["train_ccc"], color=COLOURS[1], linestyle="--", linewidth=1.1, label="training")
        axes.plot(table["epoch"], table["validation_ccc"], color=COLOURS[0], linewidth=2, label=f"seed {chosen}")
        if table["validation_ccc"].notna().any():
            best = int(np.nanargmax(table["validation_ccc"].to_numpy()))
            axes.plot(table["epoch"].iloc[[best]], table["validation_ccc"].iloc[[best]], "o", color=COLOURS[0], markersize=6)
        for epoch, group in releases(table):
            axes.axvline(epoch, color=INK, linestyle=":", linewidth=1)
            axes.annotate(
                f"group {group}", (epoch, 0.02), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points", fontsize=7.5
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel="epoch", ylabel="CCC", ylim=limits)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, handletextpad=0.5, columnspacing=0.9, fontsize=8)
    return figure


def releases(history: pd.DataFrame) -> list[tuple[int, int]]:
    """Epoch and number of each group of layers released after the first."""
    groups = history["group"].to_numpy()
    changed = np.flatnonzero(np.diff(groups)) + 1
    return [(int(history["epoch"].iloc[row]), int(groups[row])) for row in changed]


def trial_curve(
    title: str,
    seconds: NDArray[np.float64],
    prediction: NDArray[np.float64],
    label: NDArray[np.float64],
    film: Sequence[tuple[float, NDArray[np.uint8] | None]],
    xlabel: str = "seconds",
) -> Figure:
    """Prediction against label over time, gaps left open, with face frames under the curve (time, image or None, which shows crossed)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=WIDE if film else (WIDE[0], 2.3))
        axes, *below = figure.subplots(2 if film else 1, 1, squeeze=False, height_ratios=[3.2, 1] if film else None)[:, 0]
        x, drawn = _thinned(seconds, [label, prediction])
        axes.plot(x, drawn[0], color=INK, linewidth=1.8, label="label")
        axes.plot(x, drawn[1], color=COLOURS[1], linestyle="--", linewidth=1.6, label="prediction")
        axes.axhline(0, color="#999", linewidth=0.6)
        axes.set(title=title, ylabel="value", ylim=(-1.05, 1.05), xlim=(seconds[0], max(seconds[-1], seconds[0] + 1e-3)))
        axes.set_yticks([-1, -0.5, 0, 0.5, 1])
        axes.set_xlabel(xlabel)
        for strip in below:
            axes.plot([time for time, _ in film], [-1.05] * len(film), "|", color=INK, markersize=9, clip_on=False)
            strip.imshow(_filmstrip([image for _, image in film]), interpolation="nearest")
            strip.set_axis_off()
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.97), ncols=2, handlelength=1.8, columnspacing=1.0)
    return figure


def _filmstrip(images: Sequence[NDArray[np.uint8] | None], gap: int = 3) -> NDArray[np.uint8]:
    """Square images side by side on white; a pale crossed square where there is no face."""
    size = next((image.shape[0] for image in images if image is not None), 48)
    strip = np.full((size, len(images) * (size + gap) - gap, 3), 255, dtype=np.uint8)
    crossed = np.full((size, size, 3), 225, dtype=np.uint8)
    crossed[np.arange(size), np.arange(size)] = crossed[np.arange(size), np.arange(size)[::-1]] = 150
    for place, image in enumerate(images):
        strip[:, place * (size + gap) : place * (size + gap) + size] = crossed if image is None else image
    return strip


def _thinned(x: NDArray[np.float64], series: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """At most MOST_POINTS points, with a NaN where rows are absent, so that no line bridges a gap."""
    keep = np.unique(np.linspace(0, x.size - 1, min(x.size, MOST_POINTS)).round().astype(int))
    steps = np.diff(x)
    gap = 5 * float(np.median(steps)) if steps.size else np.inf
    breaks = np.flatnonzero(steps > gap)
    keep = np.unique(np.concatenate([keep, breaks, breaks + 1])).astype(int)
    places = np.searchsorted(keep, breaks) + 1
    return np.insert(x[keep], places, np.nan), [np.insert(values[keep], places, np.nan) for values in series]


def calibration(title: str, prediction: NDArray[np.float64], label: NDArray[np.float64]) -> Figure:
    """Where predictions and labels lie (darker: more rows), and the mean label for each tenth of the predictions."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 3.15))
        axes = figure.subplots()
        edges = np.linspace(-1, 1, 41)
        density, _, _ = np.histogram2d(prediction, label, bins=(edges, edges))
        axes.imshow(
            np.log1p(density.T), extent=(-1, 1, -1, 1), origin="lower", cmap="Greys", aspect="equal", interpolation="nearest", vmin=0
        )
        axes.plot([-1, 1], [-1, 1], color=INK, linestyle=":", linewidth=1, label="perfect")
        order = np.argsort(prediction, kind="stable")
        tenths = [part for part in np.array_split(order, 10) if part.size]
        x, y = [prediction[part].mean() for part in tenths], [label[part].mean() for part in tenths]
        axes.plot(x, y, color=COLOURS[1], marker="s", markersize=4.5, label="mean label, by tenths")
        axes.set(title=title, xlabel="prediction", ylabel="label", xlim=(-1, 1), ylim=(-1, 1))
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        axes.set_yticks([-1, -0.5, 0, 0.5, 1])
        axes.grid(False)
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.6, columnspacing=1.0)
    return figure


NAMED = 24


def per_trial(title: str, names: Sequence[str], values: NDArray[np.float64], pooled: float) -> Figure:
    """CCC of every trial, sorted; the line is the CCC of all rows together. Named when they are few."""
    with mpl.rc_context(STYLE):
        order = np.argsort(values, kind="stable")
        named = len(names) <= NAMED
        figure = Figure(figsize=(3.1, max(2.2, 0.9 + 0.19 * len(names)) if named else 3.2))
        axes = figure.subplots()
        axes.axvline(0, color="#999", linewidth=0.8)
        axes.axvline(pooled, color=COLOURS[1], linestyle="--", label=f"all rows together: {pooled:.2f}")
        axes.plot(values[order], np.arange(len(order)), "o", color=COLOURS[0], markersize=4.5 if named else 3)
        if named:
            axes.set_yticks(np.arange(len(order)), [_short(names[place]) for place in order], fontsize=7.5)
        else:
            axes.set_ylabel("trials, sorted")
        axes.set(title=title, xlabel="CCC within the trial", xlim=(min(-0.25, float(values.min(initial=0)) - 0.05), 1))
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center")
    return figure


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def horizontal_bars(title: str, names: Sequence[str], values: Sequence[float], xlabel: str) -> Figure:
    """One bar per name, largest on top, with its value."""
    with mpl.rc_context(STYLE):
        order = np.argsort(values, kind="stable")
        figure = Figure(figsize=(WIDE[0], 0.8 + 0.24 * len(names)))
        axes = figure.subplots()
        widths = np.asarray(values, dtype=float)[order]
        axes.barh(np.arange(len(order)), widths, color=COLOURS[0], height=0.65)
        for place, width in enumerate(widths):
            axes.annotate(f"{width:.3g}", (width, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(np.arange(len(order)), [names[place] for place in order])
        axes.margins(x=0.12)
        axes.set(title=title, xlabel=xlabel)
        axes.grid(axis="y", visible=False)
    return figure


def intervals(title: str, names: Sequence[str], values: Sequence[tuple[float, float, float]], xlabel: str) -> Figure:
    """A dot with its interval (value, low, high) per name, first on top."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDE[0], 0.9 + 0.26 * len(names)))
        axes = figure.subplots()
        for place, (value, low, high) in enumerate(reversed(values)):
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.4)
            axes.plot([value], [place], "o", color=COLOURS[0], markersize=6)
        axes.set_yticks(np.arange(len(names)), list(reversed(names)))
        axes.set(title=title, xlabel=xlabel)
        axes.set_ylim(-0.6, len(names) - 0.4)
    return figure
