"""Resume state: the newest whole epoch wins, damage and foreign stamps are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abaw_pipeline.training import checkpoint

CPU = torch.device("cpu")
STAMP = checkpoint.stamp({"settings": {"b": 1, "a": [2]}})


def write(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        checkpoint.save(folder, epoch, {"epoch": epoch, "weights": {"w": torch.full((3,), float(epoch))}}, STAMP)


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, STAMP, CPU) == (None, [])


def test_the_newest_epoch_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state["epoch"] == 3
    assert torch.equal(state["weights"]["w"], torch.full((3,), 3.0))
    assert remarks == []
    assert sorted(tmp_path.iterdir()) == [checkpoint.path_of(tmp_path, 2), checkpoint.path_of(tmp_path, 3)]


def test_the_epoch_before_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 8, 9, 10)
    assert checkpoint.load(tmp_path, STAMP, CPU, latest=9)[0]["epoch"] == 9
    assert checkpoint.load(tmp_path, STAMP, CPU, latest=8) == (None, [])


def test_what_a_run_begun_anew_writes_replaces_later_epochs(tmp_path: Path) -> None:
    write(tmp_path, 40, 41, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch00001.checkpoint"]


@pytest.mark.parametrize("kept", [0, 10, 40, 200, -1])
def test_a_truncated_latest_falls_back_to_the_one_before(tmp_path: Path, kept: int) -> None:
    write(tmp_path, 1, 2)
    latest = checkpoint.path_of(tmp_path, 2)
    latest.write_bytes(latest.read_bytes()[:kept])
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state["epoch"] == 1
    assert "damaged" in remarks[0]


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    latest = checkpoint.path_of(tmp_path, 1)
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    state, remarks = checkpoint.load(tmp_path, STAMP, CPU)
    assert state is None
    assert "damaged" in remarks[0]


def test_what_a_killed_process_was_writing_is_not_taken_for_a_state(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / ".epoch00002.checkpoint.1234.part.checkpoint").write_bytes(checkpoint.path_of(tmp_path, 1).read_bytes()[:100])
    assert checkpoint.load(tmp_path, STAMP, CPU)[1] == []
    checkpoint.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch00001.checkpoint"]


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
