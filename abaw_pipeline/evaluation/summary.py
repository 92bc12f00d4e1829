"""Say where the results are and what they score; after a failure, which jobs failed and how to go on."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abaw_pipeline.evaluation.instances import TARGETS
from abaw_pipeline.evaluation.results import Results

CONTINUE = "snakemake --cores 8 --rerun-incomplete submission"
STAGES = (
    ("trials.csv", "table of trials"),
    ("audit.csv", "audit"),
    ("dataset/index.json", "dataset"),
    ("selection.json", "selection"),
    ("submission/submission.zip", "submission"),
    ("report/index.html", "report"),
)
# On a cluster the jobs of a group are told indented, and the scheduler's log stands behind the job's own.
FAILED_RULE = re.compile(r"^ *Error in rule (?P<rule>[^\s:,]+)")
JOB_DETAIL = re.compile(r"^ {4,12}(?P<name>jobid|output|log): (?P<value>.*)$")
FINISHED_JOB = re.compile(r"^Finished jobid: (?P<jobid>\d+)\b")
LAST_LINES = 4
WARNINGS = 3
"""Warnings of the selection that are printed; the report has all."""


@dataclass
class Failure:
    """A job that failed, as Snakemake's log tells it."""

    rule: str
    jobid: str = ""
    output: str = ""
    log: str = ""


@dataclass(frozen=True)
class Summary:
    """Lines to print, by heading."""

    where: Sequence[tuple[str, str]]
    scores: Sequence[str] = ()
    missing: Sequence[str] = ()
    failures: Sequence[Failure] = field(default_factory=list)


def failures(log: str) -> list[Failure]:
    """Failed jobs named in the text of a Snakemake log; one that failed in every retry once, one that a retry mended not."""
    found: list[Failure] = []
    current: Failure | None = None
    for line in log.splitlines():
        failed, detail, finished = FAILED_RULE.match(line), JOB_DETAIL.match(line), FINISHED_JOB.match(line)
        if finished:
            # A cluster job's own log, shown in this one, tells the same failure again, always as job 0: the larger number is the job's.
            number = {
                (failure.rule, failure.output): failure.jobid for failure in sorted(found, key=lambda failure: int(failure.jobid or 0))
            }
            mended = {what for what, jobid in number.items() if jobid == finished["jobid"]}
            found = [failure for failure in found if (failure.rule, failure.output) not in mended]
        if failed:
            current = Failure(failed["rule"])
            found.append(current)
        elif detail and current is not None:
            value = detail["value"].removesuffix("(check log file(s) for error details)").strip()
            setattr(current, detail["name"], value)
        elif line and not line.startswith(" "):
            current = None
    return list({(failure.rule, failure.output): failure for failure in found}.values())


def score_lines(results: Results) -> list[str]:
    """How many submission files; each one's origin and CCC on validation, and on test when there is a truth; warnings."""
    selection = results.json("selection.json") or {}
    scores = results.json("submission/scores.json") or {}
    lines = [selection["number"]] if selection else []
    for entry in selection.get("submissions", []):
        own: dict[str, Any] = scores.get(entry["file"], {})
        lines.append(
            f"{entry['file']:<6} {entry['title']:<14} validation CCC {_three(entry['validation'])}"
            + (f"   test CCC {_three(own)}" if own else "")
        )
    if lines:
        lines.append("       (valence / arousal / mean; validation scores are those of chosen instances and flatter)")
    said = selection.get("warnings", [])
    lines += [f"warning: {text}" for text in said[:WARNINGS]]
    if len(said) > WARNINGS:
        lines.append(f"and {len(said) - WARNINGS} warnings more, at the end of the report")
    return lines


def _three(values: dict[str, Any]) -> str:
    return " / ".join("–" if values.get(name) is None else f"{values[name]:.3f}" for name in (*TARGETS, "mean"))


def summarise(results: Results, log: str = "") -> Summary:
    """What to print about a results folder, and about a Snakemake run that failed."""
    named = {"submission/submission.zip": "submission", "report/index.html": "report", "submission/scores.json": "scores"}
    where = [(what, str(results.folder / path)) for path, what in named.items() if (results.folder / path).is_file()]
    # Without folds there is nothing to train on: the dataset is all that there can be. Without test trials nothing is submitted.
    index = results.index
    possible = [what for _, what in STAGES if not (index.get("test") == [] and what == "submission")]
    possible = possible[:3] if index.get("folds") == [] else possible
    missing = [f"{what} ({results.folder / path})" for path, what in STAGES if what in possible and not (results.folder / path).is_file()]
    return Summary(where, score_lines(results) if where else [], missing, failures(log))


def text(summary: Summary, command: str = "") -> str:
    """The summary for people; `command` is what continues a run that failed."""
    lines = [""]
    for failure in summary.failures:
        lines.append(f"failed: {failure.rule}" + (f" ({failure.output})" if failure.output else ""))
        log = Path(failure.log.split(", ")[0]) if failure.log else None
        if log is not None and log.is_file():
            lines += [f"    {line}" for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]]
            lines.append(f"    all of it: {log}")
    lines += [f"{what:<11} {path}" for what, path in summary.where]
    lines += [f"  {line}" for line in summary.scores]
    if summary.missing:
        lines.append(f"not there yet: {', '.join(summary.missing)}")
    if summary.failures or summary.missing:
        lines.append(f"to go on (finished jobs are kept): {command or CONTINUE}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `summary`."""
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--log", type=Path, help="Snakemake's log of a run that failed")
    parser.add_argument("--command", default="", help="the command that continues it")


def main(args: argparse.Namespace) -> None:
    """Print the summary."""
    log = args.log.read_text(encoding="utf-8", errors="replace") if args.log and args.log.is_file() else ""
    print(text(summarise(Results(args.results), log), args.command))
