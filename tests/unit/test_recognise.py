"""Recognition of a shard: everything said is taken, on the frame clock, and one video never changes another's words."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tracemalloc
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.language import recognise
from abaw_pipeline.language.engines import pocketsphinx

RATE = 16000
SPEAK = """
import ctypes, sys
import espeakng_loader, numpy as np
library = ctypes.CDLL(espeakng_loader.get_library_path())
library.espeak_Initialize(1, 0, espeakng_loader.get_data_path().encode(), 0)
chunks = []
def receive(samples, count, events):
    if samples and count > 0:
        chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
    return 0
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(receive)
library.espeak_SetSynthCallback(callback)
library.espeak_SetVoiceByName(b"en-us")
library.espeak_SetParameter(1, 150, 0)
text = sys.argv[1].encode()
library.espeak_Synth(text, len(text) + 1, 0, 0, 0, 1, None, None)
library.espeak_Synchronize()
sound = np.concatenate(chunks) / 32768
rows = np.arange(int(len(sound) * 16000 / 22050)) * 22050 / 16000
sys.stdout.buffer.write((np.interp(rows, np.arange(len(sound)), sound) * 24000).astype("<i2").tobytes())
"""


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.int16)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """A synthetic voice; in a process of its own, since the library's state is global."""
    text = "what a wonderful day. she opened the door and looked at the table."
    spoken = subprocess.run([sys.executable, "-c", SPEAK, text], capture_output=True, check=True).stdout
    return np.frombuffer(spoken, "<i2")


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def run(folder: Path, *videos: str, name: str = "shard.json", **values: Any) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    recognise.add_arguments(parser)
    options = ["--shard-videos", *videos, "--audio", str(folder / "audio"), "--output", str(folder / name)]
    recognise.main(parser.parse_args([*options, "--settings", json.dumps({"engine": "pocketsphinx", **values})]))
    return json.loads((folder / name).read_text())["videos"]


def said(words: list[dict[str, Any]]) -> str:
    return " ".join(word["text"] for word in words)


def chunks(samples: np.ndarray, size: int = 4000) -> Iterator[bytes]:
    return (samples[first : first + size].tobytes() for first in range(0, len(samples), size))


def test_a_shard_of_all_kinds(tmp_path: Path, voice: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    sounds = {
        "talk": np.concatenate([quiet(0.5), voice, quiet(0.5)]),
        "cut": np.concatenate([quiet(0.5), voice[: int(1.0 * RATE)]]),  # ends within `wonderful day`
        "silence": quiet(3.0),
        "track_less": quiet(0),
        "blip": quiet(0.001),
    }
    for video, samples in sounds.items():
        write_wav(tmp_path / "audio" / f"{video}.wav", samples)
    videos = run(tmp_path, *sounds)
    assert list(videos) == sorted(sounds)
    # The voice is synthetic and the model small: some words are certain, others are not.
    assert "wonderful day" in said(videos["talk"]["words"])
    assert "opened the door" in said(videos["talk"]["words"])
    # Never a result at a pause here: without asking for the final one there would be no word at all.
    assert re.match("(what )?a wonderful", said(videos["cut"]["words"]))
    assert videos["cut"]["words"][-1]["end"] > 1.35
    assert videos["cut"]["seconds"] == 1.5
    assert [videos[name]["words"] for name in ("silence", "track_less", "blip")] == [[], [], []]
    assert [videos[name]["note"] for name in ("talk", "silence", "track_less")] == ["", "no word recognised", "no sound"]
    for video, content in videos.items():
        for word in content["words"]:
            assert 0 <= word["start"] < word["end"] <= len(sounds[video]) / RATE
            assert 0 <= word["confidence"] <= 1
            assert re.fullmatch(r"[a-z'.-]+", word["text"])
    told = capfd.readouterr().err.splitlines()
    assert all(line.startswith("recognise: ") for line in told), told


def test_a_video_s_words_do_not_depend_on_its_shard(tmp_path: Path, voice: np.ndarray) -> None:
    write_wav(tmp_path / "audio" / "a.wav", voice)
    write_wav(tmp_path / "audio" / "loud.wav", np.random.default_rng(0).normal(0, 6000, RATE))
    write_wav(tmp_path / "audio" / "silence.wav", quiet(1))
    alone = run(tmp_path, "a")
    write_wav(tmp_path / "audio" / "same.wav", voice)
    together = run(tmp_path, "loud", "same", "silence", "a", name="other.json", chunk_seconds=1.7)
    assert together["a"] == together["same"] == alone["a"]
    assert alone["a"]["words"]


def test_words_after_a_cut_keep_their_time(voice: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.concatenate([voice, quiet(0.6), voice])
    whole = pocketsphinx.load()("a", chunks(sound)).words
    monkeypatch.setattr(pocketsphinx, "LONGEST_SECONDS", 4.0)
    cut = pocketsphinx.load()("a", chunks(sound)).words
    assert len(list(pocketsphinx.utterances(chunks(sound)))) > 2
    starts = {word.text: word.start for word in whole}
    later = [abs(word.start - starts[word.text]) for word in cut if word.text in starts and word.start > 4.5]
    assert len(later) >= 4
    assert np.median(later) < 0.05
    assert max(word.end for word in cut) <= len(sound) / RATE


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * 320_000), st.integers(1, 400_000), st.integers(0, 2**32 - 1))
def test_every_sample_is_in_one_utterance_of_at_most_twenty_seconds(length: int, piece: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-32768, 32768, length).astype(np.int16)
    found = list(pocketsphinx.utterances(chunks(samples, piece)))
    assert [start for start, _ in found] == np.cumsum([0, *(len(held) for _, held in found)])[:-1].tolist()
    assert all(0 < len(held) <= 320_000 for _, held in found)
    assert np.array_equal(np.concatenate([held for _, held in found]) if found else samples[:0], samples)


def test_a_cut_falls_into_the_pause() -> None:
    samples = np.full(25 * RATE, 1000, np.int16)
    samples[16 * RATE : int(16.4 * RATE)] = 3
    (_, first), (start, _) = pocketsphinx.utterances(chunks(samples))
    assert 16 * RATE < len(first) == start < 16.4 * RATE


def test_cutting_is_bounded_in_memory() -> None:
    piece = np.ones(RATE, np.int16).tobytes()
    tracemalloc.start()
    total = sum(len(samples) for _, samples in pocketsphinx.utterances(piece for _ in range(600)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 600 * RATE
    assert peak < 20e6  # ten minutes are 19 MB as samples; 20 s with their energies are 6


def test_the_command_gives_equal_bytes(tmp_path: Path, voice: np.ndarray) -> None:
    write_wav(tmp_path / "audio" / "a.wav", voice[: 2 * RATE])
    for name in ("one.json", "two.json"):
        run(tmp_path, "a", name=name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_transcripts_stand_in_for_recognition(tmp_path: Path) -> None:
    write_wav(tmp_path / "audio" / "a.wav", quiet(4))
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nso good\n")
    content = run(tmp_path, "a", engine="transcript", transcripts=str(tmp_path))["a"]
    assert said(content["words"]) == "so good"
    assert content["seconds"] == 4.0
    assert content["note"] == "1 line times spread over their words; no confidence given, taken as 1"


def test_what_is_no_such_wav_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "audio" / "fast.wav", quiet(1), rate=44100)
    (tmp_path / "audio" / "text.wav").write_text("hello")
    for video, message in (("fast", "44100 Hz; run `wav`"), ("text", "cannot be read as WAV"), ("absent", "cannot be read as WAV")):
        with pytest.raises(InputError, match=message):
            run(tmp_path, video)
    assert not (tmp_path / "shard.json").exists()


def test_a_folder_that_is_no_vosk_model_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "audio" / "a.wav", quiet(1))
    with pytest.raises(InputError, match="is not a Vosk model"):
        run(tmp_path, "a", engine="vosk", model=str(tmp_path))


def test_an_engine_that_is_not_chosen_is_not_imported() -> None:
    heavy = "torch", "transformers", "vosk", "pocketsphinx"
    stages = "abaw_pipeline.language.recognise, abaw_pipeline.language.punctuate, abaw_pipeline.language.coverage"
    code = f"import sys, {stages}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
