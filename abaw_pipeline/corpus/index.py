"""The index of the dataset: trials, folds, lengths and checksums, in one file that training depends on.

Only lengths, words and bytes for the checksums are read; frames stream through the hash and are never held.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.atomic import write_json
from abaw_pipeline.config import Folds
from abaw_pipeline.corpus.folds import assign_folds, shared_with_test
from abaw_pipeline.corpus.trials import Trial, read_trials
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import progress
from abaw_pipeline.store import FORMAT_VERSION, open_trial


def describe(trial: Trial, path: Path, index: Path) -> dict[str, Any]:
    """A trial's entry in the index.

    `sha256` covers the trial's file and, where frames are linked, their file after it. `bert_sum` and
    `bert_sum_squares` add up all values of the word features as the network would see them, row by row, with zeros
    between words; there are `bert_rows` x `bert_dim` of them. They are 0 for a trial without words.
    """
    with open_trial(path) as file:
        named = tuple(str(file.attrs[name]) for name in ("trial", "video", "partition", "group"))
        link = file.get("frames", getlink=True)
        content = {
            "rows": len(file["rows"]),
            "frames": len(file["time"]),
            "has_video": bool(file["face_present"][()].any()),
            "has_logmel": len(file["logmel"]) > 0,
            **word_sums(file["words"][()], file["word"][()]),
        }
    if named != (trial.trial, trial.video, trial.partition, trial.group):
        raise InputError(f"{path}: made for {named}, but the table of trials says otherwise; run the dataset stage again")
    return content | {
        "trial": trial.trial,
        "video": trial.video,
        "partition": trial.partition,
        "group": trial.group,
        "subject": trial.subject,
        "path": Path(os.path.relpath(path, index.parent)).as_posix(),
        "sha256": checksum(path, path.parent / link.filename if isinstance(link, h5py.ExternalLink) else None),
    }


def word_sums(vectors: NDArray[np.float16], word: NDArray[np.int32]) -> dict[str, Any]:
    """Sums over the features of all rows, from vectors (W, D) and each row's word (N), without making the rows."""
    words, dimension = vectors.shape
    rows_per_word = np.bincount(word[word >= 0], minlength=words).astype(np.float64)
    values = vectors.astype(np.float64)
    return {
        "has_bert": words > 0,
        "bert_dim": dimension,
        "bert_rows": len(word) if words else 0,
        "bert_sum": float(rows_per_word @ values.sum(axis=1)),
        "bert_sum_squares": float(rows_per_word @ (values**2).sum(axis=1)),
    }


def checksum(path: Path, linked: Path | None) -> str:
    """SHA-256 of a file's bytes, followed by those of the linked file. Raises InputError when that one is missing."""
    digest = hashlib.sha256()
    for part in (path, linked):
        if part is None:
            continue
        try:
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{part}: cannot be read ({error.strerror}), but {path} needs it; run the frames stage again") from None
    return digest.hexdigest()


def build(trials: list[Trial], datasets: Path, index: Path, folds: Folds) -> dict[str, Any]:
    """The content of `index.json`; without a trial for training there are no folds.

    Raises InputError for a leak, a missing file, or features of different sizes.
    """
    trainable = any(trial.partition == "train" for trial in trials)
    assigned = assign_folds(trials, folds.number, grouped=folds.grouped) if trainable else []
    entries = [describe(trial, datasets / f"{trial.trial}.h5", index) for trial in progress(trials, "index", len(trials), "trials")]
    sizes = {entry["bert_dim"]: entry["trial"] for entry in entries if entry["has_bert"]}
    if len(sizes) > 1:
        shown = ", ".join(f"{size} ({trial})" for size, trial in sizes.items())
        raise InputError(f"{datasets}: word features of different sizes: {shown}; run the embed stage again for all videos")
    return {
        "format_version": FORMAT_VERSION,
        "trials": entries,
        "folds": [{"fold": fold.fold, "train": list(fold.train), "validation": list(fold.validation)} for fold in assigned],
        "test": [trial.trial for trial in trials if trial.partition == "test"],
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `index`."""
    parser.add_argument("--trials", type=Path, required=True, help="trials.csv")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of the {trial}.h5 files")
    parser.add_argument("--settings", required=True, help="JSON of the `folds` settings")
    parser.add_argument("--output", type=Path, required=True, help="index.json to write")


def main(args: argparse.Namespace) -> None:
    """Write the index."""
    trials = read_trials(args.trials)
    content = build(trials, args.datasets, args.output, Folds.model_validate_json(args.settings))
    if not content["folds"]:
        print("note: no trial is for training, so the index has no folds", file=sys.stderr)
    for group in shared_with_test(trials):
        print(f"note: in the test set and outside it: {group}", file=sys.stderr)
    write_json(args.output, content)
