"""What training k instances side by side saves over k jobs of one: whole jobs, and without their start.

    python benchmarks/seeds_per_job.py --seeds 5                # small backbones: reading and assembling is shared
    python benchmarks/seeds_per_job.py --seeds 5 --trunk        # IR-50, frozen but for its output layer: its trunk is shared too

With `--trunk` all instances begin with one and the same random IR-50, as they do with pretrained weights. Uses a GPU when there is one.
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
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.training_data import write_dataset  # noqa: E402

JOB = """
import sys
import torch
from abaw_pipeline.__main__ import main
from abaw_pipeline.training import train
create = train.build
def with_one_trunk(about, pretrained):
    network = create(about, pretrained)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(9)
        for parameter in network.encoders["video"].backbone.parameters():
            parameter.normal_(0, 0.02)
    return network
if sys.argv.pop(1) == "trunk":
    train.build = with_one_trunk
sys.exit(main(sys.argv[1:]))
"""


def run(index: Path, output: Path, seeds: list[int], settings: dict[str, Any], trunk: bool) -> list[float]:
    """Wall and CPU seconds of one job, and wall seconds of its epochs."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    where = ["--index", str(index), "--output", str(output), "--model", "m", "--emotion", "valence", "--fold", "0"]
    what = ["--settings", json.dumps(settings), "--threads", "1", "--seeds", *map(str, seeds)]
    kind = "trunk" if trunk else "plain"
    subprocess.run([sys.executable, "-c", JOB, kind, "train", *where, *what], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    timings = [json.loads((output / f"seed{seed}" / "timing.json").read_text()) for seed in seeds]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [time.perf_counter() - began, cpu, sum(sum(timing["epoch_seconds"]) for timing in timings)]


def main() -> None:
    """Print both, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--trials", type=int, default=9, help="a third of them trains, a third validates")
    parser.add_argument("--rows", type=int, help="per trial (default: 380, with --trunk 100)")
    parser.add_argument("--network", default="can", choices=["can", "lfan"])
    parser.add_argument("--trunk", action="store_true")
    options = parser.parse_args()
    modalities = ["video"] if options.trunk else ["video", "logmel"] if options.network == "can" else ["video", "logmel", "bert"]
    visual = "ir50" if options.trunk else "ir_small"
    model = {"network": options.network, "modalities": modalities, "visual": visual, "audio": "vgg_small", "pretrained": False}
    training = {"window": 100, "hop": 100, "batch_size": 4, "epochs": options.epochs, "learning_rate": 1e-3}
    settings = {"model": model | {"tcn_width": 0.25}, "training": training}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = write_dataset(folder, [options.rows or (100 if options.trunk else 380)] * options.trials, size=48, bert_dim=384)
        seeds = list(range(options.seeds))
        singles = [run(index, folder / "single", [seed], settings, options.trunk) for seed in seeds]
        single = [sum(column) for column in zip(*singles, strict=True)]
        together = run(index, folder / "together", seeds, settings, options.trunk)
    for name, (wall, cpu, epochs) in ((f"{len(seeds)} jobs of one instance", single), (f"one job of {len(seeds)}", together)):
        print(f"{name}: {wall:.1f} s, {cpu:.1f} CPU s, of which epochs {epochs:.1f} s")
    print(f"{single[1] / together[1]:.2f} times less CPU time, epochs {single[2] / together[2]:.2f} times faster")


if __name__ == "__main__":
    main()
