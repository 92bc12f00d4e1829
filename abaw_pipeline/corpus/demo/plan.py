"""What the demo corpus will hold, from its settings alone: videos, trials, lengths and planted troubles.

Standard library only, since the workflow is parsed with it: every file is known before it is made. Names look like
Aff-Wild2's: `<number>-<fps>-<size>` or `video<number>`, `-1`, `-2` for parts cut from one source video, `_left` and
`_right` for two people of one video. They say what the original looked like, not the small pictures drawn here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from abaw_pipeline.config import DemoCorpus
from abaw_pipeline.corpus.demo import troubles
from abaw_pipeline.corpus.demo.troubles import Trouble
from abaw_pipeline.corpus.trials import Partition, Trial

Sound = Literal["speech", "silence", "none"]

RATES = {"25": Fraction(25), "29.97": Fraction(30000, 1001), "30": Fraction(30)}
SHORT_ROWS = 270
"""Most frames of the trial that is shorter than one training window of 300."""
LENGTH_SPREAD = 0.12
"""Lengths stray from the mean by up to this share, so that 14 s at 25 fps is still more than 300 frames."""
TEMPLATE = "test_set/CVPR_5th_ABAW_VA_test_set_sample.txt"
TEST_LIST = "test_set/Valence_Arousal_Estimation_Challenge_test_set_release.txt"
RECORD = "demo.json"
TICKS = 90000
"""Units per second of frame times, as in broadcast: exact for all three rates."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One person of one video."""

    trial: str
    subject: str
    partition: Partition
    rows: int
    """Rows of the annotation, or of the template for a test trial."""
    images: int
    """Images are numbered from 1 to this; `missing` has no file."""
    missing: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    """Rows (from 0) with -5 for both values."""
    half_excluded: tuple[int, ...] = ()
    """Rows (from 0) with -5 for arousal only."""


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """One video file and the people in it, from left to right."""

    video: str
    source: str
    """Videos of one source are parts of one recording, in order, and show the same person."""
    path: str
    """Relative to the corpus folder."""
    rate: Fraction
    """Frames per second; the mean for a variable frame rate."""
    variable: bool
    frames: int
    sound: Sound
    trials: tuple[PlannedTrial, ...]
    troubles: tuple[Trouble, ...]

    def ticks(self, seed: int) -> list[int]:
        """When each frame, and the end, is shown, in units of 1/TICKS s: `frames` + 1 numbers from 0."""
        if not self.variable:
            return [round(number * TICKS / self.rate) for number in range(self.frames + 1)]
        draw = _draw(seed, self.video, "ticks")
        ticks = [0]
        while len(ticks) <= self.frames:
            length = draw.randint(8, 40)
            step = draw.choice((0.6, 0.8, 1.0, 1.25, 1.6)) * TICKS / float(self.rate)
            ticks += [round(ticks[-1] + step * number) for number in range(1, length + 1)]
        return ticks[: self.frames + 1]


def plan(settings: DemoCorpus) -> list[PlannedVideo]:
    """Every video of the corpus, training first, then validation, then test.

    About 60, 20 and 20 % of the videos, and enough training trials for a few folds. All troubles are planted whatever
    the size, once each; the videos after those are plain.
    """
    held_out = max(2, round(settings.videos * 0.2))
    validation = max(3, held_out)
    sizes: dict[Partition, int] = {"train": settings.videos - held_out - validation, "validation": validation, "test": held_out}
    partitions = [partition for partition, size in sizes.items() for _ in range(size)]
    roles = {"train": troubles.TRAIN, "validation": troubles.VALIDATION, "test": troubles.TEST}
    counts = {"train": 0, "validation": 0, "test": 0}
    videos = []
    for number, partition in enumerate(partitions):
        ordinal = counts[partition]
        counts[partition] += 1
        planted = roles[partition][ordinal] if ordinal < len(roles[partition]) else ()
        videos.append(_video(settings, number, partition, planted))
    return videos


def trials(settings: DemoCorpus) -> list[Trial]:
    """The corpus's trials as the scan reports them, sorted by partition (train, validation, test) and name."""
    folder = Path(settings.folder)
    found = [
        Trial(
            trial=person.trial,
            video=video.video,
            partition=person.partition,
            group=video.source,
            subject=person.subject,
            video_path=folder / video.path,
            faces=folder / faces_path(person),
            annotation=None if person.partition == "test" else folder / annotation_path(person),
        )
        for video in plan(settings)
        for person in video.trials
    ]
    order = ("train", "validation", "test")
    return sorted(found, key=lambda trial: (order.index(trial.partition), trial.trial))


def template(settings: DemoCorpus) -> Path:
    """The submission template."""
    return Path(settings.folder) / TEMPLATE


def files(settings: DemoCorpus) -> list[str]:
    """Every file of the corpus that does not lie in one of `folders`."""
    relative = [RECORD, TEMPLATE, TEST_LIST]
    for video in plan(settings):
        relative.append(video.path)
        relative += [truth_path(person) if person.partition == "test" else annotation_path(person) for person in video.trials]
    return [str(Path(settings.folder) / path) for path in relative]


def folders(settings: DemoCorpus) -> list[str]:
    """The folders of face images, one per trial."""
    return [str(Path(settings.folder) / faces_path(person)) for video in plan(settings) for person in video.trials]


def faces_path(person: PlannedTrial) -> str:
    """Folder of a trial's face images, relative to the corpus folder."""
    return f"cropped_aligned/{person.trial}"


def annotation_path(person: PlannedTrial) -> str:
    """A training or validation trial's annotation file."""
    part = "Train_Set" if person.partition == "train" else "Validation_Set"
    return f"annotations/VA_Estimation_Challenge/{part}/{person.trial}.txt"


def truth_path(person: PlannedTrial) -> str:
    """A test trial's hidden values."""
    return f"truth/{person.trial}.csv"


def _draw(seed: int, *key: str) -> random.Random:
    """A stream of random numbers of its own for every key."""
    return random.Random("/".join((str(seed), *key)))


def _video(settings: DemoCorpus, number: int, partition: Partition, planted: Sequence[Trouble]) -> PlannedVideo:
    """One video with the troubles `planted` in it."""
    draw = _draw(settings.seed, "video", str(number))
    fixed = [name for name in RATES if f"fps_{name}" in planted]
    origin = number - 1 if "part_2" in planted else number
    rate = RATES[fixed[0] if fixed else list(RATES)[origin % len(RATES)]]
    seconds = settings.seconds * (1 + LENGTH_SPREAD * draw.uniform(-1, 1))
    frames = round(seconds * rate)
    if "short_trial" in planted:
        frames = min(round(0.6 * settings.seconds * rate), SHORT_ROWS)

    part = next((part for part in ("part_1", "part_2") if part in planted), "")
    source = _source_name(origin, rate)
    video = f"{source}-{part[-1]}" if part else source
    folder = ("batch1", "batch2")[number % 2]
    path = f"videos/new_vids/{video}.avi" if "avi" in planted else f"videos/{folder}/{video}.mp4"

    if "left_right_pair" in planted:
        names = [f"{video}_left", f"{video}_right"]
    elif "plain_suffix_pair" in planted:
        names = [video, f"{video}_right"]
    else:
        names = [video]
    people = [
        PlannedTrial(
            trial=name,
            subject=source + name.removeprefix(video),
            partition=partition,
            rows=frames,
            images=frames,
        )
        for name in names
    ]
    people[0] = _planted(people[0], planted, draw)
    sound: Sound = "none" if "no_sound" in planted else "silence" if "silence" in planted else "speech"
    return PlannedVideo(
        video=video,
        source=source,
        path=path,
        rate=rate,
        variable="variable_rate" in planted,
        frames=frames,
        sound=sound,
        trials=tuple(people),
        troubles=tuple(planted),
    )


def _source_name(number: int, rate: Fraction) -> str:
    """A name as Aff-Wild2 gives it; the middle of `12-30-1920x1080` is the frame rate."""
    if number % 4 == 1:
        return f"video{number * 3 + 2}"
    size = ("1280x720", "1920x1080", "640x480")[number % 3]
    return f"{number * 5 + 1}-{round(rate)}-{size}"


def _planted(person: PlannedTrial, planted: Sequence[Trouble], draw: random.Random) -> PlannedTrial:
    """The trial with its share of the troubles; counts scale with its length."""
    frames = person.images
    few = max(3, frames // 12)
    if "excluded_start" in planted:
        person = replace(person, excluded=tuple(range(few)))
    if "excluded_middle" in planted:
        begin = draw.randint(frames // 3, frames // 2)
        person = replace(person, excluded=tuple(range(begin, begin + few)))
    if "excluded_end" in planted:
        person = replace(person, excluded=tuple(range(frames - few, frames)))
    if "half_excluded" in planted:
        person = replace(person, half_excluded=(frames // 2,))
    if "missing_images" in planted:
        single = draw.randint(2, frames // 4)
        begin = draw.randint(frames // 3, frames // 2)
        person = replace(person, missing=(single, *range(begin, begin + few)))
    if "more_images" in planted:
        person = replace(person, rows=frames - few)
    if "fewer_images" in planted:
        person = replace(person, images=frames - few)
    if "decoder_off_by_one" in planted:
        person = replace(person, rows=frames + 1)
    return person
