"""The cluster profile on a real Slurm of one node: the bytes of a local run, though a training is killed on the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import TINY, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
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


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """A finished workspace whose trainings take a while."""
    workspace = Workspace(tmp_path_factory.mktemp("trained") / "project")
    shutil.copytree(finished.folder, workspace.folder)
    training = TINY["training"] | {"epochs": 10}
    (workspace.folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"training": training}))
    workspace.snakemake("--", SUBMISSION)
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
                    if (self.runs / model / emotion / f"fold{fold}/seed0/resume/latest.checkpoint").is_file():
                        told("scancel", job)
                        self.cancelled = comment


def test_slurm_gives_the_bytes_of_a_local_run_though_a_training_is_killed(trained, slurm):
    profile = yaml.safe_load((trained.folder / PROFILE).read_text())
    profile["default-resources"]["slurm_partition"] = "main"
    profile["set-resources"]["train_0_to_0"] = {"gpu": 1}
    (trained.folder / PROFILE).write_text(yaml.safe_dump(profile))

    # The archive, all trainings, and what is made of one video and its trial are to be made again.
    results = trained.folder / "results"
    local = (trained.folder / SUBMISSION).read_bytes()
    videos = sorted(path.stem for path in (trained.folder / "data/tiny/videos").rglob("*.mp4"))
    video = next(video for video in videos if (results / f"dataset/{video}.h5").exists())
    for place in ("runs", "submission"):
        shutil.rmtree(results / place)
    for path in [*results.glob(f"*/{video}.h5"), *(results / name for name in ("selection.json", "audit.csv", "dataset/index.json"))]:
        path.unlink()

    watcher = Watcher(results / "runs")
    watcher.start()
    done = trained.snakemake(*OPTIONS, "--", SUBMISSION, timeout=800)
    watcher.done.set()
    assert watcher.cancelled, "no training ran long enough to be cancelled"
    assert "Trying to restart job" in done.stdout
    model, emotion, fold = watcher.cancelled.split("_")[-3:]
    assert "resumed after epoch" in (results / f"logs/train/{model}/{emotion}/fold{fold}/seed0to0.log").read_text()
    groups = set(profile["groups"].values())
    assert {name for name in groups if f"group_{name}_" in done.stdout} == groups
    assert all(len(set(together)) == len(together) for together in watcher.devices), "two jobs on one device"
    assert max(map(len, watcher.devices)) == 2
    assert (trained.folder / SUBMISSION).read_bytes() == local


def test_a_bad_video_does_not_stop_the_others_and_is_told_at_the_end(trained, slurm):
    bad, good = sorted((trained.folder / "data/tiny/videos").rglob("*.mp4"))[:2]
    sounds = trained.folder / "results/audio"
    bad.write_bytes(b"this is no video\n" * 40)
    for video in (bad, good):
        (sounds / f"{video.stem}.wav").unlink()
        (sounds / f"{video.stem}.json").unlink()
    done = trained.snakemake(*OPTIONS, "--retries", "0", "--", "wav", check=False, timeout=300)
    assert done.returncode != 0
    assert (sounds / f"{good.stem}.wav").is_file() and not (sounds / f"{bad.stem}.wav").exists()
    summary = done.stdout[done.stdout.index("\nfailed: ") :]
    assert f"wav_of_video (results/audio/{bad.stem}.wav" in summary and f"{bad.name}: " in summary, "what, and why"
    assert good.stem not in summary and "--workflow-profile" in summary
