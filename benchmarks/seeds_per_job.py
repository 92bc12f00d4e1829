"""What training k instances side by side saves over k jobs of one, start-up included.

python benchmarks/seeds_per_job.py --seeds 5 --epochs 3
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.training_data import write_dataset  # noqa: E402


def train(index: Path, output: Path, seeds: list[int], settings: dict[str, object]) -> tuple[float, float]:
    """Wall and CPU seconds of one job."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    options = [
        "--index",
        index,
        "--model",
        "m",
        "--emotion",
        "valence",
        "--fold",
        0,
        "--output",
        output,
        "--settings",
        json.dumps(settings),
    ]
    command = [sys.executable, "-m", "abaw_pipeline", "train", *map(str, options), "--threads", "1", "--seeds", *map(str, seeds)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--network", default="can", choices=["can", "lfan"])
    options = parser.parse_args()
    modalities = ["video", "logmel"] if options.network == "can" else ["video", "logmel", "bert"]
    settings: dict[str, object] = {
        "model": {
            "network": options.network,
            "modalities": modalities,
            "visual": "ir_small",
            "audio": "vgg_small",
            "pretrained": False,
            "tcn_width": 0.25,
        },
        "training": {"window": 100, "hop": 100, "batch_size": 4, "epochs": options.epochs, "learning_rate": 1e-3, "precision": "float32"},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = write_dataset(folder, [380] * options.trials, size=48, bert_dim=384)
        seeds = list(range(options.seeds))
        single = [train(index, folder / "single", [seed], settings) for seed in seeds]
        wall, cpu = (sum(times) for times in zip(*single, strict=True))
        print(f"{options.seeds} jobs of one instance: {wall:.1f} s, {cpu:.1f} CPU s")
        together = train(index, folder / "together", seeds, settings)
        print(f"one job of {options.seeds}: {together[0]:.1f} s, {together[1]:.1f} CPU s; {cpu / together[1]:.2f} times less CPU time")


if __name__ == "__main__":
    main()
