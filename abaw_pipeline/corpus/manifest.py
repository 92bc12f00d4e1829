"""Any corpus as one CSV file: a row per trial, paths relative to the file's own folder.

Columns `trial` and `partition` are needed; `video`, `faces`, `annotation` and `subject` may be left out or blank
where there is nothing: without `faces` there is sound only, without `video` pictures only (at an assumed frame rate),
without `annotation` a trial can only be a test trial.
"""

from __future__ import annotations

import csv
from pathlib import Path

from abaw_pipeline.config import ManifestCorpus
from abaw_pipeline.corpus.trials import PARTITIONS, Trial, in_order, safe_name
from abaw_pipeline.errors import InputError

NEEDED = ("trial", "partition")
OPTIONAL = ("video", "faces", "annotation", "subject")


def trials(settings: ManifestCorpus) -> list[Trial]:
    """All trials, sorted by partition and name. Raises InputError with file and line for a row that cannot be used.

    Trials that share a video or a subject, directly or through others, form one group.
    """
    path = Path(settings.file)
    found = [_trial(path, number, row) for number, row in enumerate(_rows(path), start=2)]
    if not found:
        raise InputError(f"{path}: no row after the header; add a row per trial")
    _unique(path, found)
    endless = [trial.trial for trial in found if trial.video_path is None and trial.annotation is None and not settings.template]
    if endless:
        raise InputError(
            f"{path}: no video, annotation or template tells how long these are: {', '.join(endless)}; give `manifest.template`"
        )
    return in_order(_grouped(found))


def template(settings: ManifestCorpus) -> Path | None:
    """The submission template, or None when the settings give none."""
    if not settings.template:
        return None
    path = Path(settings.template)
    if not path.is_file():
        raise InputError(f"{path}: no such file; set `manifest.template` to the submission template, or leave it empty")
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except OSError as error:
        raise InputError(f"{path}: cannot read the manifest ({error.strerror}); set `manifest.file`") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file; save the manifest as CSV in UTF-8") from None
    missing = [name for name in NEEDED if name not in columns]
    unknown = [name for name in columns if name not in NEEDED + OPTIONAL]
    if missing or unknown:
        problem = f"no column {missing[0]!r}" if missing else f"unknown column {unknown[0]!r}"
        raise InputError(f"{path}, line 1: {problem}; needed: {', '.join(NEEDED)}; known besides: {', '.join(OPTIONAL)}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {number}: not as many cells as columns ({len(columns)}); mend the row")
    return [{name: cell.strip() for name, cell in row.items()} for row in rows]


def _trial(path: Path, number: int, row: dict[str, str]) -> Trial:
    where = f"{path}, line {number}"
    name = safe_name(row["trial"], where)
    partition = row["partition"]
    if partition not in PARTITIONS:
        raise InputError(f"{where}: partition {partition!r}; use one of {', '.join(PARTITIONS)}")
    video, faces, annotation = (_existing(path.parent, row.get(column, ""), column, where) for column in ("video", "faces", "annotation"))
    if video is None and faces is None:
        raise InputError(f"{where}: {name} has neither video nor faces; give at least one")
    if annotation is None and partition != "test":
        raise InputError(f"{where}: {name} is for {partition} but has no annotation; give one, or use the partition test")
    return Trial(
        trial=name,
        video=safe_name(video.stem, where) if video else name,
        partition=partition,
        group="",
        subject=row.get("subject", ""),
        video_path=video,
        faces=faces,
        annotation=annotation if partition != "test" else None,
    )


def _existing(folder: Path, text: str, column: str, where: str) -> Path | None:
    if not text:
        return None
    path = folder / text
    if not (path.is_dir() if column == "faces" else path.is_file()):
        raise InputError(
            f"{where}: {column} {path} is no {'folder' if column == 'faces' else 'file'}; mend the path (relative to {folder})"
        )
    return path


def _unique(path: Path, found: list[Trial]) -> None:
    """Refuse a trial named twice, and two videos that would share the name of their results."""
    names = [trial.trial for trial in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: trials named twice: {', '.join(twice)}; give each its own name")
    videos: dict[str, Path | None] = {}
    for trial in found:
        if videos.setdefault(trial.video, trial.video_path) != trial.video_path:
            raise InputError(f"{path}: two videos named {trial.video}: {videos[trial.video]} and {trial.video_path}; rename one file")


def _grouped(found: list[Trial]) -> list[Trial]:
    """Each trial with its group: joined through shared videos and subjects, named after the first subject or video."""
    members: dict[tuple[str, str], list[int]] = {}
    for position, trial in enumerate(found):
        members.setdefault(("video", trial.video), []).append(position)
        if trial.subject:
            members.setdefault(("subject", trial.subject), []).append(position)
    group = list(range(len(found)))
    for shared in members.values():
        joined = {group[position] for position in shared}
        group = [min(joined) if number in joined else number for number in group]
    names = [found[number].subject or found[number].video for number in group]
    return [Trial(**{**vars(trial), "group": name}) for trial, name in zip(found, names, strict=True)]
