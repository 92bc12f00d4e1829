"""Times become log-mel rows and words by one rule each, without drift."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abaw_pipeline.alignment import logmel_starts, word_index

HOUR = 3600.0
TIMES = st.lists(st.floats(0, 3 * HOUR), max_size=200).map(sorted)


@pytest.mark.parametrize("fps", ["25.0", "29.97002997"])
def test_at_constant_rate_the_starts_are_the_reference(reference: Path, fps: str) -> None:
    expected = json.loads((reference / "logmel_starts.json").read_text())[fps]
    assert logmel_starts(np.arange(len(expected)) / float(fps)).tolist() == expected


def test_after_an_hour_at_2997_a_start_is_still_within_half_a_hop() -> None:
    frames = 108_000  # a little over an hour
    starts = logmel_starts(np.arange(frames) / (30000 / 1001))
    exact = [Fraction(number * 1001, 30000) for number in range(frames - 3000, frames)]
    errors = [abs(Fraction(int(start), 100) - time) for start, time in zip(starts[-3000:], exact, strict=True)]
    assert max(errors) <= Fraction(5, 1000)
    assert abs(sum(Fraction(int(start), 100) - time for start, time in zip(starts[-3000:], exact, strict=True))) < Fraction(3000, 100_000)


@settings(deadline=None)
@given(TIMES)
def test_every_start_is_within_half_a_hop_and_never_runs_back(times: list[float]) -> None:
    starts = logmel_starts(times)
    assert starts.dtype == np.int32
    assert (np.abs(starts / 100 - np.array(times)) <= 0.005 + 1e-9).all()
    assert (np.diff(starts) >= 0).all()


@settings(deadline=None)
@given(TIMES, st.integers(0, 100))
def test_a_start_depends_on_its_own_time_alone(times: list[float], number: int) -> None:
    assert logmel_starts(times)[number : number + 1].tolist() == logmel_starts(times[number : number + 1]).tolist()


@settings(deadline=None)
@given(TIMES)
def test_centred_and_past_look_back_by_half_a_window_and_a_window(times: list[float]) -> None:
    ahead = logmel_starts(times)
    assert (logmel_starts(times, "centred") == ahead - 48).all()
    assert (logmel_starts(times, "past") == ahead - 96).all()


def test_starts_before_the_sound_are_left_to_the_caller_to_count() -> None:
    assert logmel_starts([0.0, 0.5], "past").tolist() == [-96, -46]


def test_a_tie_goes_to_the_even_row_as_pythons_round_does() -> None:
    assert logmel_starts([0.005, 0.015, 0.025]).tolist() == [round(0.5), round(1.5), round(2.5)]


def test_unknown_windows_and_times_that_are_no_times_are_refused() -> None:
    with pytest.raises(ValueError, match="ahead, centred, past"):
        logmel_starts([0.0], "behind")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        logmel_starts([0.0, np.nan])


SPANS = st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 3)).map(lambda word: (word[0], word[0] + word[1])), max_size=20)


@settings(deadline=None)
@given(st.lists(st.floats(0, 25), max_size=50), SPANS)
@example([1.0, 1.5, 2.0, 2.5], [(1.0, 2.0), (2.0, 2.5)])
def test_a_word_is_spoken_at_a_time_after_its_start_and_up_to_its_end(times: list[float], spans: list[tuple[float, float]]) -> None:
    found = word_index(times, spans)
    assert found.dtype == np.int32
    for time, word in zip(times, found, strict=True):
        speaking = [number for number, (start, end) in enumerate(spans) if start < time <= end]
        assert (word == -1) == (not speaking)
        if speaking:
            assert word in speaking
            assert spans[word][0] == max(spans[number][0] for number in speaking)


def test_words_that_touch_share_no_frame() -> None:
    assert word_index([1.0, 1.001, 2.0, 2.001, 2.5, 2.6], [(1.0, 2.0), (2.0, 2.5)]).tolist() == [-1, 0, 0, 1, 1, -1]
