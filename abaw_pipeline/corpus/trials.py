"""Trials: one tracked person of one video, and where their files lie.

A trial is what is annotated and submitted; a video is what is seen, heard and said. `<video>_left` and
`<video>_right` are two trials of one video.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abaw_pipeline.config import Settings

Partition = Literal["train", "validation", "test"]


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
