"""Training killed at random moments, again and again, ends with the bytes of an unbroken run.

Real processes get a real SIGKILL. A launcher imports torch once and forks them, so that there is time for many.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training_data import write_dataset

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ("weights.safetensors", "history.csv", "metrics.json", "validation.csv", "test.csv")
KILLS = 12

LAUNCHER = """
import os, sys, json
from abaw_pipeline.__main__ import main
import abaw_pipeline.training.train as train
train.git_commit = lambda: "commit"  # someone may commit meanwhile
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        sys.stdout = sys.stderr
        status = 1
        try:
            status = main(json.loads(line))
        finally:
            os._exit(status)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Launcher:
    """Starts `python -m abaw_pipeline …` in forked processes, one at a time."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self, arguments: list[str]) -> int:
        """Start a process; gives its number."""
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """Exit status of the process; negative for a signal."""
        return int(self.process.stdout.readline())


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    started = Launcher()
    yield started
    started.process.stdin.close()
    started.process.wait(timeout=60)


@pytest.mark.slow
def test_killed_training_ends_with_the_same_bytes(tmp_path: Path, launcher: Launcher) -> None:
    index = write_dataset(tmp_path / "dataset")
    model = {"network": "can", "modalities": ["video", "bert"], "visual": "ir_small", "pretrained": False, "tcn_width": 0.125}
    training = {"window": 16, "hop": 12, "crop": 8, "batch_size": 2, "epochs": 6, "learning_rate": 2e-3, "warmup_epochs": 1}
    settings = json.dumps({"model": model, "training": training | {"precision": "float32"}, "fidelity": {}})

    def arguments(output: Path) -> list[str]:
        options = {"--index": index, "--model": "tiny", "--emotion": "both", "--fold": 0, "--output": output, "--settings": settings}
        return ["train", *(str(part) for option in options.items() for part in option), "--seeds", "0", "1", "--threads", "1"]

    def contents(output: Path) -> dict[tuple[int, str], bytes]:
        return {(seed, name): (output / f"seed{seed}" / name).read_bytes() for seed in (0, 1) for name in COMPARED}

    began = time.monotonic()
    launcher.start(arguments(tmp_path / "whole"))
    assert launcher.wait() == 0
    whole_seconds = time.monotonic() - began

    chance = random.Random(5)
    kills = ends = 0
    while kills < KILLS or not ends:
        output = tmp_path / f"broken{ends}"
        process = launcher.start(arguments(output))
        if kills < KILLS:
            # Some processes get through a part of what is left, some to the end.
            time.sleep(chance.uniform(0.0, 0.5 * whole_seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        status = launcher.wait()
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        if status == 0:
            assert contents(output) == contents(tmp_path / "whole")
            assert not list(output.rglob("*.part*")), "what a killed process left half-written is cleaned up"
            ends += 1
