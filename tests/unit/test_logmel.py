"""The log-mel spectrogram is VGGish's, in bounded memory, and its stage says what it padded."""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline.alignment import logmel_starts
from abaw_pipeline.errors import InputError
from abaw_pipeline.media import logmel
from abaw_pipeline.media.logmel import log_mel_rows, log_mel_spectrogram, row_count


def reference_signal() -> np.ndarray:
    t = np.arange(48000) / 16000
    x = 0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2)) + 0.1 * np.sin(2 * np.pi * 3000 * t)
    x += 0.02 * np.random.RandomState(7).standard_normal(48000)
    x[16000:20000] = 0
    return np.int16(np.round(np.clip(x, -1, 1) * 32767)) / 32768


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32768).astype("<i2").tobytes())


def run(folder: Path, samples: np.ndarray, track: bool = True) -> h5py.File:
    write_wav(folder / "a.wav", samples)
    (folder / "a.json").write_text(json.dumps({"track": track}))
    logmel.main(argparse.Namespace(wav=folder / "a.wav", record=folder / "a.json", output=folder / "a.h5"))
    return h5py.File(folder / "a.h5")


def test_equals_the_reference_spectrogram(reference: Path) -> None:
    expected = np.load(reference / "logmel.npz")["logmel_3s"]
    found = log_mel_spectrogram(reference_signal())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("fps", ["25.0", "29.97002997"])
def test_the_stage_and_the_starts_together_give_the_reference_windows(tmp_path: Path, reference: Path, fps: str) -> None:
    expected = np.load(reference / "logmel.npz")[f"windows_{fps}_every10"]
    frames = len(json.loads((reference / "logmel_starts.json").read_text())[fps])
    with run(tmp_path, reference_signal()) as file:
        starts = logmel_starts(np.arange(frames) / float(fps))[::10]
        windows = np.stack([file["logmel"][start : start + 96] for start in starts])
    np.testing.assert_allclose(windows, expected, atol=0.004, rtol=0)  # float16 below 8 is within 0.004


def direct(samples: np.ndarray) -> np.ndarray:
    """The definition, one frame at a time, in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    rows = [np.abs(np.fft.rfft(window * samples[i : i + 400], 512)) for i in range(0, len(samples) - 399, 160)]
    return np.log(np.array(rows).reshape(-1, 257) @ logmel.mel_bands() + 0.01)


@settings(deadline=None)
@given(st.integers(0, 3000), st.lists(st.integers(1, 900), max_size=8), st.integers(0, 2**32 - 1))
def test_where_the_sound_is_cut_into_blocks_makes_no_difference(length: int, cuts: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, length)
    blocks = np.split(samples, np.minimum(np.cumsum(cuts), length).astype(int)) if cuts else [samples]
    rows = [np.empty((0, 64), np.float32), *log_mel_rows(blocks)]
    assert sum(map(len, rows)) == row_count(length) == len(log_mel_spectrogram(samples))
    np.testing.assert_allclose(np.concatenate(rows), direct(samples), atol=1e-4, rtol=0)


def test_bands_are_triangles_on_the_mel_scale_without_dc() -> None:
    weights = logmel.mel_bands()
    assert weights.shape == (257, 64)
    assert weights.min() == 0
    assert (weights[0] == 0).all()
    assert np.flatnonzero(weights.any(1)).min() * 31.25 > 125
    assert np.flatnonzero(weights.any(1)).max() * 31.25 < 7500


def test_torchaudio_agrees() -> None:
    """Its spectrogram to 1e-4. Its own bands, straight in hertz where VGGish's are straight in mel, hold the same bins, and are close."""
    sound = reference_signal()
    # A window shorter than the transform lies in its middle there, at its start here.
    padded = torch.nn.functional.pad(torch.from_numpy(sound), (56, 56))
    window = torch.hann_window(400, dtype=torch.float64)
    magnitude = torchaudio.functional.spectrogram(padded, 0, window, 512, 160, 400, power=1.0, normalized=False, center=False).T.numpy()
    found = log_mel_spectrogram(sound)
    np.testing.assert_allclose(found, np.log(magnitude @ logmel.mel_bands() + 0.01), atol=1e-4, rtol=0)
    bands = torchaudio.functional.melscale_fbanks(257, 125.0, 7500.0, 64, 16000).numpy()
    np.testing.assert_array_equal(bands > 1e-6, logmel.mel_bands() > 1e-6)
    np.testing.assert_allclose(found, np.log(magnitude @ bands + 0.01), atol=0.02, rtol=0)


def test_silence_is_the_log_of_the_offset() -> None:
    np.testing.assert_allclose(log_mel_spectrogram(np.zeros(1600)), np.log(0.01), rtol=1e-6)


def test_other_rates_integers_and_several_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="resample"):
        log_mel_spectrogram(np.zeros(1600), rate=44100)
    with pytest.raises(ValueError, match="floats"):
        log_mel_spectrogram(np.zeros(1600, np.int16))
    with pytest.raises(ValueError, match="floats"):
        log_mel_spectrogram(np.zeros((2, 1600)))


def test_the_stage_repeats_the_last_sample_for_a_second_and_counts_it(tmp_path: Path) -> None:
    samples = reference_signal()[:8000]
    with run(tmp_path, samples) as file:
        assert file["logmel"].dtype == np.float16
        assert file["logmel"].shape == (row_count(8000 + 16000), 64)
        assert file.attrs["edge_padded_samples"] == 16000
        assert file.attrs["seconds"] == 0.5
        assert file.attrs["rate"] == 100
        assert file.attrs["present"]
        expected = log_mel_spectrogram(np.pad(samples, (0, 16000), "edge"))
        np.testing.assert_allclose(file["logmel"][()], expected, atol=0.004, rtol=0)


def test_a_moment_of_sound_still_gives_a_full_window(tmp_path: Path) -> None:
    with run(tmp_path, np.array([0.5])) as file:
        assert len(file["logmel"]) >= 96


@pytest.mark.parametrize("track", [True, False])
def test_no_sample_is_absent_not_silent(tmp_path: Path, track: bool) -> None:
    with run(tmp_path, np.empty(0), track) as file:
        assert file["logmel"].shape == (0, 64)
        assert not file.attrs["present"]
        assert file.attrs["edge_padded_samples"] == 0


def test_a_silent_track_is_present(tmp_path: Path) -> None:
    with run(tmp_path, np.zeros(16000)) as file:
        assert file.attrs["present"]


def test_the_same_sound_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path, reference_signal()).close()
    first = (tmp_path / "a.h5").read_bytes()
    run(tmp_path, reference_signal()).close()
    assert first == (tmp_path / "a.h5").read_bytes()


@pytest.mark.parametrize("damage", ["absent", "text", "other rate", "shorter than its header"])
def test_a_bad_wav_is_refused_and_nothing_is_written(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.wav"
    (tmp_path / "a.json").write_text('{"track": true}')
    if damage == "text":
        path.write_text("no sound")
    elif damage == "other rate":
        write_wav(path, np.zeros(100), 8000)
    elif damage == "shorter than its header":
        write_wav(path, np.zeros(40000))
        path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(InputError, match=r"a\.wav: .*run the wav stage again"):
        logmel.main(argparse.Namespace(wav=path, record=tmp_path / "a.json", output=tmp_path / "a.h5"))
    assert not (tmp_path / "a.h5").exists()


def test_a_bad_record_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(16000))
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"a\.json"):
        logmel.main(argparse.Namespace(wav=tmp_path / "a.wav", record=tmp_path / "a.json", output=tmp_path / "a.h5"))
