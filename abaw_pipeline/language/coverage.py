"""How much of each video the recognised words cover: a text branch that is fed mostly zeros must be visible."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from abaw_pipeline.atomic import whole_file, write_text
from abaw_pipeline.corpus.trials import PARTITIONS, read_trials
from abaw_pipeline.errors import InputError
from abaw_pipeline.language.words import read_shard
from abaw_pipeline.progress import progress
from abaw_pipeline.store import open_trial

MOSTLY_ZEROS = 0.5
"""Below this share of frames inside a word a partition's text branch sees mostly zeros, and a warning says so."""
NO_VIDEO = {"words": [], "seconds": 0.0, "note": "no video"}
LABELLED = 60
"""With more videos than this the figure names partitions only."""
SHADES = {"train": "0.35", "validation": "0.6", "test": "0.8"}
HATCHES = {"train": "", "validation": "///", "test": "..."}


@dataclass(frozen=True, kw_only=True)
class Covered:
    """What was recognised in one video, or in a group of them."""

    video: str
    partition: str
    videos: int = 1
    frames: int
    """Kept rows of its trials."""
    inside: int
    """Of these, inside a word."""
    words: int
    seconds: float
    """Sound, from the first frame on."""
    confidence: float
    """Sum over the words."""
    empty: int
    """Videos without a word."""
    note: str = ""

    @property
    def share(self) -> float:
        """Share of frames inside a word; 0 without frames."""
        return self.inside / self.frames if self.frames else 0.0

    def row(self) -> dict[str, Any]:
        """The line of the table. Blank where nothing can be divided."""
        return {
            "video": self.video,
            "partition": self.partition,
            "videos": self.videos,
            "frames": self.frames,
            "word_share": f"{self.share:.4f}" if self.frames else "",
            "words": self.words,
            "seconds": f"{self.seconds:.2f}",
            "words_per_minute": f"{60 * self.words / self.seconds:.1f}" if self.seconds else "",
            "mean_confidence": f"{self.confidence / self.words:.3f}" if self.words else "",
            "empty_transcripts": self.empty,
            "note": self.note,
        }


def of_video(video: str, partition: str, content: dict[str, Any], word_index: Sequence[np.ndarray]) -> Covered:
    """Coverage of one video: its words, and for each of its trials the word of every kept row (-1: none)."""
    words = content["words"]
    return Covered(
        video=video,
        partition=partition,
        frames=sum(len(index) for index in word_index),
        inside=sum(int((index >= 0).sum()) for index in word_index),
        words=len(words),
        seconds=content["seconds"],
        confidence=sum(word["confidence"] for word in words),
        empty=int(not words),
        note=content.get("note", ""),
    )


def together(videos: Sequence[Covered], partition: str) -> Covered:
    """All videos of a partition as one line."""
    return Covered(
        video=f"(all {partition})",
        partition=partition,
        videos=len(videos),
        frames=sum(video.frames for video in videos),
        inside=sum(video.inside for video in videos),
        words=sum(video.words for video in videos),
        seconds=sum(video.seconds for video in videos),
        confidence=sum(video.confidence for video in videos),
        empty=sum(video.empty for video in videos),
    )


def warnings(partitions: Sequence[Covered]) -> list[str]:
    """A line for each partition whose text branch sees mostly zeros."""
    return [
        f"coverage: only {100 * part.share:.0f} % of the frames of {part.partition} lie inside a recognised word "
        f"({part.empty} of {part.videos} videos have none): its text branch sees mostly zeros"
        for part in partitions
        if part.frames and part.share < MOSTLY_ZEROS
    ]


def table(rows: Sequence[Covered]) -> str:
    """The rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0].row()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.row() for row in rows)
    return text.getvalue()


def figure(videos: Sequence[Covered], partitions: Sequence[Covered]) -> Figure:
    """One bar per video, the share of its frames inside a word; a cross where nothing was recognised; partition means."""
    named = len(videos) <= LABELLED
    drawn = Figure(figsize=(max(6.0, 2.0 + (0.26 if named else 0.02) * len(videos)), 4.2 if named else 3.2), layout="constrained")
    axis = drawn.subplots()
    start = 0
    for part in partitions:
        own = [video for video in videos if video.partition == part.partition]
        places = np.arange(start, start + len(own))
        shares = [100 * video.share for video in own]
        width = 0.8 if named else 1.0
        hatch = HATCHES[part.partition] if named else ""
        axis.bar(places, shares, width, color=SHADES[part.partition], hatch=hatch, edgecolor="white", linewidth=0.3 if named else 0)
        axis.hlines(100 * part.share, start - 0.5, start + len(own) - 0.5, color="black", linewidth=1.5)
        axis.text(
            start + len(own) / 2 - 0.5, 103, f"{part.partition}\n{100 * part.share:.0f} % of frames", ha="center", va="bottom", fontsize=9
        )
        nothing = [place for place, video in zip(places, own, strict=True) if video.empty]
        axis.plot(nothing, [1.5] * len(nothing), "kx", markersize=6 if named else 3, clip_on=False)
        start += len(own)
        if part is not partitions[-1]:
            axis.axvline(start - 0.5, color="black", linewidth=0.8)
    axis.axhline(100 * MOSTLY_ZEROS, color="black", linestyle=":", linewidth=1)
    axis.set_xlim(-0.5, max(start, 1) - 0.5)
    axis.set_ylim(0, 100)
    axis.set_ylabel("frames inside a word, %")
    axis.set_xticks(range(start) if named else [], [video.video for video in videos] if named else [], rotation=90, fontsize=7)
    axis.set_xlabel("videos (line: all frames of the partition; ×: no word recognised; dots: below half, mostly zeros)", fontsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `coverage`."""
    parser.add_argument("--trials", type=Path, required=True, help="trials.csv")
    parser.add_argument("--punctuated", type=Path, nargs="*", required=True, help="all shards written by `punctuate`")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of {trial}.h5")
    parser.add_argument("--output", type=Path, required=True, help="folder for coverage.csv, coverage.png and coverage.svg")


def main(args: argparse.Namespace) -> None:
    """Write the table and the figure; warn on stderr of partitions that are mostly zeros."""
    contents: dict[str, Any] = {}
    for path in args.punctuated:
        contents |= read_shard(path)["videos"]
    indices: dict[tuple[str, str], list[np.ndarray]] = {}
    trials = read_trials(args.trials)
    # A trial of pictures alone has no video in which anything could be said.
    contents |= {trial.video: NO_VIDEO for trial in trials if trial.video_path is None}
    for trial in progress(trials, "coverage", len(trials), "trials"):
        with open_trial(args.datasets / f"{trial.trial}.h5") as file:
            indices.setdefault((trial.partition, trial.video), []).append(file["word"][()])
    absent = sorted({video for _, video in indices} - set(contents))
    if absent:
        raise InputError(
            f"{args.trials}: no shard holds the words of {', '.join(absent[:5])}; run `recognise` and `punctuate` for all videos"
        )
    order = sorted(indices, key=lambda key: (PARTITIONS.index(key[0]), key[1]))
    videos = [of_video(video, partition, contents[video], indices[partition, video]) for partition, video in order]
    own = {partition: [video for video in videos if video.partition == partition] for partition in PARTITIONS}
    partitions = [together(part, partition) for partition, part in own.items() if part]
    if not videos:
        raise InputError(f"{args.trials}: holds no trial; run the scan again")
    write_text(args.output / "coverage.csv", table([*videos, *partitions]))
    with rc_context({"svg.hashsalt": "abaw", "svg.fonttype": "path"}):
        drawn = figure(videos, partitions)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with whole_file(args.output / f"coverage.{suffix}") as aside:
                drawn.savefig(aside, dpi=150, metadata=metadata)
    for line in warnings(partitions):
        print(line, file=sys.stderr)
