"""The media stages on real clips: what the folder's README says of them, and what decoders say.

`no_face.mp4`: its header counts 98 pictures, of which an edit list hides 3; every decoder gives 95, and so does this project.
`sad.mp4`: cut short; its header counts 157 pictures of which the file holds 110.
`face_noface.mov`: its sound starts 2.43 s after the picture and ends with it.
"""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import av
import cv2
import h5py
import numpy as np
import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.alignment import logmel_starts
from abaw_pipeline.media.container import read_container

pytestmark = pytest.mark.real

GRID = ("grid_bbaf2n", "grid_brbk7n", "grid_lbax4n", "grid_lrwp9a", "grid_pwij3p", "grid_sbwe5n")
# frames, fps, (shortest, longest) gap in ms, seconds of sound from its own start (None: no track), offset of the sound in seconds
FACTS: dict[str, tuple[int, float, tuple[float, float], float | None, float]] = {
    **{f"{name}.mpg": (75, 25, (40, 40), 2.978, 0) for name in GRID},
    "talk_feifeili_clip1.mp4": (298, 30, (33.3, 33.4), 10.008, 0),
    "talk_feifeili_clip3.mp4": (209, 30, (33.3, 33.4), 7.012, 0),
    "single_face.mp4": (72, 30, (33.3, 33.4), 2.419, 0),
    "no_face.mp4": (95, 24, (41.6, 41.7), 3.945, 0),
    "face_noface.mov": (169, 26.41, (13.7, 41.7), 3.966, 2.43),
    "sad.mp4": (110, 24.77, (40, 80), 4.416, 0),
    "contempt.mp4": (78, 25, (40, 40), None, 0),
}


@pytest.fixture(params=FACTS)
def clip(request: pytest.FixtureRequest, clips: Path) -> Path:
    return clips / str(request.param)


def stages(clip: Path, folder: Path) -> tuple[h5py.File, dict[str, Any], np.ndarray, h5py.File]:
    """Run timestamps, wav and logmel; their outputs."""
    paths = {name: str(folder / name) for name in ("times.h5", "a.wav", "a.json", "logmel.h5")}
    assert main(["timestamps", "--video", str(clip), "--output", paths["times.h5"]]) == 0
    assert main(["wav", "--video", str(clip), "--output", paths["a.wav"], "--record", paths["a.json"]]) == 0
    assert main(["logmel", "--wav", paths["a.wav"], "--record", paths["a.json"], "--output", paths["logmel.h5"]]) == 0
    with wave.open(paths["a.wav"]) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    return h5py.File(paths["times.h5"]), json.loads(Path(paths["a.json"]).read_text()), samples, h5py.File(paths["logmel.h5"])


def test_every_clip_of_the_folder_is_known_here(clips: Path) -> None:
    found = {path.name for path in clips.iterdir() if path.suffix in (".mpg", ".mp4", ".mov", ".avi", ".mkv")}
    assert found == {*FACTS, "really_a_wav.mov"}


def test_the_stages_agree_with_what_is_known_of_the_clip(clip: Path, tmp_path: Path) -> None:
    frames, fps, gaps, sound_seconds, offset = FACTS[clip.name]
    times, record, samples, logmel = stages(clip, tmp_path)
    time = times["time"][()]
    assert len(time) == frames
    assert time[0] == 0
    assert times.attrs["fps_mean"] == pytest.approx(fps, abs=0.01)
    assert 1000 * np.diff(time).min() == pytest.approx(gaps[0], abs=0.1)
    assert 1000 * np.diff(time).max() == pytest.approx(gaps[1], abs=0.1)
    assert times.attrs["variable_rate"] == (gaps[1] - gaps[0] > 1)

    assert record["track"] == (sound_seconds is not None) == bool(logmel.attrs["present"])
    assert len(samples) == record["samples"]
    assert len(samples) / 16000 == pytest.approx(offset + (sound_seconds or 0), abs=0.002)
    assert record["offset_seconds"] == pytest.approx(offset, abs=0.001)
    assert record["padded_samples"] == round(record["offset_seconds"] * 16000)
    assert abs(record["unexplained_samples"]) <= 400
    if sound_seconds is None:
        assert np.isnan(times.attrs["audio_start"])
        assert len(logmel["logmel"]) == 0
    else:
        assert (np.abs(samples).max() > 100) == (clip.name != "sad.mp4")  # its sound track is silent from end to end
        assert not samples[: max(0, record["padded_samples"] - 100)].any()  # the resampling filter rings a little ahead
        assert len(logmel["logmel"]) == 1 + (len(samples) + 16000 - 400) // 160
        assert np.isfinite(logmel["logmel"][()]).all()
        starts = logmel_starts(time)
        assert np.abs(starts / 100 - time).max() <= 0.005 + 1e-9


def test_the_times_are_those_of_two_decoders(clip: Path) -> None:
    pictures, _ = read_container(clip)
    with av.open(str(clip)) as container:
        decoded = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(pictures.time, np.array(decoded) - decoded[0], atol=1e-6)
    assert pictures.first_frame == pytest.approx(decoded[0], abs=1e-6)
    capture, count = cv2.VideoCapture(str(clip)), 0
    while capture.grab():
        count += 1
    assert count == len(pictures.time)


def test_the_sound_is_what_a_decoder_gives_at_its_time(clip: Path, tmp_path: Path) -> None:
    """Resampled by PyAV, and laid at the decoder's own first timestamp: the same wave, without a lag."""
    if FACTS[clip.name][3] is None:
        pytest.skip("no sound track")
    _, _, samples, _ = stages(clip, tmp_path)
    pictures, _ = read_container(clip)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
    with av.open(str(clip)) as container:
        frames = list(container.decode(audio=0))
    pieces = [piece.to_ndarray()[0] for frame in [*frames, None] for piece in resampler.resample(frame)]
    silence = np.zeros(round((frames[0].time - pictures.first_frame) * 16000), np.int16)
    expected = np.concatenate([silence, *pieces]).astype(float)
    length = min(len(samples), len(expected))
    # What lies behind the end that the container tells, a fraction of a packet, ffmpeg leaves out and PyAV does not.
    assert abs(len(samples) - len(expected)) < 1024
    off = np.sqrt(((samples[:length] - expected[:length]) ** 2).mean())
    loudness = np.sqrt((expected**2).mean())
    assert off <= 0.1 * loudness  # a start between two samples shifts the wave by part of one
    for lag in (-1, 1):
        assert np.sqrt(((np.roll(samples, lag)[:length] - expected[:length]) ** 2).mean()) > off or loudness == 0


def test_pictures_that_the_container_hides_or_lacks_are_counted(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden, _ = read_container(clips / "no_face.mp4")
    assert (hidden.declared, hidden.hidden) == (98, 3)
    cut, _ = read_container(clips / "sad.mp4")
    assert (cut.declared, len(cut.time)) == (157, 110)


@pytest.mark.parametrize("stage", ["timestamps", "wav"])
def test_a_sound_file_with_a_videos_name_is_refused(clips: Path, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = ["--record", str(tmp_path / "r.json")] if stage == "wav" else []
    assert main([stage, "--video", str(clips / "really_a_wav.mov"), "--output", str(tmp_path / "out"), *record]) == 2
    said = capsys.readouterr().err
    assert "really_a_wav.mov: has no picture stream" in said
    assert "WAV" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("name", ["talk_feifeili_clip1.mp4", "face_noface.mov", "grid_bbaf2n.mpg"])
def test_a_clip_cut_short_gives_what_it_holds_or_is_refused(
    clips: Path, tmp_path: Path, name: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (clips / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: int(share * len(whole))])
    status = main(["timestamps", "--video", str(cut), "--output", str(tmp_path / "times.h5")])
    if status == 0:
        with h5py.File(tmp_path / "times.h5") as file:
            assert 0 < len(file["time"]) < FACTS[name][0]
    else:
        assert status == 2
        assert f"{name}: " in capsys.readouterr().err
        assert not (tmp_path / "times.h5").exists()
