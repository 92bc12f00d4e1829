"""Write the submission files that `select` chose, validate each against the template, and zip them.

Values have six decimals: float32 predictions lose nothing that a score could show, and files stay the same from run to
run. Rows are exactly the template's, in its order. Where a trial has fewer predictions than rows its last value is
repeated, where it has more they are trimmed at the rear. Values beyond [-1, 1], which calibration can make, are clipped.
All of it is counted in `repairs.csv`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abaw_pipeline import config
from abaw_pipeline.atomic import whole_file, write_json, write_text
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import postprocess
from abaw_pipeline.evaluation.instances import TARGETS, read_predictions
from abaw_pipeline.evaluation.metrics import ccc
from abaw_pipeline.evaluation.scores import write_scores
from abaw_pipeline.evaluation.validate import HEADER, read_template, split_location, summarise, validate

DECIMALS = 6
WRITTEN = ("submission.zip", "mapping.json", "repairs.csv", "scores.json")
REPAIR_COLUMNS = ("trial", "template_rows", "predicted_rows", "padded", "trimmed", "clipped", "note")
# The oldest date a zip can hold, so that equal files give equal bytes.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)

Series = dict[str, NDArray[np.float64]]
"""Values of each trial, by frame number."""
Place = tuple[str, int]
"""Trial and frame number (from 0) of a row of the template."""


def locations_of(table: pd.DataFrame) -> list[str]:
    """Image locations of test predictions, for corpora without a template: frame 0 is 00001.jpg."""
    return [f"{trial}/{frame + 1:05d}.jpg" for trial, frame in zip(table["trial"], table["frame"], strict=True)]


def by_trial(table: pd.DataFrame, column: str, source: str) -> Series:
    """Values of each trial by frame number. Raises InputError when a frame is absent, doubled or not a number."""
    series = {}
    for trial, rows in table.groupby("trial", sort=False):
        frames, values = rows["frame"].to_numpy(), rows[column].to_numpy(dtype=np.float64)
        order = np.argsort(frames, kind="stable")
        if not np.array_equal(frames[order], np.arange(len(frames))):
            absent = sorted(set(range(int(frames.max()) + 1)) - set(frames.tolist()))
            what = f"frame {absent[0]} is absent" if absent else "a frame stands twice"
            raise InputError(f"{source}: trial {trial}: {what}; train this instance again")
        if not np.isfinite(values).all():
            raise InputError(f"{source}: trial {trial}: {int((~np.isfinite(values)).sum())} predictions of {column} are not finite")
        series[str(trial)] = values[order]
    return series


def fill(places: Sequence[Place], series: Series) -> NDArray[np.float64]:
    """One value per row of the template: that frame's, or the trial's last where the trial has fewer."""
    absent = dict.fromkeys(trial for trial, _ in places if not series.get(trial, np.empty(0)).size)
    if absent:
        raise InputError(f"the template has {len(absent)} trials without predictions: {', '.join(list(absent)[:10])}")
    return np.array([series[trial][min(frame, series[trial].size - 1)] for trial, frame in places])


def clipped_values(places: Sequence[Place], *columns: NDArray[np.float64]) -> Counter[str]:
    """How many values of each trial `render` will clip to [-1, 1]; those of valence and of arousal count apart."""
    return Counter(places[row][0] for values in columns for row in np.flatnonzero(np.abs(values) > 1).tolist())


def repairs(places: Sequence[Place], lengths: Mapping[str, int], clipped: Mapping[str, int]) -> list[dict[str, Any]]:
    """One row per trial: rows of template and predictions, how many were padded and trimmed, how many values clipped."""
    template: dict[str, list[int]] = {}
    for trial, frame in places:
        template.setdefault(trial, []).append(frame)
    table = []
    for trial in [*template, *(name for name in lengths if name not in template)]:
        frames, length = template.get(trial, []), lengths.get(trial, 0)
        padded = sum(frame >= length for frame in frames)
        note = "" if frames else "not in the template"
        row = {"trial": trial, "template_rows": len(frames), "predicted_rows": length, "padded": padded}
        table.append(row | {"trimmed": length - (len(frames) - padded), "clipped": clipped.get(trial, 0), "note": note})
    return table


def render(locations: Sequence[str], valence: NDArray[np.float64], arousal: NDArray[np.float64]) -> str:
    """The submission's text. Values are clipped to [-1, 1]; -0 is written as 0."""
    # Adding 0 after rounding turns -0 into 0.
    columns = [np.clip(values, -1, 1).round(DECIMALS) + 0.0 for values in (valence, arousal)]
    rows = (f"{place},{v:.{DECIMALS}f},{a:.{DECIMALS}f}" for place, v, a in zip(locations, *columns, strict=True))
    return "\n".join((HEADER, *rows)) + "\n"


def write_valid(path: Path, text: str, template: Sequence[str]) -> None:
    """Write a submission whole, or raise InputError with its first ten problems and leave no file."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="")
        problems = validate(aside, template)
        if problems:
            raise InputError(f"the submission does not validate, nothing was zipped\n{summarise(path, problems)}")


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Zip `files` by bare name, in the order given; equal contents give equal bytes."""
    with whole_file(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def row_times(index: Path) -> dict[str, NDArray[np.float64]]:
    """Seconds of every frame of every trial, from the dataset files that the index names."""
    times = {}
    for trial in json.loads(index.read_text(encoding="utf-8"))["trials"]:
        with h5py.File(index.parent / trial["path"], "r") as file:
            times[trial["trial"]] = np.asarray(file["time"][()], dtype=np.float64)
    return times


def _smoothed(table: pd.DataFrame, column: str, times: Mapping[str, NDArray[np.float64]], deviation: float) -> pd.DataFrame:
    """The table with `column` smoothed within each trial."""
    values = table[column].to_numpy(dtype=np.float64, copy=True)
    for trial, rows in table.groupby("trial", sort=False).indices.items():
        frames = table["frame"].to_numpy()[rows]
        known = times[str(trial)]
        # Rows padded beyond the decoder's frames have no time of their own; they go on at the last step.
        step = known[-1] - known[-2] if known.size > 1 else 1.0
        seconds = np.concatenate([known, known[-1] + step * np.arange(1, max(int(frames.max()) + 2 - known.size, 1))])
        values[rows] = postprocess.smooth(values[rows], seconds[frames], deviation)
    return table.assign(**{column: values})


def predictions(
    folder: Path, emotion: str, target: str, settings: config.Submission, times: Mapping[str, NDArray[np.float64]]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test predictions of one instance for one target, post-processed as configured, and a record of what was done."""
    targets = TARGETS if emotion == "both" else (emotion,)
    test = read_predictions(folder / "test.csv", targets)
    record: dict[str, Any] = {}
    if settings.smoothing > 0:
        test = _smoothed(test, target, times, settings.smoothing)
        record["smoothing_seconds"] = settings.smoothing
    if settings.calibrate:
        validation = read_predictions(folder / "validation.csv", targets, labels=True)
        if settings.smoothing > 0:
            validation = _smoothed(validation, target, times, settings.smoothing)
        own, label = validation[target].to_numpy(), validation[f"{target}_label"].to_numpy()
        fitted = postprocess.fit(own, label)
        test = test.assign(**{target: postprocess.apply(test[target].to_numpy(), fitted)})
        record |= {"scale": fitted.scale, "shift": fitted.shift, "validation_ccc_before": ccc(own, label)}
        record["validation_ccc_after"] = ccc(postprocess.apply(own, fitted), label)
    return test, record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `submit`."""
    parser.add_argument("--selection", type=Path, required=True, help="selection.json")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained instances")
    parser.add_argument("--index", type=Path, required=True, help="dataset/index.json")
    parser.add_argument("--template", required=True, help="the challenge's template, or `none`: rows are those predicted")
    parser.add_argument("--output", type=Path, required=True, help="folder for 1.txt …, submission.zip, mapping.json, repairs.csv")
    parser.add_argument("--settings", required=True, help="JSON of the `submission` section")
    parser.add_argument("--truth", type=Path, help="folder of hidden truth ({trial}.csv): also write scores.json (demo corpus)")


def main(args: argparse.Namespace) -> None:
    """Write, validate and zip; scores.json too when there is a truth."""
    settings = config.Submission.model_validate_json(args.settings)
    selection = _read_selection(args.selection)
    # What an earlier run left must not be taken for this one's.
    for old in [
        *args.output.glob("*.txt"),
        *(args.output / name for name in ("submission.zip", "mapping.json", "repairs.csv", "scores.json")),
    ]:
        old.unlink(missing_ok=True)
    times = row_times(args.index) if settings.smoothing > 0 else {}
    given = None if args.template == "none" else read_template(Path(args.template))
    template: list[str] = given or []
    places: list[Place] = []
    table: list[dict[str, Any]] = []
    mapping: dict[str, Any] = {}
    files: list[Path] = []
    for entry in selection["submissions"]:
        averaged: dict[str, Series] = {}
        done = []
        for target in TARGETS:
            parts = []
            for member in entry["members"][target]:
                emotion = member["instance"].split("/")[1]
                test, record = predictions(args.runs / member["instance"], emotion, target, settings, times)
                template = template or locations_of(test)
                parts.append((member["weight"], by_trial(test, target, f"{args.runs / member['instance'] / 'test.csv'}")))
                done.append({"target": target, **member, "post_processing": record})
            averaged[target] = _average(parts, entry["file"], target)
        if not template:
            raise InputError("there is no test trial, so nothing to submit; the scores on validation stand in selection.csv")
        places = places or [split_location(location) for location in template]
        lengths = [{trial: values.size for trial, values in averaged[target].items()} for target in TARGETS]
        if lengths[0] != lengths[1]:
            raise InputError(
                f"{entry['file']}: valence and arousal instances predict different trials or lengths; train them on one dataset"
            )
        valence, arousal = (fill(places, averaged[target]) for target in TARGETS)
        table += [{"file": entry["file"], **row} for row in repairs(places, lengths[0], clipped_values(places, valence, arousal))]
        path = args.output / entry["file"]
        text = render(template, valence, arousal)
        write_valid(path, text, template)
        files.append(path)
        mapping[entry["file"]] = {
            **{name: entry[name] for name in ("title", "reason", "validation")},
            "members": done,
            "rows": len(template),
            "sha256": sha256(text.encode()).hexdigest(),
        }
    write_text(args.output / "repairs.csv", _csv(table))
    write_json(
        args.output / "mapping.json", {"template": "predicted rows" if given is None else Path(args.template).name, "files": mapping}
    )
    if args.truth:
        for name, values in write_scores(files, args.truth, args.output / "scores.json").items():
            print(f"submit: {name} test CCC valence {values['valence']:.3f}, arousal {values['arousal']:.3f}, mean {values['mean']:.3f}")
    write_zip(args.output / "submission.zip", files)
    repaired = [row for row in table if row["padded"] or row["trimmed"]]
    print(
        f"submit: {len(files)} file{'s' if len(files) > 1 else ''} of {len(template)} rows, all valid, in {args.output / 'submission.zip'}"
    )
    if repaired:
        trials = len({row["trial"] for row in repaired})
        print(f"submit: the predictions of {trials} trials were padded or trimmed to the template (repairs.csv)", file=sys.stderr)
    if beyond := sum(row["clipped"] for row in table):
        print(f"submit: {beyond} values beyond [-1, 1] were clipped (repairs.csv)", file=sys.stderr)


def _average(parts: Sequence[tuple[float, Series]], file: str, target: str) -> Series:
    """Weighted mean of instances that predict the same rows."""
    lengths = [{trial: values.size for trial, values in series.items()} for _, series in parts]
    if any(other != lengths[0] for other in lengths[1:]):
        raise InputError(f"{file}: the instances averaged for {target} predict different trials or lengths; train them on one dataset")
    total = sum(weight for weight, _ in parts)
    return {trial: np.sum([weight / total * series[trial] for weight, series in parts], axis=0) for trial in lengths[0]}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ("file", *REPAIR_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_selection(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict) and value["submissions"]:
            return value
        raise KeyError("submissions")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a selection ({error!r}); run the select stage first") from None
