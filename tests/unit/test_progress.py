"""A bar on a terminal, plain lines in a log; both with rate, time left and a note."""

from __future__ import annotations

import io

import pytest

from abaw_pipeline import progress
from abaw_pipeline.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_rate_time_left_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    with Progress("can fold 0", 200, "windows", stream := Terminal()) as shown:
        shown.advance(0, "epoch 1")
        for _ in range(3):
            shown.advance(25, "epoch 2, best CCC 0.500")
        shown.expect(150)  # it ends earlier than it might have
        shown._bar.refresh()
    last = stream.getvalue().split("\r")[-1]
    assert last.startswith("can fold 0:  50%")
    assert "75/150" in last and "windows/s" in last and "epoch 2, best CCC 0.500" in last


def test_a_log_gets_lines_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 12))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("can fold 0", 80, "windows", stream := io.StringIO()) as shown:
        shown.advance(0, "best CCC 0.500")
        for _ in range(7):
            shown.advance(10)
        shown.expect(70)
    lines = stream.getvalue().splitlines()
    assert 1 < len(lines) < 7
    assert lines[0].startswith("can fold 0: ") and "/80 windows" in lines[0] and lines[0].endswith("s left (best CCC 0.500)")
    assert lines[-1].startswith("can fold 0: 70/70 windows") and "left" not in lines[-1]


def test_a_failure_leaves_no_line_that_looks_like_an_end() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress("can fold 0", 80, "windows", stream):
        raise RuntimeError
    assert not stream.getvalue()
