"""Memory and time of training as the corpus grows: the same trials, 1, 10 and 100 times as many.

    python benchmarks/training.py --times 1 10 --epochs 1

Copies are hard links to the same files under other names, so that a large corpus takes little disk; each is opened and read as
a trial of its own. Small backbones, one thread, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.training_data import measured, multiply, write_dataset  # noqa: E402


def main() -> None:
    """One line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--trials", type=int, default=27)
    parser.add_argument("--rows", type=int, default=380)
    options = parser.parse_args()
    model = {"network": "lfan", "modalities": ["video", "logmel", "bert"], "visual": "ir_small", "audio": "vgg_small"}
    training = {"window": 100, "hop": 100, "batch_size": 4, "epochs": options.epochs, "learning_rate": 1e-3, "precision": "float32"}
    settings = json.dumps({"model": model | {"pretrained": False, "tcn_width": 0.25}, "training": training})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = write_dataset(folder, [options.rows] * options.trials, size=48, bert_dim=384)
        for times in options.times:
            where = ["--index", str(multiply(index, times)), "--output", str(folder / f"runs{times}")]
            what = ["--model", "m", "--emotion", "valence", "--fold", "0", "--seeds", "0", "--settings", settings, "--threads", "1"]
            seconds, cpu, memory = measured(["train", *where, *what])
            size = f"{times:>4} x {options.trials * options.rows} rows, {options.epochs} epochs"
            print(f"{size}: {seconds:.1f} s, {cpu:.1f} CPU s, at most {memory:.0f} MB resident", flush=True)


if __name__ == "__main__":
    main()
