"""A results folder as a finished run leaves it, but made in a second: smooth labels, noisy predictions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TARGETS = ("valence", "arousal")
QUALITY = {"can": 0.25, "lfan": 0.35}
FOLDS = 3


def smooth_signal(generator: np.random.Generator, rows: int) -> np.ndarray:
    steps = np.convolve(generator.standard_normal(rows + 60), np.hanning(60) / 12, mode="valid")[:rows]
    return np.clip(steps + generator.normal(0, 0.3), -1, 1)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make_results(
    root: Path, *, models: Iterable[str] = ("can", "lfan"), emotions: Iterable[str] = TARGETS, folds: int = FOLDS, seeds: int = 2
) -> Path:
    """Write `results`, `template.txt` and `truth` under `root`; returns the results folder."""
    generator = np.random.default_rng(3)
    results = root / "results"
    labels: dict[str, np.ndarray] = {}
    trials = []
    for number in range(14):
        partition = "train" if number < 8 else "validation" if number < 11 else "test"
        trial, rows = f"video{number:02d}", 60 + 10 * number
        labels[trial] = np.stack([smooth_signal(generator, rows), smooth_signal(generator, rows)], axis=1)
        trials.append({"trial": trial, "video": trial, "partition": partition, "group": trial, "subject": "", "rows": rows, "frames": rows})
        write_dataset(results / "dataset" / f"{trial}.h5", trial, partition, rows, labels[trial] if partition != "test" else None)
    known = [trial["trial"] for trial in trials if trial["partition"] != "test"]
    tests = [trial["trial"] for trial in trials if trial["partition"] == "test"]
    validation = {0: known[8:], 1: known[:4], 2: known[4:8]}
    index = {
        "format_version": 1,
        "trials": [{**trial, "path": f"{trial['trial']}.h5", "sha256": "", "has_video": True} for trial in trials],
        "folds": [{"fold": k, "validation": names, "train": sorted(set(known) - set(names))} for k, names in validation.items()],
        "test": tests,
    }
    (results / "dataset" / "index.json").write_text(json.dumps(index))
    checksum = sha256((results / "dataset" / "index.json").read_bytes()).hexdigest()
    for model in models:
        for emotion in emotions:
            for fold, names in list(validation.items())[:folds]:
                for seed in range(seeds):
                    noise = QUALITY.get(model, 0.3) + 0.05 * fold + 0.04 * seed
                    folder = results / "runs" / model / emotion / f"fold{fold}" / f"seed{seed}"
                    write_instance(folder, (model, emotion, fold, seed), labels, names, tests, noise, checksum)
    expected = [
        {"model": m, "emotion": e, "fold": k, "seed": s} for m in models for e in emotions for k in range(folds) for s in range(seeds)
    ]
    (results / "runs" / "expected.json").write_text(json.dumps({"instances": expected}))
    write_csv(results / "trials.csv", [{**trial, "video_path": "", "faces": "", "annotation": "", "template_rows": ""} for trial in trials])
    lines = [f"{trial}/{frame + 1:05d}.jpg,," for trial in tests for frame in range(len(labels[trial]))]
    (root / "template.txt").write_text("image_location,valence,arousal\n" + "\n".join(lines) + "\n")
    for trial in tests:
        rows = [{"frame": frame, "valence": v, "arousal": a} for frame, (v, a) in enumerate(labels[trial])]
        write_csv(root / "truth" / f"{trial}.csv", rows)
    return results


def write_dataset(path: Path, trial: str, partition: str, rows: int, label: np.ndarray | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update({"trial": trial, "video": trial, "partition": partition, "group": trial, "format_version": 1})
        ramp = np.linspace(40, 220, 48, dtype=np.uint8)
        file["frames"] = np.broadcast_to(ramp[None, :, None, None], (rows, 48, 48, 3)).copy()
        file["face_present"] = np.arange(rows) % 17 != 0
        file["time"] = np.arange(rows) / 30.0
        file["rows"] = np.arange(rows)
        file["frame"] = np.arange(rows)
        if label is not None:
            file["label"] = label.astype(np.float32)


def write_instance(
    folder: Path,
    key: tuple[str, str, int, int],
    labels: Mapping[str, np.ndarray],
    validation: list[str],
    tests: list[str],
    noise: float,
    checksum: str,
) -> None:
    model, emotion, fold, seed = key
    generator = np.random.default_rng([fold, seed, len(model), len(emotion)])
    targets = TARGETS if emotion == "both" else (emotion,)
    folder.mkdir(parents=True, exist_ok=True)
    pooled: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {target: [] for target in targets}
    for name, trials in (("validation", validation), ("test", tests)):
        table = []
        for trial in trials:
            rows = len(labels[trial])
            columns: dict[str, np.ndarray] = {}
            for target in targets:
                label = labels[trial][:, TARGETS.index(target)]
                columns[target] = np.tanh(0.8 * label + noise * smooth_signal(generator, rows))
                if name == "validation":
                    columns[f"{target}_label"] = label
                    pooled[target].append((columns[target], label))
            table += [
                {"trial": trial, "frame": frame} | {column: f"{values[frame]:.7f}" for column, values in columns.items()}
                for frame in range(rows)
            ]
        write_csv(folder / f"{name}.csv", table)
    scores = {}
    for target, parts in pooled.items():
        x, y = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        ccc = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
        scores[target] = {"ccc": float(ccc), "rmse": float(np.sqrt(np.mean((x - y) ** 2))), "pcc": float(np.corrcoef(x, y)[0, 1])}
    metrics = {
        **{"model": model, "emotion": emotion, "fold": fold, "seed": seed, "best_epoch": 6, "epochs": 9, "validation": scores},
        **{"seconds": 61.5 + seed, "epoch_seconds": 6.8, "data_checksum": checksum, "git_commit": "0" * 40},
        **{"versions": {"torch": "2.11.0"}, "settings": {}, "warnings": ["backbones start from random weights"] if seed else []},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    final = float(np.mean([score["ccc"] for score in scores.values()]))
    history = []
    for epoch in range(9):
        value = final * (1 - np.exp(-(epoch + 1) / 2)) - (0.03 if epoch > 6 else 0)
        history.append(
            {
                **{"epoch": epoch, "group": 1 + epoch // 3, "learning_rate": 1e-3 / 10 ** (epoch // 3), "train_loss": 1 - value - 0.1},
                **{"train_ccc": value + 0.1, "validation_loss": 1 - value, "validation_ccc": value, "best": int(epoch <= 6)},
                **{"released": "" if epoch % 3 else f"group {1 + epoch // 3}", "reloaded": int(epoch % 3 == 0), "seconds": 6.8},
            }
        )
    write_csv(folder / "history.csv", history)
    (folder / "weights.safetensors").write_bytes(b"")
