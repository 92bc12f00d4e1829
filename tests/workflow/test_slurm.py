"""The cluster profile on a real Slurm of one node: the bytes of a local run, and a killed training that comes back."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NODE = Path(__file__).with_name("slurm_node.sh")
PROFILE = ("--workflow-profile", "workflow/profiles/slurm", "--slurm-status-command", "squeue", "--slurm-no-account")
PROFILE += ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one node on this machine."""
    if os.getuid() != 0 or not all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged", "sbatch")):
        pytest.skip("needs root and the packages slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    environment = os.environ | {"SLURM_NODE_DIR": str(folder)}
    subprocess.run([NODE, "start"], env=environment, check=True)
    os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"
    yield
    subprocess.run([NODE, "stop"], env=environment, check=False)
    del os.environ["SLURM_CONF"]


def cancel_a_training(runs: Path, cancelled: list[str]) -> None:
    """Wait for a training job that has passed an epoch, and cancel it."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not cancelled:
        checkpoints = [path for path in runs.rglob("resume/*") if path.is_file() and ".part" not in path.name]
        listing = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%i %k"], capture_output=True, text=True, check=False).stdout
        training = [line.split()[0] for line in listing.splitlines() if "train_" in line]
        if checkpoints and training:
            subprocess.run(["scancel", training[0]], check=True)
            cancelled.append(training[0])
        time.sleep(0.2)


def test_slurm_gives_the_bytes_of_a_local_run_though_a_training_is_killed(elsewhere, slurm):
    results = elsewhere.folder / "results"
    cancelled: list[str] = []
    watcher = threading.Thread(target=cancel_a_training, args=(results / "runs", cancelled), daemon=True)
    watcher.start()
    done = elsewhere.snakemake(*PROFILE, "submission", timeout=800)
    watcher.join(1)
    assert cancelled, "no training was running long enough to be cancelled"
    assert "Trying to restart job" in done.stdout or "attempt" in done.stdout
    logs = "".join(path.read_text() for path in (results / "logs/train").rglob("*.log"))
    assert "resum" in logs, "the killed training went on from its checkpoint"

    archive = results / "submission/submission.zip"
    on_cluster = archive.read_bytes()
    for path in ("runs", "submission"):
        shutil.rmtree(results / path)
    elsewhere.snakemake("submission")
    assert archive.read_bytes() == on_cluster
