"""Sound lies on the frame clock: a click is heard when the flash is seen, whatever the container says about starts and holes."""

from __future__ import annotations

import argparse
import json
import stat
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from abaw_pipeline.errors import InputError
from abaw_pipeline.media import wav
from abaw_pipeline.media.container import read_container
from tests.media_making import click_track, make_video

RATE = 16000
FLASH = 30


def run(video: Path, folder: Path, settings: str = "{}") -> tuple[np.ndarray, dict[str, Any]]:
    output, record = folder / "out.wav", folder / "out.json"
    wav.main(argparse.Namespace(video=video, output=output, record=record, settings=settings))
    with wave.open(str(output)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, RATE)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    return samples, json.loads(record.read_text())


def click_time(samples: np.ndarray) -> float:
    """Centre of the loudest 2 ms, in seconds."""
    power = samples.astype(float) ** 2
    power[power < power.max() / 10] = 0
    return float((np.arange(len(power)) * power).sum() / power.sum() / RATE)


def flash_time(video: Path) -> float:
    """Time, on the frame clock, of the picture that is white when decoded."""
    with av.open(str(video)) as container:
        brightness = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert int(np.argmax(brightness)) == FLASH
    return float(read_container(video)[0].time[FLASH])


def flash_and_click(video: Path, *, picture_start: float = 0.0, sound_start: float = 0.0, **options: Any) -> None:
    """Fifty pictures from `picture_start` on, 2.5 s of sound from `sound_start` on; flash and click at the same moment."""
    times = [picture_start + number / 25 for number in range(50)]
    make_video(video, times, flash=FLASH, sound=click_track(2.5, times[FLASH] - sound_start), sound_start=sound_start, **options)


@pytest.mark.parametrize(
    ("picture_start", "sound_start"), [(0, 0), (0, 0.3), (0.3, 0)], ids=["together", "sound starts late", "sound starts early"]
)
@pytest.mark.parametrize(
    ("name", "sound_codec"), [("v.mp4", "aac"), ("v.mkv", "aac"), ("v.ts", "aac"), ("v.mov", "pcm_s16le"), ("m.mp4", "libmp3lame")]
)
def test_the_click_is_heard_when_the_flash_is_seen(
    tmp_path: Path, name: str, sound_codec: str, picture_start: float, sound_start: float
) -> None:
    video = tmp_path / name
    flash_and_click(video, picture_start=picture_start, sound_start=sound_start, sound_codec=sound_codec)
    samples, record = run(video, tmp_path)
    assert click_time(samples) == pytest.approx(flash_time(video), abs=0.002)
    # An encoder's delay, 25 to 50 ms, may stand in front of the sound as samples of their own.
    assert record["offset_seconds"] == pytest.approx(sound_start - picture_start, abs=0.06)
    assert record["padded_samples"] == max(0, round(record["offset_seconds"] * RATE))
    assert record["trimmed_samples"] == max(0, round(-record["offset_seconds"] * RATE))
    assert abs(record["unexplained_samples"]) < 0.03 * RATE


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mjpeg"])
def test_in_an_avi_too(tmp_path: Path, codec: str) -> None:
    flash_and_click(tmp_path / "v.avi", codec=codec, sound_codec="pcm_s16le")
    samples, _ = run(tmp_path / "v.avi", tmp_path)
    assert click_time(samples) == pytest.approx(flash_time(tmp_path / "v.avi"), abs=0.002)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_hole_in_the_track_is_filled_and_counted_so_that_later_sound_stays_in_step(tmp_path: Path, name: str) -> None:
    flash_and_click(tmp_path / name, hole=(0.4, 0.8))
    samples, record = run(tmp_path / name, tmp_path)
    assert click_time(samples) == pytest.approx(flash_time(tmp_path / name), abs=0.002)
    assert record["gap_samples"] == pytest.approx(0.4 * RATE, abs=0.03 * RATE)


def test_without_a_hole_nothing_is_counted(tmp_path: Path) -> None:
    flash_and_click(tmp_path / "v.mp4")
    samples, record = run(tmp_path / "v.mp4", tmp_path)
    counted = {key: record[key] for key in ("padded_samples", "trimmed_samples", "gap_samples", "overlap_samples", "decoder_messages")}
    assert set(counted.values()) == {0}
    assert record["track"] is True
    assert record["samples"] == len(samples) == round(record["seconds"] * RATE)
    assert record["seconds"] == pytest.approx(2.5, abs=0.03)
    assert record["picture_seconds"] == pytest.approx(2.0)


def test_no_sound_track_gives_a_valid_empty_file_and_says_so(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", [0, 0.04, 0.08])
    samples, record = run(tmp_path / "v.mp4", tmp_path)
    assert len(samples) == 0
    assert record["track"] is False
    assert record["declared_seconds"] is None


def test_sound_that_ends_before_the_first_picture_is_trimmed_away_and_counted(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mkv", [2.0, 2.04, 2.08], sound=click_track(1, 0.5))
    samples, record = run(tmp_path / "v.mkv", tmp_path)
    assert len(samples) == 0
    assert record["track"] is True
    assert record["trimmed_samples"] == 2 * RATE


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    flash_and_click(tmp_path / "v.mp4")
    run(tmp_path / "v.mp4", tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("out.wav", "out.json")]
    run(tmp_path / "v.mp4", tmp_path)
    assert first == [(tmp_path / name).read_bytes() for name in ("out.wav", "out.json")]


def test_a_failing_ffmpeg_is_quoted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    flash_and_click(tmp_path / "v.mp4")
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'codec of the future' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InputError, match=r"(?s)v\.mp4.*codec of the future.*replace it"):
        run(tmp_path / "v.mp4", tmp_path, json.dumps({"ffmpeg": str(broken)}))
    with pytest.raises(InputError, match=r"wav\.ffmpeg: no program"):
        run(tmp_path / "v.mp4", tmp_path, json.dumps({"ffmpeg": str(tmp_path / "nowhere")}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffmpeg", "v.mp4"]
