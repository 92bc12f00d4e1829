"""The cluster profile on a real Slurm of one node: the whole demo, with the bytes of a local run though a training is killed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import Workspace, copy_project

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1800)]
NODE = Path(__file__).with_name("slurm_node.sh")
PROFILE = Path("workflow/profiles/slurm/profile.v9+.yaml")
OPTIONS = ("--workflow-profile", str(PROFILE.parent), "--slurm-status-command", "squeue", "--latency-wait", "5")
OPTIONS += ("--slurm-init-seconds-before-status-checks", "2")
SUBMISSION = "results/submission/submission.zip"


@pytest.fixture(scope="module")
def slurm():
    """A Slurm of one node on this machine, with two devices in name only."""
    if os.getuid() != 0 or not all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged", "sbatch")):
        pytest.skip("needs root and the packages slurm-wlm and munge")
    subprocess.run([NODE, "start"], check=True)
    yield
    subprocess.run([NODE, "stop"], check=True)


@pytest.fixture
def workspace(tmp_path):
    """The demo, not yet run."""
    workspace = copy_project(tmp_path / "project")
    (workspace.folder / "tiny.yaml").write_text("corpus: demo\n")
    return workspace


def told(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Watcher(threading.Thread):
    """Cancels a training once it has a checkpoint; notes which devices are in use together."""

    def __init__(self, runs: Path) -> None:
        super().__init__(daemon=True)
        self.runs, self.cancelled = runs, ""
        self.devices: list[list[str]] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Look about three times a second until `done`."""
        while not self.done.wait(0.3):
            jobs = told("scontrol", "show", "jobs", "--details", "--oneliner").splitlines()
            self.devices.append([device for job in jobs if "JobState=RUNNING" in job for device in re.findall(r"gpu\S*IDX:(\d)", job)])
            for line in told("squeue", "--noheader", "--states=R", "--format=%i %k").splitlines():
                job, comment = line.split()
                if "train_" in comment and not self.cancelled:
                    model, emotion, fold = comment.split("_")[-3:]
                    if any((self.runs / model / emotion / f"fold{fold}").glob("seed0/resume/*.checkpoint")):
                        told("scancel", job)
                        self.cancelled = comment


def test_the_demo_gives_the_bytes_of_a_local_run_though_a_training_is_killed(results, workspace, slurm):
    path = workspace.folder / PROFILE
    profile = yaml.safe_load(path.read_text())
    profile["default-resources"]["slurm_partition"] = "main"
    profile["set-resources"]["train_0_to_1"] = {"gpu": 1}
    # Snakemake's start takes longer than a small job of the demo: several share one.
    profile["group-components"] = {"sound": 13, "faces": 14, "align": 14}
    path.write_text(yaml.safe_dump(profile))

    watcher = Watcher(workspace.folder / "results/runs")
    watcher.start()
    done = workspace.snakemake(*OPTIONS, "--", "submission", timeout=1700)
    watcher.done.set()
    assert watcher.cancelled, "no training ran long enough to be cancelled"
    assert "Trying to restart job" in done.stdout
    model, emotion, fold = watcher.cancelled.split("_")[-3:]
    assert "resumed after epoch" in (workspace.folder / f"results/logs/train/{model}/{emotion}/fold{fold}/seed0to1.log").read_text()
    groups = set(profile["groups"].values())
    assert {name for name in groups if f"group_{name}_" in done.stdout} == groups
    assert all(len(set(together)) == len(together) for together in watcher.devices), "two jobs on one device"
    assert max(map(len, watcher.devices)) == 2
    assert (workspace.folder / SUBMISSION).read_bytes() == (results / "submission/submission.zip").read_bytes()


def test_a_bad_video_does_not_stop_the_others_and_is_told_at_the_end(unstarted, tmp_path, slurm):
    workspace = Workspace(tmp_path / "project")
    shutil.copytree(unstarted.folder, workspace.folder)
    workspace.snakemake("wav")
    bad, good = sorted((workspace.folder / "data/tiny/videos").rglob("*.mp4"))[:2]
    sounds = workspace.folder / "results/audio"
    bad.write_bytes(b"this is no video\n" * 40)
    for video in (bad, good):
        (sounds / f"{video.stem}.wav").unlink()
        (sounds / f"{video.stem}.json").unlink()
    done = workspace.snakemake(*OPTIONS, "--retries", "0", "--", "wav", check=False, timeout=300)
    assert done.returncode != 0
    assert (sounds / f"{good.stem}.wav").is_file() and not (sounds / f"{bad.stem}.wav").exists()
    summary = done.stdout[done.stdout.index("\nfailed: ") :]
    assert f"wav_of_video (results/audio/{bad.stem}.wav" in summary and f"{bad.name}: " in summary, "what, and why"
    assert good.stem not in summary and "--workflow-profile" in summary
