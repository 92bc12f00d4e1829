"""The dataset stage: labels, frames, sound and words of one trial, in step, in one HDF5 file.

Everything follows kept frame numbers. A frame's time is its presentation time in the container, relative to the first
frame; sound and words lie on the same clock. Whatever had to be left out, cut, padded or repeated on the way is counted in
the file's `audit` attribute, from which the audit table is made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from abaw_pipeline.alignment import logmel_starts, word_index
from abaw_pipeline.corpus.annotations import NOT_ANNOTATED, read_annotation, report_rows
from abaw_pipeline.corpus.template import read_template
from abaw_pipeline.errors import InputError
from abaw_pipeline.store import LOGMEL_BANDS, LOGMEL_WINDOW, TrialData, write_trial

NAMES_SHOWN = 50
"""Corrupt images named in a file, which holds attributes of at most 64 kB; all of them are counted."""


class Alignment(BaseModel):
    """The settings that this stage reads: `fidelity.rows` and `logmel.window`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Literal["kept", "report"] = "kept"
    window: Literal["ahead", "centred", "past"] = "ahead"


ASSUMED_FPS = 30.0
"""Frame rate of a trial without video."""
SAMPLE_COUNTS = ("padded_samples", "trimmed_samples", "gap_samples", "overlap_samples", "unexplained_samples", "decoder_messages")
WORD_COUNTS = ("cut_words", "zero_words")


@dataclass(frozen=True)
class Rows:
    """Which frames a trial has, which of them are kept, and their labels."""

    frames: int
    kept: NDArray[np.int64]
    label: NDArray[np.float32] | None
    audit: dict[str, Any]


@dataclass(frozen=True)
class Words:
    """A video's words: vectors (W, D), texts, spans (W, 2) in seconds, and how many the model could not take as they are."""

    vectors: NDArray[np.float16]
    text: list[str]
    time: NDArray[np.float64]
    audit: dict[str, int]


def rows_of(annotation: Path | None, template: Path | None, trial: str, decoder_frames: int | None, rows: str) -> Rows:
    """Frames and kept rows: from the annotation, else from the template, else from the decoder's count (None without a video).

    `rows`: "kept" drops a row with any -5; "report" only one with two, as the authors do. Raises InputError when no row
    is left, or when the template has no row for the trial.
    """
    audit: dict[str, Any] = {"decoder_frames": decoder_frames, "annotation_rows": None, "template_rows": None}
    label = None
    if annotation is not None:
        values, kept = read_annotation(annotation)
        frames = audit["annotation_rows"] = len(values)
        if rows == "report":
            kept = report_rows(values)
        label = values[kept]
        audit["single_minus5"] = int(((values == NOT_ANNOTATED).sum(axis=1) == 1).sum())
    else:
        if template is not None:
            images = read_template(template).get(trial)
            if images is None:
                raise InputError(f"{template}: no row for the test trial {trial}; use the list and the template of one challenge edition")
            frames, audit["template_rows"] = int(images.max()), len(images)
        elif decoder_frames is not None:
            frames = decoder_frames
        else:
            raise InputError(f"{trial}: neither video, annotation nor template tells how long it is; give it one of these")
        kept = np.arange(frames, dtype=np.int64)
        audit["single_minus5"] = 0
    if not len(kept):
        raise InputError(f"{annotation or trial}: no annotated row is left; remove the trial from the corpus")
    return Rows(frames, kept, label, audit | _excluded(frames, kept))


def _excluded(frames: int, kept: NDArray[np.int64]) -> dict[str, Any]:
    """How many rows are excluded at the start, between kept rows, and at the end."""
    inner = np.diff(kept) - 1
    return {
        "frames": frames,
        "rows": len(kept),
        "excluded": frames - len(kept),
        "excluded_start": int(kept[0]),
        "excluded_inner": int(inner.sum()),
        "excluded_end": frames - 1 - int(kept[-1]),
        "inner_gaps": int((inner > 0).sum()),
    }


def fit_times(time: NDArray[np.float64], frames: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Times for exactly `frames` frames: trimmed, or continued with the median interval; and the counts of both."""
    counts = {"times_extrapolated": max(0, frames - len(time)), "times_trimmed": max(0, len(time) - frames)}
    interval = float(np.median(np.diff(time)))
    beyond = time[-1] + interval * np.arange(1, counts["times_extrapolated"] + 1)
    return np.concatenate([time[:frames], beyond]), counts


def assumed_times(frames: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Times and facts of a trial without video: pictures alone say nothing of their rate, so it is assumed and counted."""
    seconds = frames / ASSUMED_FPS
    no_sound = dict.fromkeys(("sound_seconds", "offset_seconds", "edge_padded_samples", *SAMPLE_COUNTS), 0)
    clock = {
        "fps": ASSUMED_FPS,
        "variable_rate": False,
        "times_assumed": frames,
        "times_extrapolated": 0,
        "times_trimmed": 0,
        "hidden_pictures": 0,
    }
    return np.arange(frames) / ASSUMED_FPS, clock | {"sound_track": False, "picture_seconds": seconds} | no_sound


def fit_starts(starts: NDArray[np.int32], spectrum_rows: int) -> tuple[NDArray[np.int32], int]:
    """Starts moved to the nearest full window of the spectrum, and how many were; all -1 without a spectrum."""
    if not spectrum_rows:
        return np.full(len(starts), -1, np.int32), 0
    fitted = np.clip(starts, 0, spectrum_rows - LOGMEL_WINDOW).astype(np.int32)
    return fitted, int((fitted != starts).sum())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `dataset`."""
    parser.add_argument("--trial", required=True)
    parser.add_argument("--video", required=True, help="name of the trial's video in the features file")
    parser.add_argument("--partition", required=True, choices=("train", "validation", "test"))
    parser.add_argument("--group", required=True, help="trials of one group stay in one fold")
    parser.add_argument("--annotation", type=Path, help="annotation file; none for a test trial")
    parser.add_argument("--template", type=Path, help="submission template, which gives a test trial's length")
    parser.add_argument("--timestamps", type=Path, help="HDF5 of the timestamps stage; without it the trial has no video, sound or words")
    parser.add_argument("--record", type=Path, help="JSON of the wav stage")
    parser.add_argument("--logmel", type=Path, help="HDF5 of the logmel stage")
    parser.add_argument("--features", type=Path, help="HDF5 of the embed stage, with a group for the video")
    parser.add_argument("--frames", type=Path, required=True, help="HDF5 of the frames stage; it is linked, not copied")
    parser.add_argument("--settings", required=True, help='JSON: {"rows": …, "window": …}')
    parser.add_argument("--output", type=Path, required=True, help="dataset/{trial}.h5 to write")


def main(args: argparse.Namespace) -> None:
    """Write the trial's file; raises InputError when its parts do not fit together."""
    settings = Alignment.model_validate_json(args.settings)
    if args.annotation is None and args.partition != "test":
        raise InputError(f"{args.trial}: a trial for {args.partition} needs an annotation")
    parts = (args.timestamps, args.record, args.logmel, args.features)
    if None in parts and parts != (None,) * len(parts):
        raise InputError(f"{args.trial}: give timestamps, record, logmel and features, or none of them for a trial without video")
    if args.timestamps is None:
        rows = rows_of(args.annotation, args.template, args.trial, None, settings.rows)
        time, clock = assumed_times(rows.frames)
        spectrum = np.empty((0, LOGMEL_BANDS), np.float16)
        words = Words(np.empty((0, 0), np.float16), [], np.empty((0, 2)), dict.fromkeys(WORD_COUNTS, 0))
    else:
        decoded, clock = _read_timestamps(args.timestamps)
        rows = rows_of(args.annotation, args.template, args.trial, len(decoded), settings.rows)
        time, counts = fit_times(decoded, rows.frames)
        spectrum, sound = _read_sound(args.logmel, args.record)
        clock |= counts | sound
        words = _read_words(args.features, args.video)
    face_present, faces = _read_faces(args.frames, rows.frames)
    starts, repeated = fit_starts(logmel_starts(time[rows.kept], settings.window), len(spectrum))
    word = word_index(time[rows.kept], words.time)
    frame = rows.kept if settings.rows == "kept" else np.arange(len(rows.kept), dtype=np.int64)
    audit = {
        **rows.audit,
        **faces,
        "missing_faces": int((~face_present).sum()),
        "missing_faces_kept": int((~face_present[frame]).sum()),
        "slid_rows": int((frame != rows.kept).sum()),
        **clock,
        "logmel_rows_repeated": repeated,
        "words": len(words.text),
        **words.audit,
        "word_coverage": round(float((word >= 0).mean()), 6),
    }
    data = TrialData(
        trial=args.trial,
        video=args.video,
        partition=args.partition,
        group=args.group,
        settings=settings.model_dump(),
        time=time,
        face_present=face_present,
        rows=rows.kept,
        frame=frame,
        label=rows.label,
        logmel=spectrum,
        logmel_start=starts,
        words=words.vectors,
        word=word,
        word_text=words.text,
        word_time=words.time,
        audit=audit,
    )
    write_trial(args.output, data, args.frames)


def _read_timestamps(path: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Times (n,) of the decoder's frames, and facts of the picture stream."""
    with _opened(path, "timestamps") as file:
        time = file["time"][()].astype(np.float64)
        facts = {
            "fps": round(float(file.attrs["fps_mean"]), 6),
            "variable_rate": bool(file.attrs["variable_rate"]),
            "times_assumed": len(time) if file.attrs["rate_assumed"] else 0,
            "hidden_pictures": int(file.attrs["hidden_pictures"]),
        }
    if len(time) < 2:
        raise InputError(f"{path}: {len(time)} frames; a video needs at least 2 for a frame rate")
    return time, facts


def _read_faces(path: Path, frames: int) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """Which frames show a face, and what the frames stage counted. The frames themselves are not read."""
    with _opened(path, "frames") as file:
        present = file["face_present"][()].astype(bool)
        if len(present) != frames or len(file["frames"]) != frames:
            raise InputError(f"{path}: {len(present)} frames, expected {frames}; run the frames stage again")
        corrupt = json.loads(str(file.attrs["corrupt"]))
        counts = {name: int(file.attrs[name]) for name in ("images", "surplus_images", "other_files")}
    return present, counts | {"corrupt_images": len(corrupt), "corrupt_names": corrupt[:NAMES_SHOWN]}


def _read_sound(path: Path, record: Path) -> tuple[NDArray[np.float16], dict[str, Any]]:
    """Log-mel rows (M, 64), none without sound, and lengths and repairs of the sound."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        lengths = {
            "sound_seconds": facts["seconds"],
            "picture_seconds": facts["picture_seconds"],
            "offset_seconds": facts["offset_seconds"],
        }
        counts = {"sound_track": bool(facts["track"])} | lengths | {name: facts[name] for name in SAMPLE_COUNTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: not a record of the wav stage ({error}); run that stage again") from None
    with _opened(path, "logmel") as file:
        spectrum = file["logmel"][()].astype(np.float16)
        counts["edge_padded_samples"] = int(file.attrs["edge_padded_samples"])
    if spectrum.shape[1:] != (LOGMEL_BANDS,) or 0 < len(spectrum) < LOGMEL_WINDOW:
        raise InputError(f"{path}: {spectrum.shape} log-mel values are not even one window; run the logmel stage again")
    return spectrum, counts


def _read_words(path: Path, video: str) -> Words:
    """The words of the video."""
    with _opened(path, "embed") as file:
        if video not in file:
            raise InputError(f"{path}: no words of the video {video}; run the embed stage for its shard again")
        group = file[video]
        text = [str(word) for word in group["word_text"].asstr()[()]]
        counts = {name: int(group.attrs[name]) for name in WORD_COUNTS}
        words = Words(group["words"][()].astype(np.float16), text, group["word_time"][()].astype(np.float64).reshape(-1, 2), counts)
    if not len(words.vectors) == len(words.text) == len(words.time):
        raise InputError(
            f"{path}: {video} has {len(words.vectors)} vectors, {len(text)} words and {len(words.time)} times; run embed again"
        )
    return words


@contextmanager
def _opened(path: Path, stage: str) -> Iterator[h5py.File]:
    """An HDF5 file that `stage` wrote, for reading; InputError when it cannot be opened or lacks what is asked of it."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: {error}; run the {stage} stage again") from None
