"""Real speech through the language stages: Vosk's own words, the phrases that are said, and sound without any."""

from __future__ import annotations

import json
import time
import wave
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.language import recognise

pytestmark = pytest.mark.real

PHRASES = {
    "talk_feifeili_clip1": ["professor", "at princeton university we launched the image", "project in two thousand and seven"],
    "talk_feifeili_clip3": ["important thing for me", "to advance a i but also to democratize"],
}
GRID = ["bbaf2n", "brbk7n", "lbax4n", "lrwp9a", "pwij3p", "sbwe5n"]
WITHOUT_WORDS = {"contempt": ".mp4", "no_face": ".mp4", "single_face": ".mp4"}


@pytest.fixture(scope="module")
def sound(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of {clip}.wav, made by the wav stage."""
    folder = tmp_path_factory.mktemp("audio")
    names = [f"{name}.mp4" for name in PHRASES] + [f"grid_{name}.mpg" for name in GRID]
    names += [name + suffix for name, suffix in WITHOUT_WORDS.items()]
    for name in names:
        stem = name.rsplit(".", 1)[0]
        stage("wav", video=clips / name, output=folder / f"{stem}.wav", record=folder / f"{stem}.json")
    return folder


def stage(name: str, **options: str | Path) -> None:
    assert main([name, *(str(part) for option, value in options.items() for part in (f"--{option}", value))]) == 0


def run(sound: Path, output: Path, videos: list[str], **settings: Any) -> dict[str, Any]:
    options = ["--shard-videos", *videos, "--audio", str(sound), "--output", str(output), "--settings", json.dumps(settings)]
    assert main(["recognise", *options]) == 0
    return json.loads(output.read_text())["videos"]


@pytest.fixture(scope="module")
def model(models_folder: Path) -> str:
    return str(models_folder / "vosk-model-small-en-us")


def in_one_go(model: str, path: Path) -> tuple[list[dict[str, Any]], float]:
    """Vosk's words for the whole wav, final result included, and the seconds it took."""
    import vosk

    vosk.SetLogLevel(-1)
    recogniser = vosk.KaldiRecognizer(vosk.Model(model), 16000)
    recogniser.SetWords(True)
    with wave.open(str(path)) as file:
        samples = file.readframes(file.getnframes())
    began = time.process_time()
    recogniser.AcceptWaveform(samples)
    return json.loads(recogniser.FinalResult()).get("result", []), time.process_time() - began


def said(words: list[dict[str, Any]]) -> str:
    return " ".join(word["text"] for word in words)


@pytest.mark.parametrize("clip", PHRASES)
def test_vosk_streamed_gives_the_words_of_the_whole(sound: Path, model: str, tmp_path: Path, clip: str) -> None:
    words = run(sound, tmp_path / "shard.json", [clip], engine="vosk", model=model)[clip]["words"]
    expected, _ = in_one_go(model, sound / f"{clip}.wav")
    assert [word["text"] for word in words] == [word["word"] for word in expected]
    np.testing.assert_allclose([word["start"] for word in words], [word["start"] for word in expected], atol=0.1)
    for phrase in PHRASES[clip]:
        assert phrase in said(words)


def test_a_recording_that_ends_in_mid_speech_keeps_its_last_words(sound: Path, model: str, tmp_path: Path) -> None:
    """The clip cut within `thousand`: Vosk gives no result before it is asked for the final one."""
    clip = "talk_feifeili_clip1"
    whole = run(sound, tmp_path / "whole.json", [clip], engine="vosk", model=model)[clip]["words"]
    number = max(number for number, word in enumerate(whole) if word["text"] == "thousand")
    end = (whole[number]["start"] + whole[number]["end"]) / 2
    with wave.open(str(sound / f"{clip}.wav")) as file, wave.open(str(tmp_path / "cut.wav"), "wb") as cut:
        cut.setparams(file.getparams())
        cut.writeframes(file.readframes(int(end * 16000)))
    words = run(tmp_path, tmp_path / "cut.json", ["cut"], engine="vosk", model=model)["cut"]["words"]
    before = [word["text"] for word in whole[:number]]
    assert [word["text"] for word in words[: len(before) - 2]] == before[:-2]
    assert words[-1]["end"] > end - 0.2
    pieces = recognise.pieces(tmp_path / "cut.wav", 0.25)
    import vosk

    recogniser = vosk.KaldiRecognizer(vosk.Model(model), 16000)
    assert not any(recogniser.AcceptWaveform(piece) for piece in pieces), "the authors' way, no final result, has no word at all"


@pytest.mark.parametrize("engine", ["vosk", "pocketsphinx"])
def test_every_clip_passes_and_what_has_no_word_says_so(sound: Path, model: str, tmp_path: Path, engine: str) -> None:
    names = GRID if engine == "vosk" else GRID[:2]
    videos = [f"grid_{name}" for name in names] + list(WITHOUT_WORDS)
    result = run(sound, tmp_path / "shard.json", videos, engine=engine, model=model)
    assert set(result) == set(videos)
    assert result["contempt"] == {"seconds": 0.0, "words": [], "note": "no sound"}
    if engine == "vosk":
        assert result["no_face"]["note"] == result["single_face"]["note"] == "no word recognised"
        # A GRID sentence has six words; spelled letters come out poorly, the last word is clear.
        assert all(3 <= len(result[f"grid_{name}"]["words"]) <= 9 for name in GRID)
        last = {"n": "now", "a": "again", "p": "please"}
        assert sum(last[name[-1]] == result[f"grid_{name}"]["words"][-1]["text"] for name in GRID) >= 5
    for content in result.values():
        starts = [word["start"] for word in content["words"]]
        assert starts == sorted(starts)
        assert all(0 <= word["start"] < word["end"] <= content["seconds"] + 1e-6 for word in content["words"])


def test_words_do_not_depend_on_the_shard(sound: Path, model: str, tmp_path: Path) -> None:
    first, second = PHRASES
    alone = run(sound, tmp_path / "one.json", [second], engine="vosk", model=model)
    together = run(sound, tmp_path / "two.json", [first, "grid_bbaf2n", second], engine="vosk", model=model)
    assert alone[second] == together[second]


def test_real_words_become_vectors(sound: Path, model: str, tmp_path: Path) -> None:
    clip = "talk_feifeili_clip1"
    words = run(sound, tmp_path / "words.json", [clip, "contempt"], engine="vosk", model=model)[clip]["words"]
    stage("punctuate", transcripts=tmp_path / "words.json", output=tmp_path / "sentences.json", settings='{"engine": "pauses"}')
    stage("embed", punctuated=tmp_path / "sentences.json", output=tmp_path / "features.h5", settings='{"model": "minilm"}')
    with h5py.File(tmp_path / "features.h5") as file:
        assert file[clip]["words"].shape == (len(words), 384)
        assert np.isfinite(file[clip]["words"][()]).all()
        assert np.abs(file[clip]["words"][()]).sum(axis=1).min() > 0
        assert file["contempt"]["words"].shape == (0, 384)
        assert file["contempt"].attrs["note"] == "no sound"
