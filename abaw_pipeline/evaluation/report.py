"""The page of results: one self-contained HTML file, and its figures as SVG and PNG.

A part of the results that is absent is named in its section; the page is written nevertheless. The page loads nothing
from elsewhere: style and figures stand inside it.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from abaw_pipeline import config
from abaw_pipeline.atomic import write_text
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import bootstrap, figures, metrics
from abaw_pipeline.evaluation.instances import TARGETS, Instance
from abaw_pipeline.evaluation.results import PAPER_FOLDS, PAPER_TEST, Results, pooled_validation, targets_of
from abaw_pipeline.evaluation.select import per_fold, rank
from abaw_pipeline.progress import Progress

TEMPLATE = "report.html.j2"
STYLE_SHEET = "report.css"
FILM_FRAMES = 8
EMOTIONS = (*TARGETS, "both")
WORDS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Picture:
    """A figure on the page: its place as a data URI, what it shows in words, and a caption."""

    source: str
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table on the page. `texts`: leading columns of text; the others align right. `stacks`: on a phone, a block per row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    stacks: bool = False


@dataclass
class Gallery:
    """Saves figures and gives them back as pictures."""

    folder: Path
    shown: Progress
    made: list[str] = field(default_factory=list)

    def add(self, figure: Figure, name: str, alt: str, caption: str = "", *, wide: bool = False, raster: bool = False) -> Picture:
        """Save `figure` as {name}.svg and .png; the page holds the SVG, or the PNG where it shows photographs."""
        figures.save(figure, self.folder / name)
        self.made.append(name)
        self.shown.advance()
        return Picture(data_uri(self.folder / f"{name}{'.png' if raster else '.svg'}"), alt, caption, wide)


def data_uri(path: Path) -> str:
    """A file's content as a `data:` address."""
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def number(value: float | None, digits: int = 3) -> str:
    """A score as text; a dash when there is none. A minus is a minus sign."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min 20 s` or `5 h 10 min`."""
    if not math.isfinite(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def inputs_of(model: config.Model) -> str:
    """A network's modalities, and which of them are vectors that the user brought."""
    return " + ".join(f"{name} (own vectors)" if name in model.precomputed else name for name in model.modalities)


def what_was_run(results: Results, settings: config.Settings) -> dict[str, Any]:
    """Corpus, trials, networks, deviations in effect and versions."""
    trials = results.index.get("trials", [])
    rows = []
    for partition in ("train", "validation", "test"):
        own = [item for item in trials if item["partition"] == partition]
        if own:
            count = sum(item.get("rows", 0) for item in own)
            rows.append([WORDS[partition], str(len(own)), str(len({item["video"] for item in own})), f"{count:,}".replace(",", " ")])
    networks = [
        [name, model.network.upper(), inputs_of(model), model.visual, model.audio, "yes" if model.pretrained else "no"]
        for name, model in settings.models.items()
    ]
    defaults = config.Fidelity()
    switches = [
        [name, str(value), "as decided here" if value == getattr(defaults, name) else "as the report's authors"]
        for name, value in settings.fidelity.model_dump().items()
    ]
    switches += [
        [f"{model_name}: {name}", str(value), "for this network alone"]
        for model_name, model in settings.models.items()
        if model.fidelity
        for name, value in model.fidelity.model_dump().items()
        if value != getattr(settings.fidelity, name)
    ]
    facts: dict[str, str] = {}
    for instance in results.chosen.values():
        for package, version in sorted((instance.metrics.get("versions") or {}).items()):
            facts.setdefault(package, str(version))
        if instance.metrics.get("git_commit"):
            facts.setdefault("commit", str(instance.metrics["git_commit"])[:12])
    return {
        "partitions": Table(("partition", "trials", "videos", "rows"), rows) if rows else None,
        "networks": Table(("name", "fusion", "modalities", "visual", "audio", "pretrained"), networks, texts=6),
        "switches": Table(("switch", "value", ""), switches, texts=3),
        "versions": ", ".join(f"{name} {version}" for name, version in facts.items()),
        "settings": json.dumps(settings.model_dump(mode="json"), indent=1, sort_keys=True),
    }


def embedded(results: Results, folder: str, alt: str) -> list[Picture]:
    """Figures that another stage left in report/{folder}."""
    return [Picture(data_uri(path), alt) for path in sorted((results.folder / "report" / folder).glob("*.svg"))]


def corpus_audit(results: Results) -> dict[str, Any]:
    """The audit's totals and findings (report/audit/audit.md), and its figure."""
    note = results.folder / "report" / "audit" / "audit.md"
    if not note.is_file():
        return {"missing": "The audit's summary (report/audit/audit.md) is absent: the audit stage has not run."}
    lines = note.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|") and "---" not in line]
    findings = [line.removeprefix("- ").replace("**", "").replace("`", "") for line in lines if line.startswith("- ")]
    return {
        "table": Table(cells[0], cells[1:]) if cells else None,
        "findings": findings,
        "pictures": embedded(results, "audit", f"The corpus, trial by trial. {'; '.join(findings[:4])}"),
    }


def coverage(results: Results) -> dict[str, Any]:
    """How much of the corpus shows a face, has sound, and is inside a word."""
    parts: dict[str, Any] = {}
    trials = results.index.get("trials", [])
    if trials:
        kinds = (("has_video", "a face in some frame"), ("has_logmel", "a sound track"), ("has_bert", "recognised words"))
        rows = [[text, f"{sum(bool(item.get(key)) for item in trials)} of {len(trials)}"] for key, text in kinds if key in trials[0]]
        lacking = [f"{item['trial']}: no {text.split()[-1]}" for item in trials for key, text in kinds if key in item and not item[key]]
        parts["trials"] = Table(("trials with", ""), rows) if rows else None
        parts["lacking"] = lacking
    table = results.table("report/coverage/coverage.csv")
    if table is None:
        parts["missing"] = "coverage.csv is absent: the coverage stage has not run."
        return parts
    together = table[table["video"].str.startswith("(all ")]
    shown = ("videos", "frames", "word_share", "words_per_minute", "mean_confidence", "empty_transcripts")
    rows = [[str(row["partition"]), *("–" if pd.isna(row[name]) else f"{row[name]:g}" for name in shown)] for _, row in together.iterrows()]
    columns = ("partition", "videos", "frames", "share inside a word", "words per minute", "confidence", "videos without a word")
    parts["table"] = Table(columns, rows)
    named = table[table["note"].notna()]
    parts["lacking"] = [*parts.get("lacking", []), *(f"{video}: {note}" for video, note in zip(named["video"], named["note"], strict=True))]
    parts["pictures"] = embedded(results, "coverage", "Share of each video's frames that lie inside a recognised word")
    return parts


def table_one(results: Results, gallery: Gallery, settings: config.Settings) -> dict[str, Any]:
    """Model x fold x emotion: the best with its interval over trials, mean and spread over seeds, and the paper's number."""
    ranked = rank(results.instances)
    if not ranked:
        return {"missing": "No usable instance: the training stage has not run, or every instance failed."}
    licensed = settings.corpus == "affwild2"
    columns = ["emotion", "model", "fold", "best", "95 % interval", "mean ± SD", "instances", *(["paper"] if licensed else [])]
    rows: list[list[str]] = []
    scores: dict[str, dict[str, dict[int, list[float]]]] = {}
    bounds: dict[str, dict[str, dict[int, tuple[float, float]]]] = {}
    for target in targets_of(results.instances):
        for (model, emotion, fold), group in _in_order(results):
            if target not in group[0].targets:
                continue
            values = [item.ccc[target] for item in group]
            label = model if emotion != "both" else f"{model} (both)"
            best = group[0]
            table = results.validation(best)
            _, parts = metrics.moments_by(table["trial"].tolist(), table[target], table[f"{target}_label"])
            interval = bootstrap.ccc_interval(parts, settings.report.bootstrap)
            scores.setdefault(target, {}).setdefault(label, {})[fold] = values
            bounds.setdefault(target, {}).setdefault(label, {})[fold] = (interval.low, interval.high)
            spread = f"{number(fmean(values))} ± {number(stdev(values)) if len(values) > 1 else '–'}"
            wanted = sum(
                (item.model, item.emotion, item.fold) == (model, emotion, fold) and item.status != "unexpected"
                for item in results.instances
            )
            count = f"{len(values)} of {wanted}"
            row = [target, label, str(fold), f"{number(best.ccc[target])} (seed {best.seed})"]
            row += [f"{number(interval.low)} – {number(interval.high)}", spread, count]
            rows.append(row + ([number(PAPER_FOLDS[target].get(model, {}).get(fold))] if licensed else []))
    pictures = []
    for target, by_model in scores.items():
        paper = PAPER_FOLDS[target] if licensed else {}
        figure = figures.fold_scores(target, by_model, bounds[target], paper)
        alt = f"Validation CCC of {target} by fold. " + "; ".join(
            f"{model}: " + ", ".join(f"fold {fold} best {max(values):.2f}" for fold, values in folds.items())
            for model, folds in by_model.items()
        )
        pictures.append(gallery.add(figure, f"folds_{target}", alt))
    for target, by_model in scores.items():
        curves = {}
        for model, folds in by_model.items():
            most = min(len(values) for values in folds.values())
            curves[model] = np.mean([bootstrap.expected_best(np.array(values))[:most] for values in folds.values()], axis=0)
        figure = figures.best_of_k(f"{target}: what choosing adds", curves)
        alt = f"Expected best validation CCC of {target} of k instances. " + "; ".join(
            f"{model}: {values[0]:.3f} for one, {values[-1]:.3f} for {len(values)}" for model, values in curves.items()
        )
        pictures.append(gallery.add(figure, f"best_of_k_{target}", alt))
    means = []
    for target, by_model in scores.items():
        for model, folds in by_model.items():
            mean_best = fmean(max(values) for values in folds.values())
            mean_all = fmean(fmean(values) for values in folds.values())
            means.append([target, model, str(len(folds)), number(mean_best), number(mean_all), number(mean_best - mean_all)])
    over = Table(("emotion", "model", "folds", "best", "mean", "owed to choosing"), means, texts=2)
    return {"table": Table(columns, rows, texts=2), "over_folds": over, "pictures": pictures, "paper": licensed}


def _in_order(results: Results) -> list[tuple[tuple[str, str, int], list[Instance]]]:
    """Usable instances of each model, emotion and fold, best first, in the configuration's order of models."""
    models = list(dict.fromkeys(item.model for item in results.instances))
    ranked = rank(results.instances)
    return sorted(ranked.items(), key=lambda item: (models.index(item[0][0]), EMOTIONS.index(item[0][1]), item[0][2]))


def learning_curves(results: Results, gallery: Gallery) -> dict[str, Any]:
    """One figure per model, emotion and fold: chosen instance, other seeds, releases."""
    found = {}
    for key, group in _in_order(results):
        histories = {item.seed: table for item in group if (table := results.history(item)) is not None}
        if group[0].seed in histories:
            found[key] = (group[0].seed, histories)
    if not found:
        return {"missing": "No history.csv was found."}
    values = [table["validation_ccc"].to_numpy(dtype=float) for _, histories in found.values() for table in histories.values()]
    values += [t["train_ccc"].to_numpy(dtype=float) for _, hs in found.values() for t in hs.values() if "train_ccc" in t]
    everything = np.concatenate(values)
    low = float(np.nanmin(everything)) if np.isfinite(everything).any() else 0.0
    limits = (min(math.floor(low * 10) / 10, 0.0), 1.0)
    pictures = []
    for (model, emotion, fold), (seed, histories) in found.items():
        figure = figures.learning_curve(f"{model} {emotion}, fold {fold}", histories, seed, limits)
        table = histories[seed]
        released = ", ".join(f"group {group} at epoch {epoch}" for epoch, group in figures.releases(table)) or "none after the first"
        best = float(table["validation_ccc"].max())
        alt = f"Validation CCC by epoch of {model}, {emotion}, fold {fold}: best {best:.2f} with seed {seed}; released: {released}"
        pictures.append(gallery.add(figure, f"curve_{model}_{emotion}_fold{fold}", alt))
    return {"pictures": pictures}


def leading(results: Results) -> dict[str, Any] | None:
    """The first submission of the selection, or None."""
    selection = results.json("selection.json") or {}
    submissions = selection.get("submissions") or []
    return submissions[0] if submissions else None


def trial_pictures(results: Results, gallery: Gallery, settings: config.Settings) -> dict[str, Any]:
    """Predictions against labels for the best, the median and the worst trial of the first submission's instances."""
    entry = leading(results)
    if entry is None:
        return {"missing": "selection.json is absent, or names no submission."}
    named = {item.name: item for item in results.instances}
    pictures = []
    for target in TARGETS:
        instance = named.get(entry["members"][target][0]["instance"])
        if instance is None or instance.status != "ok":
            continue
        table = results.validation(instance)
        by = metrics.scores_by(table["trial"].tolist(), table[target], table[f"{target}_label"])
        order = sorted(by, key=lambda trial: (-by[trial].ccc, trial))
        picks = dict.fromkeys([("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])])
        seen: set[str] = set()
        for which, trial in picks:
            if trial in seen:
                continue
            seen.add(trial)
            rows = table[table["trial"] == trial].sort_values("frame")
            frames = rows["frame"].to_numpy(dtype=np.int64)
            seconds, film, unit = _time_and_film(results, trial, frames, settings.report.frames)
            title = f"{target}, {which} trial: CCC {number(by[trial].ccc, 2)}"
            label = rows[f"{target}_label"].to_numpy()
            figure = figures.trial_curve(title, seconds, rows[target].to_numpy(), label, film, unit)
            alt = (
                f"{target} over time in trial {trial}, the {which} of {len(order)}: label and prediction of {instance.name}, "
                f"CCC {by[trial].ccc:.2f}, RMSE {by[trial].rmse:.2f}" + ("; face frames below" if film else "")
            )
            caption = f"{trial}, predicted by {instance.name}; RMSE {number(by[trial].rmse, 2)}, {len(rows)} rows"
            pictures.append(gallery.add(figure, f"trial_{target}_{which}", alt, caption, wide=True, raster=bool(film)))
    return {"pictures": pictures, "title": entry["title"]}


def _time_and_film(
    results: Results, trial: str, frames: NDArray[np.int64], wanted: bool
) -> tuple[NDArray[np.float64], list[tuple[float, NDArray[np.uint8] | None]], str]:
    """Times of the rows, faces for the strip under the curve, and the unit of time."""
    times = results.times(trial)
    if times is None or times.size <= frames.max():
        return frames.astype(np.float64), [], "frame"
    seconds = times[frames]
    if not wanted:
        return seconds, [], "seconds"
    # The frame in the middle of each of equally long parts.
    middles = seconds[0] + (np.arange(FILM_FRAMES) + 0.5) / FILM_FRAMES * (seconds[-1] - seconds[0])
    picked = frames[np.clip(np.searchsorted(seconds, middles), 0, len(frames) - 1)]
    faces = results.faces(trial, picked)
    return seconds, [] if faces is None else list(zip(faces[0].tolist(), faces[1], strict=True)), "seconds"


def scatter(results: Results, gallery: Gallery) -> dict[str, Any]:
    """Labels against predictions, CCC per trial, and CCC per subject, over all folds of each model's chosen instances."""
    models = list(dict.fromkeys(model for model, _ in per_fold(results.instances)))
    if not models:
        return {"missing": "No validation predictions."}
    subjects = {item["trial"]: item.get("subject") or "" for item in results.index.get("trials", [])}
    calibrations, trials, per_subject, rows = [], [], [], []
    for target in targets_of(results.instances):
        for model in models:
            table = pooled_validation(results, model, target)
            if table.empty:
                continue
            prediction, label = table["prediction"].to_numpy(dtype=float), table["label"].to_numpy(dtype=float)
            result = metrics.scores(prediction, label)
            folds = int(table["fold"].nunique())
            x, y, _ = metrics.finite_pairs(prediction, label)
            figure = figures.calibration(f"{model}, {target}", x, y)
            alt = (
                f"{target} labels against predictions of {model} over {folds} folds: CCC {result.ccc:.2f}, PCC {result.pcc:.2f}, "
                f"RMSE {result.rmse:.2f}; mean prediction {x.mean():.2f}, mean label {y.mean():.2f}, "
                f"standard deviations {x.std():.2f} and {y.std():.2f}"
            )
            calibrations.append(gallery.add(figure, f"calibration_{model}_{target}", alt))
            # A trial is validated in one fold only, so these are one value per trial.
            by = metrics.scores_by(table["trial"].tolist(), prediction, label)
            values = np.array([item.ccc for item in by.values()])
            figure = figures.per_trial(f"{model}, {target}", list(by), values, result.ccc)
            alt = (
                f"CCC of {target} within each of {len(by)} validation trials of {model}: median {np.nanmedian(values):.2f}, "
                f"from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}; all rows together {result.ccc:.2f}"
            )
            trials.append(gallery.add(figure, f"trials_{model}_{target}", alt))
            rows.append(
                [target, model, *(number(v) for v in (result.ccc, result.pcc, result.rmse)), str(result.rows), str(result.left_out)]
            )
            if any(subjects.get(trial) for trial in by):
                of_subject = metrics.scores_by([subjects.get(trial) or trial for trial in table["trial"]], prediction, label)
                per_subject += [[target, model, name, number(item.ccc), str(item.rows)] for name, item in of_subject.items()]
    columns = ("emotion", "model", "CCC", "PCC", "RMSE", "rows", "not finite")
    return {
        "calibrations": calibrations,
        "trials": trials,
        "table": Table(columns, rows, texts=2),
        "subjects": Table(("emotion", "model", "subject", "CCC", "rows"), per_subject, texts=3) if per_subject else None,
    }


def submissions(results: Results, settings: config.Settings) -> dict[str, Any]:
    """Which file came from which instances, why, and what it scores."""
    selection = results.json("selection.json")
    if not selection:
        return {"missing": "selection.json is absent: the select stage has not run, or nothing could be submitted."}
    scores = results.json("submission/scores.json") or {}
    mapping = (results.json("submission/mapping.json") or {}).get("files", {})
    rows = []
    for entry in selection["submissions"]:
        members = [", ".join(member["instance"] for member in entry["members"][target]) for target in TARGETS]
        row = [entry["file"], entry["title"], entry["reason"], "; ".join(members)]
        row += [" / ".join(number(entry["validation"][name]) for name in (*TARGETS, "mean"))]
        if scores:
            own = scores.get(entry["file"], {})
            row += [" / ".join(number(own.get(name)) for name in (*TARGETS, "mean"))]
        rows.append([*row, "yes" if entry["file"] in mapping else "not written"])
    columns = ["file", "from", "why", "instances", "validation CCC", *(["test CCC"] if scores else []), "valid"]
    repairs = results.table("submission/repairs.csv")
    repaired: Table | None = None
    if repairs is not None:
        # All files have the same rows; how many of their values were clipped differs.
        shown = ("template_rows", "predicted_rows", "padded", "trimmed", "clipped")
        once = repairs.groupby("trial", sort=False).agg(dict.fromkeys(shown, "first") | {"clipped": "sum"})
        once = once[(once[["padded", "trimmed", "clipped"]] > 0).any(axis=1)]
        repaired = Table(
            ("trial", "template rows", "predicted", "padded", "trimmed", "values clipped, all files"),
            [[str(trial), *(str(row[name]) for name in shown)] for trial, row in once.iterrows()],
        )
    return {
        "table": Table(columns, rows, texts=4, stacks=True),
        "number": selection["number"],
        "rule": selection["rule"],
        "rules": selection.get("rules", ""),
        "repairs": repaired,
        "post_processing": _post_processing(settings.submission),
        "paper_test": PAPER_TEST if settings.corpus == "affwild2" else None,
        "scores": bool(scores),
    }


def _post_processing(settings: config.Submission) -> str:
    """What was done to predictions before they were written, in words."""
    steps = [f"Gaussian smoothing over {settings.smoothing:g} s"] if settings.smoothing > 0 else []
    steps += ["scale and shift fitted on validation"] if settings.calibrate else []
    return f"Post-processing: {', then '.join(steps)}." if steps else "No post-processing, as in the ABAW5 report."


def cost(results: Results, gallery: Gallery) -> dict[str, Any]:
    """Time and memory of each stage."""
    rows = results.costs()
    if not rows:
        return {"missing": "No benchmark files: run through Snakemake to have them."}
    table = [
        [row["stage"], str(row["jobs"]), duration(row["seconds"]), duration(row["longest"]), duration(row["cpu"]), number(row["memory"], 0)]
        for row in rows
    ]
    total = sum(row["seconds"] for row in rows)
    table.append(["together", str(sum(row["jobs"] for row in rows)), duration(total), "", duration(sum(row["cpu"] for row in rows)), ""])
    scale, unit = (3600, "hours") if total > 7200 else (60, "minutes") if total > 300 else (1, "seconds")
    figure = figures.horizontal_bars("time of all jobs", [row["stage"] for row in rows], [row["seconds"] / scale for row in rows], unit)
    alt = "Time of all jobs per stage: " + ", ".join(f"{row['stage']} {duration(row['seconds'])}" for row in rows)
    columns = ("stage", "jobs", "all jobs", "longest job", "CPU time", "memory, MB")
    return {"table": Table(columns, table), "pictures": [gallery.add(figure, "cost", alt, wide=True)]}


def warnings(results: Results) -> list[str]:
    """Everything that a reader must know: from selection, instances, repairs and the run itself."""
    said = list((results.json("selection.json") or {}).get("warnings", []))
    counted = Counter(str(text) for item in results.instances for text in item.metrics.get("warnings") or [])
    said += [f"{text} ({count} instances)" for text, count in counted.items()]
    usable = [item for item in results.instances if item.status == "ok"]
    at_the_end = [item for item in usable if _last_epoch_was_best(item.metrics)]
    if at_the_end:
        said.append(f"{len(at_the_end)} of {len(usable)} instances were still improving in their last epoch: more epochs may help")
    small = [fold["fold"] for fold in results.index.get("folds", []) if len(fold["validation"]) < 10]
    if small:
        said.append(f"folds {', '.join(map(str, small))} validate on fewer than 10 trials: their scores and intervals say little")
    return said


def _last_epoch_was_best(values: Mapping[str, Any]) -> bool:
    best, epochs = values.get("best_epoch"), values.get("epochs")
    return isinstance(best, int) and isinstance(epochs, int) and best == epochs - 1


def headline(results: Results, notes: Sequence[str]) -> list[tuple[str, str, str]]:
    """Key numbers at the top: value, what it is, and a remark."""
    tiles = []
    scores = results.json("submission/scores.json") or {}
    entry = leading(results)
    if scores:
        first = next(iter(scores))
        remark = f"valence {number(scores[first]['valence'])}, arousal {number(scores[first]['arousal'])}"
        tiles.append((number(scores[first]["mean"]), f"test CCC of {first}", remark))
        best = max(scores, key=lambda file: float(scores[file]["mean"]))
        remark = f"{best}; known only because this corpus has its truth"
        tiles.append((number(scores[best]["mean"]), f"test CCC, best of {len(scores)}", remark))
    if entry:
        validation = entry["validation"]
        remark = f"valence {number(validation['valence'])}, arousal {number(validation['arousal'])}"
        tiles.append((number(validation["mean"]), f"validation CCC, {entry['title']}", remark))
    usable = sum(item.status == "ok" for item in results.instances)
    wanted = sum(item.status != "unexpected" for item in results.instances)
    tiles.append((f"{usable} of {wanted}", "instances trained", "" if usable == wanted else "see warnings"))
    tiles.append((str(len(notes)), "warnings", "at the end of the page"))
    return tiles


def render(results: Results, settings: config.Settings, output: Path) -> str:
    """The page's HTML; figures are saved in `output`/figures on the way."""
    with Progress("report", _figures_expected(results), "figures") as shown:
        gallery = Gallery(output / "figures", shown)
        notes = warnings(results)
        context = {
            "corpus": settings.corpus,
            "tiles": headline(results, notes),
            "run": what_was_run(results, settings),
            "audit": corpus_audit(results),
            "coverage": coverage(results),
            "table_one": table_one(results, gallery, settings),
            "curves": learning_curves(results, gallery),
            "trials": trial_pictures(results, gallery, settings),
            "scatter": scatter(results, gallery),
            "submissions": submissions(results, settings),
            "cost": cost(results, gallery),
            "warnings": notes,
        }
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    style = (here / STYLE_SHEET).read_text(encoding="utf-8")
    return environment.get_template(TEMPLATE).render(style=style, **context)


def _figures_expected(results: Results) -> int:
    models = {model for model, _, _ in results.chosen}
    targets = len(targets_of(results.instances))
    return len(results.chosen) + targets * (2 + 3 + 2 * len(models)) + 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `report`."""
    parser.add_argument("--results", type=Path, required=True, help="results folder of a run")
    parser.add_argument("--settings", required=True, help="JSON of all settings")
    parser.add_argument("--output", type=Path, required=True, help="folder for index.html and figures/")


def main(args: argparse.Namespace) -> None:
    """Write the figures, then the page."""
    settings = config.Settings.model_validate_json(args.settings)
    if not args.results.is_dir():
        raise InputError(f"{args.results}: no such folder; run the workflow first")
    page = render(Results(args.results), settings, args.output)
    write_text(args.output / "index.html", page)
    print(f"report: {args.output / 'index.html'} ({len(page) / 1e6:.1f} MB, self-contained)")
