"""The scan: find the corpus's trials, read every annotation file and the template once, write `trials.csv`.

A bad annotation file is found here, in the first minute of a run, and not after days of preprocessing.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.atomic import write_text
from abaw_pipeline.config import AffWild2Corpus, Settings
from abaw_pipeline.corpus import affwild2
from abaw_pipeline.corpus.annotations import read_annotation
from abaw_pipeline.corpus.template import read_template
from abaw_pipeline.corpus.trials import COLUMNS, Trial, find_template, find_trials
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import progress


def table(settings: Settings) -> str:
    """The text of `trials.csv`: one row per trial, with its number of annotation rows or of template rows."""
    trials = find_trials(settings)
    if settings.corpus == "demo":
        _as_planned(trials, Path(settings.demo.folder))
    test = [trial.trial for trial in trials if trial.partition == "test"]
    path = find_template(settings) if test else None
    template = read_template(path) if path else {}
    if path:
        _same_trials(path, template, test)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trial in progress(trials, "scan", len(trials), "trials"):
        rows = len(read_annotation(trial.annotation)[0]) if trial.annotation else ""
        template_rows = len(template[trial.trial]) if trial.trial in template else ""
        paths = [str(item or "") for item in (trial.video_path, trial.faces, trial.annotation)]
        writer.writerow([trial.trial, trial.video, trial.partition, trial.group, trial.subject, rows, *paths, template_rows])
    return written.getvalue()


def _as_planned(planned: list[Trial], folder: Path) -> None:
    """Refuse a demo folder whose content is not what the settings would generate."""
    found = affwild2.trials(AffWild2Corpus(folder=str(folder)))
    want, have = ({(trial.trial, trial.video, trial.partition) for trial in trials} for trials in (planned, found))
    if want != have:
        odd = ", ".join(sorted(trial for trial, _, _ in want ^ have))
        raise InputError(f"{folder}: not the demo corpus of these settings (differing: {odd}); delete the folder and generate it again")


def _same_trials(path: Path, template: dict[str, NDArray[np.int64]], test: list[str]) -> None:
    """Refuse a template that does not cover exactly the test trials."""
    lacking, surplus = sorted(set(test) - set(template)), sorted(set(template) - set(test))
    if lacking or surplus:
        raise InputError(
            f"{path}: the template and the test trials differ; without a row: {', '.join(lacking) or 'none'}; "
            f"not a test trial: {', '.join(surplus) or 'none'}. Use the list and the template of one challenge edition."
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scan`."""
    parser.add_argument("--settings", required=True, help='JSON: {"corpus": …, and the corpus sections}')
    parser.add_argument("--output", type=Path, required=True, help="trials.csv to write")


def main(args: argparse.Namespace) -> None:
    """Write `trials.csv`."""
    write_text(args.output, table(Settings.model_validate_json(args.settings)))
