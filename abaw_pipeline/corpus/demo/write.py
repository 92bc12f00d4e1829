"""Writes the demo corpus: videos, face images, annotations, test list, template and the hidden truth.

`demo.json` comes last, so a folder that has it is complete. The same settings and package versions give the same bytes,
whatever the number of jobs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from pydantic import ValidationError

from abaw_pipeline.atomic import whole_file, write_json, write_text
from abaw_pipeline.config import DemoCorpus
from abaw_pipeline.corpus.demo import face, voice
from abaw_pipeline.corpus.demo.person import Expression, Floats, annotation, generator, shown, smooth, states
from abaw_pipeline.corpus.demo.plan import (
    RECORD,
    TEMPLATE,
    TEST_LIST,
    TICKS,
    PlannedTrial,
    PlannedVideo,
    annotation_path,
    faces_path,
    plan,
    truth_path,
)
from abaw_pipeline.corpus.demo.troubles import MEANING
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import progress

MARKER = "README.txt"
"""Says whose folder it is. Not one of the declared outputs, so it outlives a rerun and vouches for the folder."""
MARKER_TEXT = "A synthetic corpus made by `python -m abaw_pipeline demo`. No real person is in it.\nMaking it again deletes what is here.\n"
TREES = ("videos", "cropped_aligned", "annotations", "test_set", "truth")
QUALITY = 90
"""Of the JPEG images."""
GRAIN = 3.0
"""Standard deviation of the pixel noise in the face images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, the settings and the number of processes."""
    parser.add_argument("--folder", required=True, help="where the corpus goes; empty, absent, or an earlier demo corpus")
    parser.add_argument("--settings", default="{}", help="the demo settings as JSON")
    parser.add_argument("--jobs", type=int, default=1, help="videos made at a time, at most one per core (default: %(default)s)")


def main(args: argparse.Namespace) -> None:
    """Generate the corpus."""
    if args.jobs < 1:
        raise InputError(f"--jobs {args.jobs}: at least 1 video must be made at a time")
    try:
        settings = DemoCorpus.model_validate_json(args.settings)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'JSON'}: {item['msg']}" for item in error.errors())
        raise InputError(f"--settings: {problems}") from None
    generate(settings, Path(args.folder), args.jobs)


def generate(settings: DemoCorpus, folder: Path, jobs: int = 1) -> None:
    """Make the corpus in `folder`, replacing an earlier one there; `settings.folder` is not looked at.

    Raises InputError when the folder holds anything that this did not write: real data must not mix with synthetic.
    """
    _clear(folder)
    videos = plan(settings)
    # A fresh process per video, since espeak-ng remembers earlier speech; forking them from a server that has
    # imported everything costs next to nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    with context.Pool(min(jobs, len(os.sched_getaffinity(0)), len(videos)), maxtasksperchild=1) as pool:
        made = pool.imap(partial(_make, settings, folder), videos, chunksize=1)
        records = dict(progress(made, "demo corpus", len(videos), "videos"))
    _write_test_set(videos, folder)
    write_json(
        folder / RECORD,
        {
            "format_version": 1,
            "settings": settings.model_dump(mode="json", exclude={"folder"}),
            "troubles": {
                trouble: {"meaning": MEANING[trouble], "video": video.video, "trials": [person.trial for person in video.trials]}
                for video in videos
                for trouble in video.troubles
            },
            "videos": records,
        },
    )


def _clear(folder: Path) -> None:
    """Remove an earlier demo corpus and mark the folder as one."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; demo.folder must name a folder")
    marker = folder / MARKER
    if not (marker.is_file() and marker.read_bytes() == MARKER_TEXT.encode()):
        foreign = next((path for path in folder.rglob("*") if path.is_file()), None) if folder.exists() else None
        if foreign is not None:
            raise InputError(f"{folder}: holds files that the demo did not write, such as {foreign}; give demo.folder an empty folder")
        write_text(marker, MARKER_TEXT)
    (folder / RECORD).unlink(missing_ok=True)
    for tree in TREES:
        shutil.rmtree(folder / tree, ignore_errors=True)


def _make(settings: DemoCorpus, folder: Path, video: PlannedVideo) -> tuple[str, dict[str, Any]]:
    """Make one video with its face images and annotations; returns its name and its entry in `demo.json`."""
    cv2.setNumThreads(1)
    seed, noise = settings.seed, settings.noise
    ticks = np.array(video.ticks(seed))
    times = ticks / TICKS
    felt = states(times, seed, video.video, [person.subject for person in video.trials])
    channels = {
        channel: [
            shown(state, channel, noise, generator(seed, channel, person.trial)) for state, person in zip(felt, video.trials, strict=True)
        ]
        for channel in ("face", "voice", "words")
    }
    sound, said = _sound(video, float(times[-1]), seed, channels)
    _write_pictures(video, folder, seed, times, ticks, channels["face"], sound, said)
    for person, state in zip(video.trials, felt, strict=True):
        _write_values(person, annotation(state), folder)
    record = {
        "source": video.source,
        "file": video.path,
        "rate": float(video.rate),
        "frames": video.frames,
        "seconds": round(float(times[-1]), 3),
        "sound": video.sound,
        "trials": {
            person.trial: {"partition": person.partition, "subject": person.subject, "rows": person.rows} for person in video.trials
        },
        "said": [{"start": item.start, "end": item.end, "speaker": video.trials[item.speaker].trial, "text": item.text} for item in said],
    }
    return video.video, record


def _sound(
    video: PlannedVideo, seconds: float, seed: int, channels: dict[str, list[Expression]]
) -> tuple[Floats | None, list[voice.Spoken]]:
    """Samples at `voice.RATE`, None without a sound track, and the phrases in it."""
    if video.sound == "none":
        return None, []
    if video.sound == "silence":
        return np.zeros(round(seconds * voice.RATE)), []
    speakers = [
        (person.subject, heard, words) for person, heard, words in zip(video.trials, channels["voice"], channels["words"], strict=True)
    ]
    return voice.speech(seconds, seed, video.video, speakers)


def _write_pictures(
    video: PlannedVideo,
    folder: Path,
    seed: int,
    times: Floats,
    ticks: np.ndarray,
    expressions: list[Expression],
    sound: Floats | None,
    said: list[voice.Spoken],
) -> None:
    """The video file, and the face images cut from its frames before they are compressed."""
    draw = generator(seed, "pictures", video.video)
    people = [face.traits(seed, person.subject) for person in video.trials]
    drawn = [
        shape
        for number, (looks, expression) in enumerate(zip(people, expressions, strict=True))
        for shape in face.shapes(looks, expression, _speaking(times, said, number), draw, number * face.CELL)
    ]
    behind = face.backdrop(people)
    light = 1 + 0.08 * smooth(times, draw)
    grain = draw.normal(0, GRAIN, (8, face.CROP, face.CROP, 3)).round().astype(np.int16)
    jitter = draw.integers(-1, 2, (video.frames, len(people), 2))

    parts = [folder / f"cropped_aligned/.{person.trial}.part" for person in video.trials]
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    with whole_file(folder / video.path) as path, _Recorder(path, video, behind.shape[1], sound) as recorder:
        for frame in range(video.frames):
            canvas = face.picture(behind, drawn, frame, float(light[frame]))
            recorder.add(canvas, int(ticks[frame]))
            for number, person in enumerate(video.trials):
                if frame < person.images and frame + 1 not in person.missing:
                    across, down = jitter[frame, number]
                    image = cv2.add(face.crop(canvas, number, (int(across), int(down))), grain[frame % len(grain)], dtype=cv2.CV_8U)
                    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
                    (parts[number] / f"{frame + 1:05d}.jpg").write_bytes(encoded.tobytes())
    for part, person in zip(parts, video.trials, strict=True):
        part.rename(folder / faces_path(person))


def _speaking(times: Floats, said: list[voice.Spoken], speaker: int) -> Floats:
    """How far speech opens a person's mouth, 0 to 1, at each time: four syllables a second."""
    talking = np.zeros_like(times)
    for item in said:
        if item.speaker == speaker:
            talking[(times >= item.start) & (times < item.end)] = 1
    return talking * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * times))


class _Recorder:
    """An open video file: H.264 and AAC in MP4, or MPEG-4 and MP3 in AVI. Use as a context manager."""

    def __init__(self, path: Path, video: PlannedVideo, width: int, sound: Floats | None) -> None:
        avi = path.suffix == ".avi"
        # An MP3 begins before zero; an AVI would be shifted for it as a whole, and hold its second picture one frame late.
        options = {"avoid_negative_ts": "disabled"} if avi else {}
        self._file = av.open(str(path), "w", container_options={"fflags": "+bitexact", **options})
        self._clock = Fraction(1, TICKS) if video.variable else 1 / video.rate
        self._variable = video.variable
        coding = {"qscale": "4"} if avi else {"preset": "veryfast", "crf": "23"}
        self._pictures = self._file.add_stream("mpeg4" if avi else "libx264", rate=video.rate, options={**coding, "threads": "1"})
        self._pictures.width, self._pictures.height = width, face.HEIGHT
        self._pictures.pix_fmt = "yuv420p"
        self._pictures.codec_context.time_base = self._clock
        self._pictures.codec_context.thread_count = 1
        self._count = 0
        self._sound = None if sound is None else np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
        self._heard = 0
        if sound is not None:
            self._track = (
                self._file.add_stream("libmp3lame", rate=44100, layout="stereo")
                if avi
                else self._file.add_stream("aac", rate=voice.RATE, layout="mono", options={"aac_coder": "fast"})
            )

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            self._file.mux(self._pictures.encode(None))
            if self._sound is not None:
                self._hear(len(self._sound))
                self._file.mux(self._track.encode(None))
        self._file.close()

    def add(self, picture: face.Image, tick: int) -> None:
        """Append a frame, shown from `tick` on, and the sound up to it."""
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.time_base = self._clock
        frame.pts = tick if self._variable else self._count
        self._count += 1
        self._file.mux(self._pictures.encode(frame))
        if self._sound is not None and self._count % 16 == 0:
            self._hear(min(tick * voice.RATE // TICKS, len(self._sound)))

    def _hear(self, until: int) -> None:
        assert self._sound is not None
        if until > self._heard:
            frame = av.AudioFrame.from_ndarray(self._sound[None, self._heard : until], format="s16", layout="mono")
            frame.sample_rate = voice.RATE
            frame.time_base = Fraction(1, voice.RATE)
            frame.pts = self._heard
            self._heard = until
            self._file.mux(self._track.encode(frame))


def _write_values(person: PlannedTrial, values: Floats, folder: Path) -> None:
    """The annotation of a trial, or the hidden truth of a test trial."""
    if person.partition == "test":
        rows = [f"{frame},{valence:g},{arousal:g}\n" for frame, (valence, arousal) in enumerate(values[: person.rows])]
        write_text(folder / truth_path(person), "frame,valence,arousal\n" + "".join(rows))
        return
    values = values[: person.rows].copy()
    values[list(person.excluded)] = -5
    values[list(person.half_excluded), 1] = -5
    rows = [f"{valence:g},{arousal:g}\n" for valence, arousal in values]
    write_text(folder / annotation_path(person), "valence,arousal\n" + "".join(rows))


def _write_test_set(videos: list[PlannedVideo], folder: Path) -> None:
    """The list of test trials and the submission template, sorted by name."""
    people = sorted((person for video in videos for person in video.trials if person.partition == "test"), key=lambda person: person.trial)
    write_text(folder / TEST_LIST, "".join(f"{person.trial}\n" for person in people))
    rows = [f"{person.trial}/{image:05d}.jpg,,\n" for person in people for image in range(1, person.rows + 1)]
    write_text(folder / TEMPLATE, "image_location,valence,arousal\n" + "".join(rows))
