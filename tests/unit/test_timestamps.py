"""Frame times come from the container, without decoding, and are those that a decoder gives."""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.media import timestamps
from abaw_pipeline.media.container import presentation_ticks, read_container
from tests.media_making import click_track, make_video

EVEN = [number / 25 for number in range(30)]
UNEVEN = [0, 0.04, 0.08, 0.2, 0.24, 0.25, 0.5, 0.54, 0.6, 0.62, 1.0, 1.04]


def decoded_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [time - times[0] for time in times]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov", "v.ts"])
@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_times_are_the_presentation_times_also_with_b_frames_and_a_variable_rate(tmp_path: Path, name: str, times: list[float]) -> None:
    make_video(tmp_path / name, times, options={"bf": "3"})
    pictures, sound = read_container(tmp_path / name)
    np.testing.assert_allclose(pictures.time, times, atol=0.0006)
    np.testing.assert_allclose(pictures.time, decoded_times(tmp_path / name), atol=1e-9)
    assert pictures.variable_rate == (times is UNEVEN)
    assert pictures.fps_mean == pytest.approx((len(times) - 1) / times[-1], rel=1e-3)
    assert sound is None


@pytest.mark.parametrize(("codec", "options"), [("mpeg4", {}), ("mpeg4", {"bf": "2"}), ("libx264", {"bf": "2"}), ("mjpeg", {})])
def test_an_avi_which_stores_no_presentation_times_is_even(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    make_video(tmp_path / "v.avi", EVEN, codec=codec, options=options)
    pictures, _ = read_container(tmp_path / "v.avi")
    np.testing.assert_allclose(pictures.time, EVEN, atol=1e-6)
    assert not pictures.variable_rate
    assert pictures.first_frame == 0


def test_an_avis_dropped_frames_leave_holes_in_time(tmp_path: Path) -> None:
    kept = [time for number, time in enumerate(EVEN) if number not in (10, 11, 20)]
    make_video(tmp_path / "v.avi", kept, codec="mpeg4")
    pictures, _ = read_container(tmp_path / "v.avi")
    np.testing.assert_allclose(pictures.time, kept, atol=1e-6)
    assert pictures.variable_rate


@settings(deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=50, unique=True), st.randoms())
def test_packets_may_come_in_any_order(ticks: list[int], random: object) -> None:
    shuffled = list(ticks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = presentation_ticks([(tick, None, 1) for tick in shuffled], 1.0)
    assert found.tolist() == sorted(ticks)


def test_without_presentation_times_decoding_times_or_the_rate_decide() -> None:
    assert presentation_ticks([(None, 3, 1), (None, 4, 1), (None, 6, 1)], 1.0).tolist() == [3, 4, 6]
    assert presentation_ticks([(None, None, 1), (7, None, 1)], 2.0).tolist() == [0, 2]


def test_a_stream_without_times_is_said_to_have_an_assumed_rate(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", EVEN)
    assert not read_container(tmp_path / "v.mp4")[0].rate_assumed
    with av.open(str(tmp_path / "v.h264"), "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(30):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * number, np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    bare = read_container(tmp_path / "v.h264")[0]
    assert bare.rate_assumed and len(bare.time) == 30
    np.testing.assert_allclose(np.diff(bare.time), 1 / 25)


def run(video: Path, output: Path) -> None:
    timestamps.main(argparse.Namespace(video=video, output=output))


def test_the_stage_writes_times_and_stream_facts_in_the_same_bytes_each_time(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mov", EVEN, sound=click_track(1, 0.5), sound_codec="pcm_s16le", sound_start=0.25)
    run(tmp_path / "v.mov", tmp_path / "a.h5")
    run(tmp_path / "v.mov", tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["time"].dtype == np.float64
        assert file["time"].shape == (30,)
        assert file.attrs["duration"] == pytest.approx(1.2)
        assert file.attrs["audio_start"] == pytest.approx(0.25)
        assert file.attrs["audio_seconds"] == pytest.approx(1.0)
        assert file.attrs["first_frame"] == 0


def test_without_sound_its_start_and_length_are_nan(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", EVEN)
    run(tmp_path / "v.mp4", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.isnan([file.attrs["audio_start"], file.attrs["audio_seconds"]]).all()


def test_a_file_cut_short_after_its_header_gives_what_it_holds_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_video(tmp_path / "v.avi", EVEN, codec="mjpeg")
    whole = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    run(tmp_path / "cut.avi", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert 0 < len(file["time"]) < 30
        assert file.attrs["declared_pictures"] == 30
    assert "cut short" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "without its index", "sound only", "folder"])
def test_what_is_no_video_is_refused_with_its_name_and_a_remedy(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "v.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("valence,arousal\n0,0\n")
    elif kind == "without its index":
        make_video(tmp_path / "whole.mp4", EVEN)
        path.write_bytes((tmp_path / "whole.mp4").read_bytes()[:1000])
    elif kind == "sound only":
        with av.open(str(path), "w") as container:
            track = container.add_stream("aac", rate=16000, layout="mono")
            container.mux(track.encode(None))
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match=r"v\.mp4: .*; (replace it|check)"):
        run(path, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
