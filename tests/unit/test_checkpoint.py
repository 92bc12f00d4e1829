"""Resume state: the newest whole generation wins, damage and foreign stamps are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abaw_pipeline.training import checkpoint

CPU = torch.device("cpu")
STAMP = checkpoint.stamp({"settings": {"b": 1, "a": [2]}})


def write(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        checkpoint.save(folder, {"epoch": epoch, "weights": {"w": torch.full((3,), float(epoch))}}, STAMP)


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, STAMP, CPU) == (None, [])


def test_the_latest_generation_comes_back(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state["epoch"] == 3
    assert torch.equal(state["weights"]["w"], torch.full((3,), 3.0))
    assert remarks == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.BEFORE, checkpoint.LATEST]


@pytest.mark.parametrize("kept", [0, 10, 40, 200, -1])
def test_a_truncated_latest_falls_back_to_the_one_before(tmp_path: Path, kept: int) -> None:
    write(tmp_path, 1, 2)
    latest = tmp_path / checkpoint.LATEST
    latest.write_bytes(latest.read_bytes()[:kept])
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state["epoch"] == 1
    assert "damaged" in remarks[0]


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    latest = tmp_path / checkpoint.LATEST
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state is None
    assert "damaged" in remarks[0]


def test_only_the_generation_before_is_there_when_killed_between_the_renames(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / checkpoint.LATEST).unlink()
    assert checkpoint.load(tmp_path, STAMP, CPU)[0]["epoch"] == 1


def test_another_stamp_starts_anew_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, 1)
    state, remarks = checkpoint.load(tmp_path, checkpoint.stamp({"settings": {"b": 2}}), CPU)
    assert state is None
    assert "starting anew" in remarks[0]


def test_stamps_do_not_depend_on_the_order_of_keys() -> None:
    assert checkpoint.stamp({"settings": {"a": [2], "b": 1}}) == STAMP


def test_removal(tmp_path: Path) -> None:
    write(tmp_path / "resume", 1)
    checkpoint.remove(tmp_path / "resume")
    checkpoint.remove(tmp_path / "resume")
    assert not (tmp_path / "resume").exists()
