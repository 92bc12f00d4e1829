"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LINE_EVERY_SECONDS = 30.0


class Progress:
    """Counts up to `total` in `unit`s. Use as a context manager and call `advance`."""

    def __init__(self, what: str, total: float, unit: str = "it", stream: TextIO | None = None) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.stream = stream or sys.stderr
        self.done = 0.0
        self._note = ""
        self._began = self._said = time.monotonic()
        self._bar = tqdm(total=total, desc=what, unit=unit, file=self.stream) if self.stream.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif exception[0] is None:
            self._say()

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Count `amount` more; `note` stands beside the bar until there is another."""
        self.done += amount
        if note:
            self._note = note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
        elif time.monotonic() - self._said > LINE_EVERY_SECONDS:
            self._say()

    def expect(self, total: float) -> None:
        """Correct `total`: less is to be done, or more."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total

    def _say(self) -> None:
        self._said = time.monotonic()
        rate = self.done / max(self._said - self._began, 1e-9)
        left = f", {(self.total - self.done) / rate:.0f} s left" if 0 < self.done < self.total else ""
        extra = f" ({self._note})" if self._note else ""
        print(
            f"{self.what}: {self.done:.6g}/{self.total:.6g} {self.unit}, {rate:.3g} {self.unit}/s{left}{extra}",
            file=self.stream,
            flush=True,
        )


def progress(items: Iterable[T], what: str, total: int, unit: str = "it") -> Iterator[T]:
    """Yield from `items` while showing progress."""
    with Progress(what, total, unit) as shown:
        for item in items:
            yield item
            shown.advance()
