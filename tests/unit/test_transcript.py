"""Transcripts that the user brings become words with times, or a message that says what to mend."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.language.engines import transcript


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def spans(words: list) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start, 6), round(word.end, 6)) for word in words]


LINE = [("so", 1.0, 1.2), ("wonderful", 1.2, 2.1), ("day", 2.1, 2.4)]


def test_a_line_time_is_spread_in_proportion_to_letters() -> None:
    assert spans(transcript.spread("so wonderful day", 1.0, 2.4)) == LINE


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=9), max_size=20), st.floats(0, 1e4), st.floats(0, 60))
def test_spread_words_touch_and_fill_the_line(texts: list[str], start: float, length: float) -> None:
    words = transcript.spread(" ".join(texts), start, start + length)
    assert [word.text for word in words] == texts
    assert all(before.end == after.start for before, after in itertools.pairwise(words))
    if words:
        assert words[0].start == start
        assert words[-1].end == pytest.approx(start + length)


def test_formats_agree(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.400\n<v Ann>so wonderful day\n"),
        write(tmp_path, "a.srt", "1\n00:00:01,000 --> 00:00:02,400\n<i>so wonderful</i>\nday\n"),
        write(tmp_path, "a.ctm", ";; made by hand\na 1 1.0 0.2 so 0.5\na 1 1.2 0.9 wonderful 0.25\na 1 2.1 0.3 day 1.0\n"),
        write(tmp_path, "a.json", json.dumps({"segments": [{"start": 1, "end": 2.4, "text": " so wonderful day"}]})),
        write(tmp_path, "b.json", json.dumps({"words": [{"text": text, "start": start, "end": end} for text, start, end in LINE]})),
        write(
            tmp_path, "c.json", json.dumps([{"result": [{"word": t, "start": s, "end": e, "conf": 0.5} for t, s, e in LINE], "text": ""}])
        ),
    ]
    for path in files:
        assert spans(transcript.read(path).words) == LINE, path.name
    assert [word.confidence for word in transcript.read(files[2]).words] == [0.5, 0.25, 1.0]
    assert [word.confidence for word in transcript.read(files[5]).words] == [0.5] * 3
    assert [transcript.read(path).spread_lines for path in files] == [1, 1, 0, 1, 0, 0]


def test_whisper_word_times_are_preferred_to_the_segment_s(tmp_path: Path) -> None:
    words = [{"word": " so", "start": 1.0, "end": 1.1, "probability": 0.7}, {"word": " day", "start": 1.5, "end": 1.9, "probability": 0.6}]
    path = write(
        tmp_path, "a.json", json.dumps({"segments": [{"start": 1, "end": 2, "text": " so day", "words": words}], "language": "en"})
    )
    found = transcript.read(path)
    assert spans(found.words) == [("so", 1.0, 1.1), ("day", 1.5, 1.9)]
    assert [word.confidence for word in found.words] == [0.7, 0.6]


def test_rolling_captions_with_word_times_count_each_word_once(tmp_path: Path) -> None:
    text = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\n \nwe<00:00:01.500><c> won</c><00:00:02.000><c> again</c>\n\n"
        "00:00:03.000 --> 00:00:03.010\nwe won again\n \n\n"
        "00:00:03.010 --> 00:00:05.000\nwe won again\ntoday\n"
    )
    found = transcript.read(write(tmp_path, "a.vtt", text))
    assert spans(found.words) == [("we", 1.0, 1.5), ("won", 1.5, 2.0), ("again", 2.0, 3.0), ("today", 3.01, 5.0)]
    assert found.repeated_lines == 2


def test_lines_said_twice_are_kept_without_word_times(tmp_path: Path) -> None:
    found = transcript.read(write(tmp_path, "a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nyeah\n\n00:02.000 --> 00:03.000\nyeah\n"))
    assert spans(found.words) == [("yeah", 1.0, 2.0), ("yeah", 2.0, 3.0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.vtt", "00:01.000 --> 00:02.000\nhi\n", "is not VTT"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:61.000\nhi\n", "only 0 captions"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nhi\n\n00:03 --> 00:04\nlost\n", "only 1 captions"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n\n2\n3 --> 4\nlost\n", "only 1 captions"),
        ("a.vtt", "WEBVTT\n\n00:02.000 --> 00:01.000\nhi\n", "'hi' runs from 2.0 to 1.0 s"),
        ("a.ctm", "a 1 1.0 0.2 so\na 1 later 0.2 day\n", "line 2: expected"),
        ("a.ctm", "a 1 1.0 inf so\n", "'so' runs from 1.0 to inf s"),
        ("a.ctm", "a 1 1.0 0.2 so 93\n", "'so' has confidence 93.0; give shares from 0 to 1"),
        ("a.json", '[{"text": "so", "start": 1, "end": 2, "confidence": NaN}]', "'so' has confidence nan"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"words": [{"start": 1, "end": 2}]}', "neither `text` nor `word`"),
        ("a.json", '{"words": [{"text": "a", "start": 0, "end": 1}, {"text": "so", "end": 2}]}', "entry 1: expected start"),
        ("a.json", '["so"]', "expected a list of words"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(InputError) as error:
        transcript.read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_empty_transcript_says_that_nothing_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.vtt", "WEBVTT\n")
    write(tmp_path, "b.srt", "")
    for video in "ab":
        found = transcript.load(str(tmp_path))(video, iter([b"\0\0" * 16000]))
        assert found.words == []
        assert found.note == "no word in the transcript"


def test_a_missing_or_doubled_transcript_names_the_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no transcript of video clip; add one of clip\.vtt, clip\.srt, clip\.ctm, clip\.json"):
        transcript.transcript_of(tmp_path, "clip")
    write(tmp_path, "clip.vtt", "WEBVTT\n")
    write(tmp_path, "clip.ctm", "")
    with pytest.raises(InputError, match=r"several transcripts, clip\.vtt, clip\.ctm; keep one"):
        transcript.transcript_of(tmp_path, "clip")
    with pytest.raises(InputError, match=r"recognition\.transcripts"):
        transcript.load("")


def test_what_was_guessed_is_noted(tmp_path: Path) -> None:
    write(tmp_path, "a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.400\nso wonderful day\n")
    note = transcript.load(str(tmp_path))("a", iter([b"\0\0" * 16000])).note
    assert note == "1 line times spread over their words; no confidence given, taken as 1; 3 words begin after the sound ends"
