"""The official Aff-Wild2 tree, found by scanning: nothing has to be renamed or moved.

    …/VA_Estimation_Challenge/{Train_Set,Validation_Set}/<trial>.txt     annotations
    …/cropped_aligned/<trial>/00001.jpg                                  face images
    …/**/<video>.mp4 or .avi                                             videos, in any folders
    …/*Valence_Arousal*test_set_release*.txt                             test trials, one name a line
    …/*VA_test_set_sample*.txt                                           submission template

Names seen in the corpus (fps and size are part of the name): `135`, `video59`, `135-24-1920x1080_left`,
`122-60-1920x1080-3` (third part of a source video), `video10_1_right` (right person of the first part).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from abaw_pipeline.config import AffWild2Corpus
from abaw_pipeline.corpus.trials import Partition, Trial, in_order, safe_name
from abaw_pipeline.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".avi")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
IMAGES_FOLDER = "cropped_aligned"
ANNOTATION_FOLDERS: tuple[tuple[Partition, str], ...] = (("train", "Train_Set"), ("validation", "Validation_Set"))
IMAGES_LISTED = 20
"""A folder with more images than this before anything else is one of images, and not listed further."""
PROBLEMS_SHOWN = 20
_VALENCE_AROUSAL = re.compile(r"(?i)(?<![a-z])va(?![a-z])|valence")
_TEST_LIST = re.compile(r"(?i).*valence.*arousal.*test_?set_?release.*\.txt")
_TEMPLATE = re.compile(r"(?i).*(?<![a-z])va_test_?set_?sample.*\.txt")
_SIDE = re.compile(r"_(?:left|right)$")
_PART = re.compile(r"^(\d+-\d+-\d+x\d+)-\d+$|^(video\d+)_\d+$")


@dataclass
class _Tree:
    """What a walk over the corpus saw."""

    texts: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    image_folders: list[Path] = field(default_factory=list)
    annotation_folders: list[Path] = field(default_factory=list)


def trials(settings: AffWild2Corpus) -> list[Trial]:
    """All trials, sorted by partition and name. Opens the list of test trials only.

    Raises InputError, naming every candidate, when a part of the corpus or a trial's video is missing or ambiguous.
    """
    root = _root(settings)
    tree = _walk(root)
    annotation = _annotations(settings, root, tree)
    test = _test_names(settings, root, tree)
    _no_trial_twice(annotation, test)
    images = _images_folder(settings, root, tree)
    faces = {entry.name for entry in os.scandir(images) if entry.is_dir()} if images else set()
    videos = _videos(settings, root, tree)

    found, problems = [], []
    for trial, partition, file in [*annotation, *((name, "test", None) for name in test)]:
        name, candidates = _video_of(trial, videos)
        if len(candidates) != 1:
            listed = "".join(f"\n    {path}" for path in candidates)
            problems.append(f"  {trial}: {len(candidates)} videos named {name}{listed}")
        elif images and trial not in faces:
            problems.append(f"  {trial}: no folder {images / trial}")
        else:
            path = candidates[0]
            where = images / trial if images else None
            found.append(
                Trial(trial=trial, video=name, partition=partition, group=group_of(name), video_path=path, faces=where, annotation=file)
            )
    if problems:
        raise InputError(
            f"{root}: each trial needs exactly one video (.mp4 or .avi, named like the trial, or without its _left/_right) and a folder of "
            f"images. Add, rename or remove files, or name the folders under `affwild2:`.\n"
            + "\n".join(problems[:PROBLEMS_SHOWN])
            + (f"\n  and {len(problems) - PROBLEMS_SHOWN} trials more" if len(problems) > PROBLEMS_SHOWN else "")
        )
    return in_order(found)


def template(settings: AffWild2Corpus) -> Path | None:
    """The submission template, or None when the settings say `none` or there is no test set."""
    if settings.template == "none" or settings.test_list == "none":
        return None
    root = _root(settings)
    texts = [] if settings.template else _walk(root).texts
    return _one_file(settings.template, texts, _TEMPLATE, root, "template", "a submission template", "lengths come from the decoder")


def group_of(video: str) -> str:
    """The source video that a video was cut from: the name without the number of its part.

    `122-60-1920x1080-3` -> `122-60-1920x1080` and `video10_1` -> `video10`; other names stay, so `118` and
    `118-30-640x480`, which are two sources, stay apart.
    """
    part = _PART.match(video)
    return video if part is None else str(part[1] or part[2])


def _root(settings: AffWild2Corpus) -> Path:
    root = Path(settings.folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set `affwild2.folder` to your copy of Aff-Wild2")
    return root


def _walk(root: Path) -> _Tree:
    """One pass over the tree. Folders of images are not listed: they hold millions of files."""
    tree, pending, seen = _Tree(), [root], set()
    while pending:
        folder = pending.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue  # a symbolic link that leads back
        seen.add((status.st_dev, status.st_ino))
        below, images = [], 0
        with _listed(folder) as entries:
            for entry in entries:
                suffix = Path(entry.name).suffix.lower()
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if suffix in IMAGE_SUFFIXES:
                    images += 1
                    if images > IMAGES_LISTED:
                        break
                elif entry.is_dir():
                    below.append(folder / entry.name)
                elif suffix in VIDEO_SUFFIXES:
                    tree.videos.append(folder / entry.name)
                elif suffix == ".txt":
                    tree.texts.append(folder / entry.name)
        names = {path.name for path in below}
        if all(name in names for _, name in ANNOTATION_FOLDERS):
            tree.annotation_folders.append(folder)
        for path in below:
            if path.name == IMAGES_FOLDER and not (path / IMAGES_FOLDER).is_dir():
                tree.image_folders.append(path)
            elif path.name not in ("Train_Set", "Validation_Set"):
                pending.append(path)
    return tree


def _listed(folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable, or name the folders under `affwild2:`"
        ) from None


def _annotations(settings: AffWild2Corpus, root: Path, tree: _Tree) -> list[tuple[str, Partition, Path]]:
    """Trial, partition and file of every annotation."""
    if settings.annotations:
        folder = root / settings.annotations
    else:
        named = [path for path in tree.annotation_folders if _VALENCE_AROUSAL.search(str(path.relative_to(root)))]
        folder = _one(
            named or tree.annotation_folders, root, "annotations", "a folder with Train_Set and Validation_Set of the valence-arousal track"
        )
    found: list[tuple[str, Partition, Path]] = []
    for partition, name in ANNOTATION_FOLDERS:
        if not (folder / name).is_dir():
            raise InputError(
                f"{folder / name}: no such folder; set `affwild2.annotations` to the folder that holds Train_Set and Validation_Set"
            )
        files = [path for path in (folder / name).iterdir() if path.suffix == ".txt" and not path.name.startswith(".")]
        if not files:
            raise InputError(f"{folder / name}: no annotation file (*.txt) in it; set `affwild2.annotations`")
        found += [(safe_name(path.stem, str(path)), partition, path) for path in sorted(files)]
    return found


def _test_names(settings: AffWild2Corpus, root: Path, tree: _Tree) -> list[str]:
    """Names of the test trials, from the list."""
    if settings.test_list == "none":
        return []
    file = _one_file(settings.test_list, tree.texts, _TEST_LIST, root, "test_list", "the list of test trials", "there is no test set")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot read the list of test trials ({error}); set `affwild2.test_list`") from None
    names = [safe_name(line.strip(), f"{file}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{file}: named twice: {', '.join(twice)}; remove one of the lines")
    return names


def _no_trial_twice(annotation: list[tuple[str, Partition, Path]], test: list[str]) -> None:
    """Refuse a trial that two partitions claim."""
    partitions = defaultdict(list)
    for trial, partition, _ in annotation:
        partitions[trial].append(str(partition))
    for trial in test:
        partitions[trial].append("test")
    twice = [f"  {trial}: {', '.join(where)}" for trial, where in sorted(partitions.items()) if len(where) > 1]
    if twice:
        raise InputError("these trials are in more than one partition; keep one file or line of each:\n" + "\n".join(twice))


def _images_folder(settings: AffWild2Corpus, root: Path, tree: _Tree) -> Path | None:
    if settings.images == "none":
        return None
    if not settings.images:
        return _one(tree.image_folders, root, "images", f"a folder named {IMAGES_FOLDER}", "there are no pictures, only sound and words")
    folder = root / settings.images
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; set `affwild2.images` to the folder of face images, or to 'none'")
    return folder


def _videos(settings: AffWild2Corpus, root: Path, tree: _Tree) -> dict[str, list[Path]]:
    """Video files by name without suffix."""
    files: Iterable[Path] = tree.videos
    if settings.videos:
        missing = [str(root / name) for name in settings.videos if not (root / name).is_dir()]
        if missing:
            raise InputError(f"`affwild2.videos` names folders that do not exist: {', '.join(missing)}")
        listed = {path for name in settings.videos for path in (root / name).iterdir() if not path.name.startswith(".")}
        files = [path for path in listed if path.suffix.lower() in VIDEO_SUFFIXES]
    videos = defaultdict(list)
    for path in sorted(files):
        videos[path.stem].append(path)
    return videos


def _video_of(trial: str, videos: dict[str, list[Path]]) -> tuple[str, list[Path]]:
    """A trial's video name and its candidate files; `_left`/`_right` goes only when the full name is no video itself."""
    name = trial if trial in videos else _SIDE.sub("", trial)
    return name, videos.get(name, [])


def _one_file(given: str, texts: list[Path], pattern: re.Pattern[str], root: Path, setting: str, what: str, none: str) -> Path:
    """The file that a setting names, or the only text file whose name fits."""
    if not given:
        return _one([path for path in texts if pattern.fullmatch(path.name)], root, setting, what, none)
    if not (root / given).is_file():
        raise InputError(f"{root / given}: no such file; set `affwild2.{setting}` to {what}, relative to {root}")
    return root / given


def _one(candidates: list[Path], root: Path, setting: str, what: str, none: str = "") -> Path:
    """The only candidate; InputError with the list when there are several or none."""
    if len(candidates) == 1:
        return candidates[0]
    listed = "".join(f"\n  {path.relative_to(root)}" for path in sorted(candidates)) or " none"
    otherwise = f", or to 'none' ({none})" if none else ""
    remedy = f"Set `affwild2.{setting}` to its path in there{otherwise}."
    raise InputError(f"{root}: looked for {what} and found {len(candidates)}:{listed}\n{remedy}")
