"""Trials: one tracked person of one video, and where their files lie.

A trial is what is annotated and submitted; a video is what is seen, heard and said. `<video>_left` and
`<video>_right` are two trials of one video.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from abaw_pipeline.config import Settings
from abaw_pipeline.errors import InputError

Partition = Literal["train", "validation", "test"]
PARTITIONS: tuple[Partition, ...] = get_args(Partition)
COLUMNS = ("trial", "video", "partition", "group", "subject", "rows", "video_path", "faces", "annotation", "template_rows")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial as the scan finds it, before any file is opened."""

    trial: str
    video: str
    partition: Partition
    group: str
    """Trials of one group never straddle two folds: the source video, or the subject."""
    subject: str = ""
    video_path: Path | None = None
    faces: Path | None = None
    """Folder of face images; None: no images are given."""
    annotation: Path | None = None
    """None for test trials."""


def find_trials(settings: Settings) -> list[Trial]:
    """All trials of the configured corpus, sorted by partition (train, validation, test) and name.

    Opens the test list and the manifest only, so it is quick enough to run whenever the workflow is parsed.
    The demo's trials are planned, not scanned: they are known before the corpus is generated.
    Raises InputError when files are missing or a name has several candidates.
    """
    if settings.corpus == "demo":
        from abaw_pipeline.corpus.demo.plan import trials

        return trials(settings.demo)
    if settings.corpus == "manifest":
        from abaw_pipeline.corpus.manifest import trials as manifest_trials

        return manifest_trials(settings.manifest)
    from abaw_pipeline.corpus.affwild2 import trials as affwild2_trials

    return affwild2_trials(settings.affwild2)


def find_template(settings: Settings) -> Path | None:
    """The submission template of the configured corpus, or None when it has none."""
    if settings.corpus == "demo":
        from abaw_pipeline.corpus.demo.plan import template

        return template(settings.demo)
    if settings.corpus == "manifest":
        from abaw_pipeline.corpus.manifest import template as manifest_template

        return manifest_template(settings.manifest)
    from abaw_pipeline.corpus.affwild2 import template as affwild2_template

    return affwild2_template(settings.affwild2)


def in_order(trials: list[Trial]) -> list[Trial]:
    """Sorted by partition (train, validation, test), then by name."""
    return sorted(trials, key=lambda trial: (PARTITIONS.index(trial.partition), trial.trial))


def safe_name(name: str, where: str) -> str:
    """`name` as it is, or InputError: names of trials and videos become file names, so they must be plain."""
    if not _SAFE_NAME.fullmatch(name):
        raise InputError(
            f"{where}: {name!r} cannot name a trial or a video; use letters, digits, '_', '.', '-', starting with a letter or digit"
        )
    return name


def read_trials(path: Path) -> list[Trial]:
    """The trials of a `trials.csv`, in its order."""
    trials = []
    for number, row in enumerate(read_rows(path), start=2):
        if row["partition"] not in PARTITIONS:
            raise InputError(f"{path}, line {number}: unknown partition {row['partition']!r}; run the scan again")
        trials.append(
            Trial(
                trial=safe_name(row["trial"], f"{path}, line {number}"),
                video=safe_name(row["video"], f"{path}, line {number}"),
                partition=row["partition"],
                group=row["group"],
                subject=row["subject"],
                video_path=_path(row["video_path"]),
                faces=_path(row["faces"]),
                annotation=_path(row["annotation"]),
            )
        )
    return trials


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a `trials.csv` as text by column. Raises InputError when it is not one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the table of trials ({error}); run the scan") from None
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}; run the scan again")
    return rows


def _path(text: str) -> Path | None:
    return Path(text) if text else None
