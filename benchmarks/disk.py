"""Disk per row: what the pipeline keeps for each kept row, at real sizes and for a finished run.

    python benchmarks/disk.py [--rows 20000] [--results results]

Real sizes: one trial at 30 frames per second with 48 x 48 frames, 768-dimensional word vectors and 2.5 words per second,
written by the store. The dataset (frames, and everything else once) must stay within 8 kB per row; the authors' files,
with 96 x 64 log-mel values, 768 word features and a frame for each row, take 22 kB. What lies beside the dataset, so that
a changed stage need not start from the videos, is listed apart as intermediate.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline.store import TrialData, write_trial

BUDGET = 8000
FPS, WORDS_PER_SECOND, DIMENSION = 30.0, 2.5, 768
AUTHORS = 48 * 48 * 3 + 96 * 64 * 2 + DIMENSION * 4 + 2 * 4
"""Bytes per row of the authors' arrays: uint8 frames, float16 log-mel windows, float32 word features and labels."""
KEPT, INTERMEDIATE = ("frames", "dataset"), ("logmel", "audio", "language", "transcripts", "timestamps")


def real_trial(folder: Path, rows: int) -> dict[str, float]:
    """Bytes per row of a trial of `rows` rows."""
    seconds = rows / FPS
    words, spectrum = int(seconds * WORDS_PER_SECOND), round(100 * (seconds + 1))
    start = np.arange(words) / WORDS_PER_SECOND
    data = TrialData(
        trial="trial",
        video="video",
        partition="train",
        group="group",
        settings={"rows": "kept", "window": "ahead"},
        time=np.arange(rows) / FPS,
        face_present=np.ones(rows, bool),
        rows=np.arange(rows),
        frame=np.arange(rows),
        label=np.zeros((rows, 2), np.float32),
        logmel=np.zeros((spectrum, 64), np.float16),
        logmel_start=np.zeros(rows, np.int32),
        words=np.zeros((words, DIMENSION), np.float16),
        word=np.zeros(rows, np.int32),
        word_text=["something"] * words,
        word_time=np.stack([start, start + 0.3], axis=1),
    )
    with h5py.File(folder / "frames.h5", "w") as file:
        file["frames"] = np.zeros((rows, 48, 48, 3), np.uint8)
        file["face_present"] = np.ones(rows, bool)
    write_trial(folder / "trial.h5", data, folder / "frames.h5")
    return {"frames": (folder / "frames.h5").stat().st_size / rows, "dataset": (folder / "trial.h5").stat().st_size / rows}


def finished_run(results: Path) -> dict[str, float]:
    """Bytes per row of each folder of a finished run."""
    index = json.loads((results / "dataset" / "index.json").read_text())
    rows = sum(trial["rows"] for trial in index["trials"])
    folders = [results / name for name in KEPT + INTERMEDIATE if (results / name).is_dir()]
    return {folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / rows for folder in folders}


def show(what: str, sizes: dict[str, float]) -> float:
    """Print one line per part; gives bytes per row of the dataset with its frames."""
    print(f"{what}, bytes per row:")
    for name, size in sizes.items():
        print(f"  {name:<14}{size:8.0f}{'' if name in KEPT else '   (intermediate)'}")
    total = sum(sizes[name] for name in KEPT)
    print(f"  dataset with frames: {total:.0f} (budget {BUDGET}, authors {AUTHORS}); with intermediate files: {sum(sizes.values()):.0f}")
    return total


def main() -> None:
    """Run the benchmark; exit status 1 when the budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--results", type=Path, default=Path("results"), help="a finished run; left out when there is none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        totals = [show(f"A trial of {args.rows} rows", real_trial(Path(folder), args.rows))]
    if (args.results / "dataset" / "index.json").is_file():
        totals.append(show(f"The run in {args.results}", finished_run(args.results)))
    sys.exit(0 if max(totals) <= BUDGET else 1)


if __name__ == "__main__":
    main()
