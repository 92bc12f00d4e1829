"""A synthetic dataset, straight as the files that training reads: every modality carries part of a hidden valence and arousal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from abaw_pipeline.atomic import write_json
from abaw_pipeline.store import TrialData, write_trial


def write_dataset(
    folder: Path,
    lengths: Sequence[int] = (70, 45, 60, 33, 50, 40),
    *,
    size: int = 12,
    bert_dim: int = 6,
    fps: float = 30.0,
    seed: int = 0,
    without: dict[str, Sequence[int]] | None = None,
    gap: int = 0,
    linked: bool = False,
) -> Path:
    """Write `trial0` … and index.json with two folds; gives the index.

    The last third of the trials is the test set, the third before it validates fold 0. `without` names trials (by number)
    that lack a modality; `gap` rows are excluded in the middle of every trial.
    """
    without = without or {}
    entries = []
    for number, length in enumerate(lengths):
        missing = {modality for modality, numbers in without.items() if number in numbers}
        data, frames = make_trial(f"trial{number}", length, size, bert_dim, fps, np.random.default_rng([seed, number]), missing, gap)
        path = folder / f"{data.trial}.h5"
        if linked:
            import h5py

            with h5py.File(folder / f"{data.trial}.frames.h5", "w") as file:
                file["frames"] = frames
            write_trial(path, data, folder / f"{data.trial}.frames.h5")
        else:
            write_trial(path, data, frames)
        entries.append(describe(data, frames, path))
    names = [entry["trial"] for entry in entries]
    third = max(1, len(names) // 3)
    labelled, test = names[:-third], names[-third:]
    folds = [
        {"fold": 0, "train": labelled[:-third], "validation": labelled[-third:]},
        {"fold": 1, "train": labelled[third:], "validation": labelled[:third]},
    ]
    write_json(folder / "index.json", {"format_version": 1, "trials": entries, "folds": folds, "test": test})
    return folder / "index.json"


def make_trial(
    name: str, length: int, size: int, bert_dim: int, fps: float, generator: np.random.Generator, missing: set[str], gap: int
) -> tuple[TrialData, np.ndarray]:
    """One trial of `length` kept rows, and its frames."""
    count = length + gap
    rows = np.concatenate([np.arange(length // 2), np.arange(length // 2 + gap, count)]).astype(np.int64)
    time = np.arange(count) / fps
    phase = generator.uniform(0, 6, (2, 1))
    rate = generator.uniform(0.3, 1.2, (2, 1))
    hidden = 0.8 * np.sin(rate * time * 2 + phase)  # (2, count)
    frames = generator.integers(0, 60, (count, size, size, 3), dtype=np.uint8)
    if "video" in missing:
        frames[:] = 0
    else:
        half = size // 2
        frames[:, :half, :, :2] += (90 + 90 * hidden[0]).astype(np.uint8)[:, None, None, None]
        frames[:, half:, :, 1:] += (90 + 90 * hidden[1]).astype(np.uint8)[:, None, None, None]
    mel_rows = 0 if "logmel" in missing else int(count / fps * 100) + 100
    at = np.minimum((np.arange(mel_rows) / 100 * fps).astype(int), count - 1)
    logmel = generator.normal(-3, 0.5, (mel_rows, 64))
    logmel[:, :32] += hidden[0][at, None]
    logmel[:, 32:] += hidden[1][at, None]
    words = 0 if "bert" in missing else max(1, count // 9)
    word = np.where((rows % 9 < 6) & (rows // 9 < words), rows // 9, -1).astype(np.int32)
    vectors = generator.normal(0, 0.3, (words, bert_dim))
    vectors += hidden[0][np.minimum(np.arange(words) * 9, count - 1), None]
    data = TrialData(
        trial=name,
        video=name,
        partition="train",
        group=name,
        settings={},
        time=time,
        face_present=np.full(count, "video" not in missing),
        rows=rows,
        frame=rows.copy(),
        label=hidden.T[rows].astype(np.float32),
        logmel=logmel.astype(np.float16),
        logmel_start=np.round(time[rows] * 100).astype(np.int32) if mel_rows else np.full(length, -1, np.int32),
        words=vectors.astype(np.float16),
        word=word,
        word_text=["word"] * words,
        word_time=np.stack([np.arange(words) * 9 / fps, (np.arange(words) * 9 + 6) / fps], axis=1),
    )
    return data, frames


def describe(data: TrialData, frames: np.ndarray, path: Path) -> dict[str, Any]:
    """The trial's entry in the index."""
    shown = np.where(data.word[:, None] >= 0, data.words[data.word].astype(float), 0.0) if len(data.words) else np.zeros((0, 1))
    return {
        "trial": data.trial,
        "video": data.video,
        "partition": data.partition,
        "group": data.group,
        "subject": "",
        "path": path.name,
        "rows": len(data.rows),
        "frames": len(frames),
        "sha256": "",
        "has_video": bool(data.face_present.any()),
        "has_logmel": len(data.logmel) > 0,
        "has_bert": len(data.words) > 0,
        "bert_dim": data.words.shape[1],
        "bert_rows": len(data.rows) if len(data.words) else 0,
        "bert_sum": float(shown.sum()),
        "bert_sum_squares": float((shown**2).sum()),
    }


def multiply(index: Path, times: int) -> Path:
    """An index with every trial `times` times, as hard links to the same files under other names; gives it."""
    values = json.loads(index.read_text())
    trials = []
    names: dict[str, list[str]] = {}
    for trial in values["trials"]:
        for copy in range(times):
            name = f"{trial['trial']}_{copy}"
            path = index.parent / f"{name}.h5"
            if not path.exists():
                os.link(index.parent / trial["path"], path)
            trials.append(trial | {"trial": name, "path": path.name})
            names.setdefault(trial["trial"], []).append(name)
    for fold in values["folds"]:
        for part in ("train", "validation"):
            fold[part] = [name for original in fold[part] for name in names[original]]
    values["trials"], values["test"] = trials, [name for original in values["test"] for name in names[original]]
    larger = index.with_name(f"index{times}.json")
    larger.write_text(json.dumps(values))
    return larger


MEASURE = """
import resource, sys, time
from pathlib import Path
from abaw_pipeline.__main__ import main
began = time.perf_counter()
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss, which counts what the process that started this one had in memory.
memory = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("MEASURED", time.perf_counter() - began, used.ru_utime + used.ru_stime, memory / 1024)
sys.exit(status)
"""


def measured(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak MB of `python -m abaw_pipeline …`, in a process of its own."""
    command = [sys.executable, "-c", MEASURE, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], check=True, capture_output=True, text=True)
    seconds, cpu, memory = next(line for line in done.stdout.splitlines() if line.startswith("MEASURED")).split()[1:]
    return float(seconds), float(cpu), float(memory)
