"""The audit: what was excluded, missing or repaired, as a table, a figure and one page, before anything is trained.

All counts come from the `audit` attribute that the dataset stage wrote into each trial's file; nothing is repaired
anywhere that is not counted there.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from abaw_pipeline.alignment import word_index
from abaw_pipeline.atomic import whole_file, write_text
from abaw_pipeline.config import Audit
from abaw_pipeline.corpus.folds import shared_with_test
from abaw_pipeline.corpus.trials import PARTITIONS, Trial, read_trials
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import progress
from abaw_pipeline.store import open_trial

COLUMNS = (
    *("trial", "video", "partition", "group"),
    *("frames", "rows", "annotation_rows", "template_rows", "decoder_frames"),
    *("excluded", "excluded_share", "excluded_start", "excluded_inner", "excluded_end", "inner_gaps", "single_minus5"),
    *("images", "surplus_images", "other_files", "missing_faces", "missing_faces_share", "missing_faces_kept"),
    *("corrupt_images", "corrupt_images_share", "corrupt_names", "slid_rows"),
    *("fps", "variable_rate", "times_assumed", "times_extrapolated", "times_trimmed", "hidden_pictures", "length_repair_share"),
    *("picture_seconds", "sound_track", "sound_seconds", "sound_gap_seconds", "offset_seconds"),
    *("padded_samples", "trimmed_samples", "gap_samples", "overlap_samples", "unexplained_samples", "decoder_messages"),
    *("edge_padded_samples", "logmel_rows_repeated", "words", "cut_words", "zero_words", "word_coverage"),
)
BINS = 150
"""Parts of a trial that its strip in the figure shows."""
LABELLED = 60
"""With more trials than this the figure names partitions only."""
STRIPS = ("excluded", "no face", "no sound", "no word")
NAMED = 6
"""Trials named per finding on the summary page."""


@dataclass(frozen=True)
class Audited:
    """One trial: its row of the table, and its strips (4, BINS): which share of a bin's frames lacks what, from 0 to 1."""

    row: dict[str, Any]
    strips: NDArray[np.float32]


def audited(trial: Trial, path: Path) -> Audited:
    """The table row and the strips of a trial, from its file. Raises InputError when that lacks a part or a count."""
    with open_trial(path) as file:
        counts = json.loads(str(file.attrs["audit"]))
        time, rows, face_present, spans = (file[name][()] for name in ("time", "rows", "face_present", "word_time"))
    row = {"trial": trial.trial, "video": trial.video, "partition": trial.partition, "group": trial.group} | counts
    try:
        row |= _shares(row)
        row = {name: row[name] for name in COLUMNS}
    except KeyError as error:
        raise InputError(f"{path}: no count {error}; run the dataset stage again") from None
    excluded = np.ones(len(time), bool)
    excluded[rows] = False
    unheard = time > (row["sound_seconds"] if row["sound_track"] else -1)
    unsaid = word_index(time, spans) < 0
    return Audited(row, np.stack([_binned(values) for values in (excluded, ~face_present, unheard, unsaid)]))


def _shares(row: dict[str, Any]) -> dict[str, float]:
    """The derived columns that thresholds look at."""
    repaired = row["times_extrapolated"] + row["times_trimmed"] + row["surplus_images"]
    return {
        "excluded_share": round(row["excluded"] / row["frames"], 6),
        "missing_faces_share": round(row["missing_faces"] / row["frames"], 6),
        "corrupt_images_share": round(row["corrupt_images"] / max(1, row["images"]), 6),
        # A trial can have more surplus images than frames; a limit of 1 allows everything all the same.
        "length_repair_share": min(1.0, round(repaired / row["frames"], 6)),
        "sound_gap_seconds": round(abs(row["sound_seconds"] - row["picture_seconds"]), 6) if row["sound_track"] else 0.0,
    }


def _binned(values: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of `values` (F,) in BINS equal parts of the trial."""
    edges = np.linspace(0, len(values), BINS + 1)
    total = np.interp(edges, np.arange(len(values) + 1), np.concatenate([[0], np.cumsum(values)]))
    shares: NDArray[np.float32] = (np.diff(total) / np.diff(edges)).astype(np.float32)
    return shares


def exceeded(rows: Sequence[dict[str, Any]], limits: Audit) -> list[str]:
    """Each count above its limit, in words."""
    columns = {
        "excluded_share": limits.max_excluded_share,
        "missing_faces_share": limits.max_missing_faces_share,
        "corrupt_images_share": limits.max_corrupt_images_share,
        "length_repair_share": limits.max_length_repair_share,
        "sound_gap_seconds": limits.max_sound_gap_seconds,
    }
    return [
        f"{row['trial']}: {column} is {row[column]:g}, above audit.max_{column} = {limit:g}"
        for row in rows
        for column, limit in columns.items()
        if row[column] > limit
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The text of `audit.csv`."""
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        writer.writerow(rounded | {"corrupt_names": " ".join(row["corrupt_names"])})
    return written.getvalue()


# What is looked for: words, how much of it a trial has (0: not found), and its unit, or "" where there is only yes and no.
FINDINGS: tuple[tuple[str, Callable[[dict[str, Any]], float], str], ...] = (
    ("rows excluded for -5", lambda row: row["excluded"], "row"),
    ("gaps of excluded rows between kept ones", lambda row: row["inner_gaps"], "gap"),
    ("rows with a single -5", lambda row: row["single_minus5"], "row"),
    ("frames without a face image", lambda row: row["missing_faces"], "frame"),
    ("images that cannot be decoded", lambda row: row["corrupt_images"], "image"),
    ("images beyond the last row, unused", lambda row: row["surplus_images"], "image"),
    ("files among the images that are none, unused", lambda row: row["other_files"], "file"),
    ("pictures slid against labels (`fidelity.rows: report`)", lambda row: row["slid_rows"], "row"),
    ("no video, or one without times: times from an assumed frame rate", lambda row: row["times_assumed"], "row"),
    ("rows beyond the decoder's frames, times extrapolated", lambda row: row["times_extrapolated"], "row"),
    ("decoder frames beyond the last row, trimmed", lambda row: row["times_trimmed"], "frame"),
    ("pictures that the container hides, left out as players do", lambda row: row["hidden_pictures"], "picture"),
    ("variable frame rate", lambda row: row["variable_rate"], ""),
    ("no sound track", lambda row: not row["sound_track"], ""),
    ("sound and picture lengths differ by over 0.1 s", lambda row: row["sound_gap_seconds"] * (row["sound_gap_seconds"] > 0.1), "s"),
    ("silence put before or into the sound", lambda row: row["padded_samples"] + row["gap_samples"], "sample"),
    ("sound before the first picture or held twice, cut", lambda row: row["trimmed_samples"] + row["overlap_samples"], "sample"),
    ("damaged sound, of which the decoder complains", lambda row: row["decoder_messages"], "complaint"),
    ("rows after the last full log-mel window, which they repeat", lambda row: row["logmel_rows_repeated"], "row"),
    ("words too long for the features' model, cut to its limit", lambda row: row["cut_words"], "word"),
    ("words that the features' model has no token for, zeros", lambda row: row["zero_words"], "word"),
    ("no recognised word", lambda row: row["words"] == 0, ""),
)


def summary(rows: Sequence[dict[str, Any]], problems: Sequence[str], shared: Sequence[str]) -> str:
    """The one-page summary, in Markdown: totals per partition, then each finding with the trials it is largest in."""
    lines = ["# Audit", "", "Counts per trial: `audit.csv`. What the columns mean: `docs/corpora.md`.", "", "## Totals", ""]
    lines += ["| | " + " | ".join(PARTITIONS) + " | all |", "|---|" + "---:|" * (len(PARTITIONS) + 1)]
    parts = [[row for row in rows if row["partition"] == partition] for partition in PARTITIONS] + [list(rows)]
    for name, value in TOTALS:
        lines.append(f"| {name} | " + " | ".join(value(part) if part else "–" for part in parts) + " |")
    lines += ["", "## Findings", ""]
    for name, amount, unit in FINDINGS:
        found = sorted(((float(amount(row)), row["trial"]) for row in rows if amount(row)), key=lambda pair: (-pair[0], pair[1]))
        if found:
            named = ", ".join(f"{trial} ({_amount(size, unit)})" if unit else trial for size, trial in found[:NAMED])
            more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
            total = f", {_amount(sum(size for size, _ in found), unit)} in all" if unit else ""
            lines.append(f"- **{name}**: {len(found)} of {len(rows)} trials{total}: {named}{more}")
    if shared:
        lines += ["", "## In the test set and outside it", "", *(f"- {group}" for group in shared)]
    lines += ["", "## Limits", "", *(f"- {problem}" for problem in problems)]
    if not problems:
        lines.append("All counts are within the limits of the `audit` settings.")
    return "\n".join(lines) + "\n"


def _amount(size: float, unit: str) -> str:
    return f"{size:.2f} s" if unit == "s" else f"{size:,.0f} {unit}{'' if size == 1 else 's'}"


def _sum(column: str) -> Callable[[list[dict[str, Any]]], str]:
    return lambda rows: f"{sum(row[column] for row in rows):,}"


def _share(column: str, of: str) -> Callable[[list[dict[str, Any]]], str]:
    return lambda rows: f"{100 * sum(row[column] for row in rows) / max(1, sum(row[of] for row in rows)):.2f} %"


TOTALS: tuple[tuple[str, Callable[[list[dict[str, Any]]], str]], ...] = (
    ("trials", lambda rows: str(len(rows))),
    ("videos", lambda rows: str(len({row["video"] for row in rows}))),
    ("groups (source videos or subjects)", lambda rows: str(len({row["group"] for row in rows}))),
    ("frames", _sum("frames")),
    ("kept rows", _sum("rows")),
    ("excluded rows", _share("excluded", "frames")),
    ("frames without a face", _share("missing_faces", "frames")),
    ("images that cannot be decoded", _sum("corrupt_images")),
    ("hours of picture", lambda rows: f"{sum(row['picture_seconds'] for row in rows) / 3600:.2f}"),
    ("trials without sound", lambda rows: str(sum(not row["sound_track"] for row in rows))),
    (
        "kept rows inside a word",
        lambda rows: f"{100 * sum(r['word_coverage'] * r['rows'] for r in rows) / sum(r['rows'] for r in rows):.1f} %",
    ),
    ("kept rows, least, median, most per trial", lambda rows: _spread([row["rows"] for row in rows])),
)


def _spread(values: list[int]) -> str:
    return f"{min(values):,}, {float(np.median(values)):,.0f}, {max(values):,}"


def figure(trials: Sequence[Audited]) -> Figure:
    """One line per trial and one panel per strip, dark where frames lack something; lengths at the right."""
    count = len(trials)
    tall = 1.4 + count * (0.19 if count <= LABELLED else 0.022)
    drawn = Figure(figsize=(12, max(3.0, tall)), layout="constrained")
    axes = drawn.subplots(1, len(STRIPS) + 1, sharey=True, width_ratios=[*([3] * len(STRIPS)), 2])
    drawn.suptitle("What each trial lacks, over its course; shade: square root of the share of frames", fontsize=10)
    strips = np.stack([trial.strips for trial in trials])  # trials, strips, bins
    frames = np.array([trial.row["frames"] for trial in trials])
    for number, name in enumerate(STRIPS):
        axis, lacking = axes[number], strips[:, number]
        # The root lets a few lacking frames of a long trial be seen; -0.07 keeps what lacks nothing apart from the page.
        axis.imshow(np.sqrt(lacking), cmap="Greys", vmin=-0.07, vmax=1, aspect="auto", interpolation="nearest", extent=(0, 100, count, 0))
        axis.set_title(f"{name}: {100 * np.average(lacking.mean(axis=1), weights=frames):.1f} % of frames", fontsize=10)
        axis.set_xlabel("% of the trial", fontsize=9)
        axis.set_xticks([0, 50, 100])
        if count <= LABELLED:
            axis.hlines(np.arange(1, count), 0, 100, color="white", linewidth=1.5)
    rows = [trial.row for trial in trials]
    _lengths(axes[-1], rows)
    sizes = [sum(row["partition"] == partition for row in rows) for partition in PARTITIONS]
    edges = np.cumsum([0, *sizes])
    for axis in axes:
        for edge in edges[1:-1]:
            axis.axhline(edge, color="black", linewidth=1.2)
        axis.tick_params(labelsize=8)
    if count <= LABELLED:
        axes[0].set_yticks(np.arange(count) + 0.5, [row["trial"] for row in rows])
        side = axes[-1].secondary_yaxis("right")
        side.set_yticks(*_named(edges), rotation=90, va="center")
        side.tick_params(length=0, labelsize=9)
    else:
        axes[0].set_yticks(*_named(edges), rotation=90, va="center")
    return drawn


def _named(edges: NDArray[np.int_]) -> tuple[list[float], list[str]]:
    """Middle and name of each partition that has trials."""
    sides = zip(edges, edges[1:], PARTITIONS, strict=False)
    named = [((low + high) / 2, f"{partition} ({high - low})") for low, high, partition in sides if high > low]
    return [middle for middle, _ in named], [name for _, name in named]


def _lengths(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Bars of picture length; a line where the sound ends."""
    middle = np.arange(len(rows)) + 0.5
    axis.barh(middle, [row["picture_seconds"] for row in rows], height=0.8, color="0.75")
    heard = [(place, row["sound_seconds"]) for place, row in zip(middle, rows, strict=True) if row["sound_track"]]
    if heard:
        axis.vlines([end for _, end in heard], [at - 0.5 for at, _ in heard], [at + 0.5 for at, _ in heard], color="black", linewidth=1)
    axis.set_title("length (line: sound)", fontsize=10)
    axis.set_xlabel("s", fontsize=9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audit`."""
    parser.add_argument("--trials", type=Path, required=True, help="trials.csv")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of the {trial}.h5 files")
    parser.add_argument("--settings", required=True, help="JSON of the `audit` settings")
    parser.add_argument("--output", type=Path, required=True, help="audit.csv to write")
    parser.add_argument("--figures", type=Path, required=True, help="folder for audit.png, audit.svg and audit.md")


def main(args: argparse.Namespace) -> None:
    """Write everything, then raise InputError when a count is above its limit."""
    trials = read_trials(args.trials)
    found = [audited(trial, args.datasets / f"{trial.trial}.h5") for trial in progress(trials, "audit", len(trials), "trials")]
    rows = [trial.row for trial in found]
    problems = exceeded(rows, Audit.model_validate_json(args.settings))
    write_text(args.output, table(rows))
    write_text(args.figures / "audit.md", summary(rows, problems, shared_with_test(trials)))
    with rc_context({"svg.hashsalt": "audit", "svg.fonttype": "none"}):
        drawn = figure(found)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with whole_file(args.figures / f"audit.{suffix}") as aside:
                drawn.savefig(aside, dpi=150, metadata=metadata)
    if problems:
        raise InputError("the audit found more than the limits allow:\n  " + "\n  ".join(problems) + f"\nSee {args.figures / 'audit.md'}.")
