"""GPU assignment, with devices that exist in name only."""

import os
import signal
import subprocess
import sys
import time

import pytest

from abaw_pipeline.training import devices

CLAIM = """
import sys, time
from pathlib import Path
from abaw_pipeline.training.devices import own_device
import os
with own_device("auto", sharing=int(sys.argv[2]), folder=Path(sys.argv[1])) as device:
    print(device, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that claims one of two devices; gives it and what it printed."""
    running = []

    def begin(sharing=1):
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"} | {"CUDA_VISIBLE_DEVICES": "0,1"}
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, tmp_path, str(sharing)], env=environment, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


def line(process, seconds=20.0):
    """The process's first line, or None when it says nothing in that time."""
    import select

    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().strip() if ready else None


def test_two_jobs_get_a_device_each_and_a_third_waits_until_one_is_killed(start):
    first, second = start(), start()
    taken = {line(first), line(second)}
    assert taken == {"cuda 0", "cuda 1"}
    third = start()
    assert line(third, 2.0) is None
    first.send_signal(signal.SIGKILL)
    assert line(third) in taken


def test_devices_are_shared_only_on_purpose_and_evenly(start):
    lines = [line(start(sharing=2)) for _ in range(4)]
    assert sorted(lines) == ["cuda 0", "cuda 0", "cuda 1", "cuda 1"]
    assert line(start(sharing=2), 2.0) is None


def test_without_a_gpu_the_cpu_is_used(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with devices.own_device("auto") as device:
        assert device == "cpu"


def test_a_named_device_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with devices.own_device("cuda:1", folder=tmp_path) as device:
        assert device == "cuda:1"
    assert not list(tmp_path.iterdir())


def test_under_slurm_the_scheduler_has_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    before = time.monotonic()
    with devices.own_device("auto", folder=tmp_path) as one, devices.own_device("auto", folder=tmp_path) as other:
        assert one == other == "cuda"
    assert time.monotonic() - before < 1


def test_devices_are_listed_by_the_environment_first():
    assert devices.visible_devices({"CUDA_VISIBLE_DEVICES": "GPU-a, 3"}) == ["GPU-a", "3"]
    assert devices.visible_devices({"CUDA_VISIBLE_DEVICES": "-1"}) == []
