"""The demo corpus is what its plan says, has every planted trouble, and is the same whenever it is made."""

from __future__ import annotations

import csv
import filecmp
import json
from collections import Counter
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from abaw_pipeline.__main__ import main as command
from abaw_pipeline.config import AffWild2Corpus, DemoCorpus
from abaw_pipeline.corpus import affwild2
from abaw_pipeline.corpus.demo import person, script, write
from abaw_pipeline.corpus.demo.plan import PlannedTrial, PlannedVideo, files, folders, plan, template, trials
from abaw_pipeline.corpus.demo.troubles import Trouble
from abaw_pipeline.errors import InputError

SIZES = st.builds(DemoCorpus, videos=st.integers(12, 40), seconds=st.floats(2, 60), seed=st.integers(0, 10**6))


def planted(settings: DemoCorpus, trouble: Trouble) -> PlannedVideo:
    (video,) = (video for video in plan(settings) if trouble in video.troubles)
    return video


def first(settings: DemoCorpus, trouble: Trouble) -> PlannedTrial:
    return planted(settings, trouble).trials[0]


def annotation(settings: DemoCorpus, trial: PlannedTrial) -> np.ndarray:
    (path,) = Path(settings.folder).glob(f"annotations/VA_Estimation_Challenge/*/{trial.trial}.txt")
    assert path.read_text().splitlines()[0] == "valence,arousal"
    return np.loadtxt(path, delimiter=",", skiprows=1)


def images(settings: DemoCorpus, trial: PlannedTrial) -> list[int]:
    return sorted(int(path.stem) for path in (Path(settings.folder) / "cropped_aligned" / trial.trial).iterdir())


def frame_times(settings: DemoCorpus, video: PlannedVideo) -> np.ndarray:
    with av.open(str(Path(settings.folder) / video.path)) as file:
        return np.array([float(frame.pts * frame.time_base) for frame in file.decode(video=0)])


def samples(settings: DemoCorpus, video: PlannedVideo) -> tuple[int, np.ndarray]:
    with av.open(str(Path(settings.folder) / video.path)) as file:
        rate = file.streams.audio[0].rate
        return rate, np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


# The plan


@given(SIZES)
@effort(max_examples=12, deadline=None)
def test_every_trouble_is_planned_once_at_any_size(settings: DemoCorpus) -> None:
    counts = Counter(trouble for video in plan(settings) for trouble in video.troubles)
    assert counts == dict.fromkeys(get_args(Trouble), 1)


@given(SIZES)
@effort(max_examples=12, deadline=None)
def test_sizes_scale_and_partitions_are_about_60_20_20(settings: DemoCorpus) -> None:
    videos = plan(settings)
    assert len(videos) == settings.videos
    assert len({video.video for video in videos}) == settings.videos
    shares = Counter(video.trials[0].partition for video in videos)
    assert shares["train"] >= 0.5 * settings.videos and shares["validation"] >= 3 and shares["test"] >= 2
    for video in videos:
        longest = settings.seconds * video.rate * 1.13
        assert video.frames <= longest and (video.frames >= settings.seconds * video.rate * 0.87 or "short_trial" in video.troubles)


@given(SIZES)
@effort(max_examples=12, deadline=None)
def test_groups_keep_a_source_together_and_never_cross_partitions(settings: DemoCorpus) -> None:
    found = trials(settings)
    assert [trial.trial for trial in found if trial.partition == "train"] == sorted(t.trial for t in found if t.partition == "train")
    partitions: dict[str, set[str]] = {}
    for trial in found:
        partitions.setdefault(trial.group, set()).add(trial.partition)
        partitions.setdefault(f"subject {trial.subject}", set()).add(trial.partition)
    assert all(len(partition) == 1 for partition in partitions.values())
    parts = [trial for trial in found if trial.group == planted(settings, "part_1").source]
    assert [trial.trial for trial in parts] == [f"{parts[0].group}-1", f"{parts[0].group}-2"]
    assert parts[0].subject == parts[1].subject


def test_a_default_video_is_longer_than_a_training_window_unless_planted_short() -> None:
    for video in plan(DemoCorpus()):
        assert (video.frames < 300) == ("short_trial" in video.troubles), video.video


@given(SIZES)
@effort(max_examples=10, deadline=None)
def test_frame_times_start_at_zero_and_rise(settings: DemoCorpus) -> None:
    for video in plan(settings):
        ticks = video.ticks(settings.seed)
        assert ticks[0] == 0 and len(ticks) == video.frames + 1 and min(np.diff(ticks)) > 0


# What is written


def test_the_plan_names_exactly_the_files_that_are_written(demo_corpus: DemoCorpus) -> None:
    folder = Path(demo_corpus.folder)
    written = {str(path) for path in folder.rglob("*") if path.is_file()}
    declared = set(files(demo_corpus))
    in_folders = {path for path in written if str(Path(path).parent) in folders(demo_corpus)}
    assert declared <= written
    assert written - declared - in_folders == {str(folder / write.MARKER)}
    for trial in trials(demo_corpus):
        assert trial.video_path and trial.video_path.is_file() and trial.faces and trial.faces.is_dir()
        assert (trial.annotation is None) == (trial.partition == "test")


def test_annotations_are_in_range_with_three_decimals(demo_corpus: DemoCorpus) -> None:
    for video in plan(demo_corpus):
        for trial in video.trials:
            if trial.partition != "test":
                values = annotation(demo_corpus, trial)
                assert values.shape == (trial.rows, 2)
                kept = values[values != -5]
                assert np.abs(kept).max() <= 1 and np.allclose(kept, kept.round(3), atol=1e-12)


def test_rows_of_minus_5_lie_at_start_middle_and_end(demo_corpus: DemoCorpus) -> None:
    def excluded(trouble: Trouble) -> tuple[np.ndarray, int]:
        rows = annotation(demo_corpus, first(demo_corpus, trouble))
        return np.flatnonzero((rows == -5).all(axis=1)), len(rows)

    start, _ = excluded("excluded_start")
    middle, rows = excluded("excluded_middle")
    end, length = excluded("excluded_end")
    assert start[0] == 0 and len(start) >= 3 and np.all(np.diff(start) == 1)
    assert middle[0] > 0 and middle[-1] < rows - 1 and len(middle) >= 3
    assert end[-1] == length - 1 and end[0] > 0


def test_one_row_has_one_minus_5(demo_corpus: DemoCorpus) -> None:
    rows = annotation(demo_corpus, first(demo_corpus, "half_excluded"))
    assert sorted((rows == -5).sum(axis=1))[-2:] == [0, 1]


def test_images_are_missing_more_and_fewer(demo_corpus: DemoCorpus) -> None:
    gaps = first(demo_corpus, "missing_images")
    assert set(range(1, gaps.rows + 1)) - set(images(demo_corpus, gaps)) == set(gaps.missing) != set()
    more, fewer = first(demo_corpus, "more_images"), first(demo_corpus, "fewer_images")
    assert images(demo_corpus, more)[-1] > len(annotation(demo_corpus, more))
    assert images(demo_corpus, fewer)[-1] < len(annotation(demo_corpus, fewer))


def test_the_template_has_a_row_more_than_the_decoder_once(demo_corpus: DemoCorpus) -> None:
    with template(demo_corpus).open() as file:
        rows = Counter(Path(row["image_location"]).parent.name for row in csv.DictReader(file))
    for video in plan(demo_corpus):
        if video.trials[0].partition == "test":
            decoded = len(frame_times(demo_corpus, video))
            assert rows[video.trials[0].trial] == decoded + ("decoder_off_by_one" in video.troubles)


def test_names_in_the_test_list_have_a_truth_of_the_template_length(demo_corpus: DemoCorpus) -> None:
    folder = Path(demo_corpus.folder)
    (names,) = folder.glob("test_set/*_release.txt")
    assert names.read_text().split() == [trial.trial for trial in trials(demo_corpus) if trial.partition == "test"]
    lines = template(demo_corpus).read_text().splitlines()
    assert lines[0] == "image_location,valence,arousal" and lines[1].endswith("/00001.jpg,,")
    for name in names.read_text().split():
        truth = np.loadtxt(folder / "truth" / f"{name}.csv", delimiter=",", skiprows=1)
        assert len(truth) == sum(line.startswith(f"{name}/") for line in lines)
        assert np.abs(truth[:, 1:]).max() <= 1


def test_pairs_share_a_video(demo_corpus: DemoCorpus) -> None:
    left_right, plain = planted(demo_corpus, "left_right_pair"), planted(demo_corpus, "plain_suffix_pair")
    assert [trial.trial for trial in left_right.trials] == [f"{left_right.video}_left", f"{left_right.video}_right"]
    assert [trial.trial for trial in plain.trials] == [plain.video, f"{plain.video}_right"]
    for video in (left_right, plain):
        assert len({trial.subject for trial in video.trials}) == 2
        assert all(images(demo_corpus, trial) for trial in video.trials)


@pytest.mark.parametrize(("trouble", "rate"), [("fps_25", 25), ("fps_29.97", 30000 / 1001), ("fps_30", 30), ("avi", 30)])
def test_constant_rates(demo_corpus: DemoCorpus, trouble: Trouble, rate: float) -> None:
    video = next(video for video in plan(demo_corpus) if trouble in video.troubles and not video.variable)
    times = frame_times(demo_corpus, video)
    assert len(times) == video.frames
    assert np.allclose(times - times[0], np.arange(video.frames) / rate, atol=2e-4)


def test_the_variable_rate_varies_as_planned(demo_corpus: DemoCorpus) -> None:
    video = planted(demo_corpus, "variable_rate")
    times = frame_times(demo_corpus, video)
    planned = np.array(video.ticks(demo_corpus.seed)[:-1]) / 90000
    assert np.allclose(times - times[0], planned, atol=2e-4)
    steps = np.diff(times)
    assert steps.max() > 1.2 * steps.min()


def test_sound_is_there_absent_or_silent(demo_corpus: DemoCorpus) -> None:
    for video in plan(demo_corpus):
        with av.open(str(Path(demo_corpus.folder) / video.path)) as file:
            assert bool(file.streams.audio) == (video.sound != "none")
        if video.sound != "none":
            rate, heard = samples(demo_corpus, video)
            seconds = video.ticks(demo_corpus.seed)[-1] / 90000
            assert abs(len(heard) / rate - seconds) < 0.15, video.video
            assert (np.abs(heard).max() < 1e-4) == (video.sound == "silence")


def test_containers_and_codecs(demo_corpus: DemoCorpus) -> None:
    for video in plan(demo_corpus):
        with av.open(str(Path(demo_corpus.folder) / video.path)) as file:
            codecs = [stream.codec_context.name for stream in file.streams]
        expected = ["mpeg4", "mp3float"] if "avi" in video.troubles else ["h264", "aac"]
        assert codecs == expected[: len(codecs)], video.path


def test_faces_are_112_pixels_and_match_the_video(demo_corpus: DemoCorpus) -> None:
    """The aligned face of the last image is found in the last frame of the video, not in the first."""
    video = planted(demo_corpus, "avi")
    trial = video.trials[0]
    with av.open(str(Path(demo_corpus.folder) / video.path)) as file:
        pictures = [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]
    image = cv2.imread(str(Path(demo_corpus.folder) / "cropped_aligned" / trial.trial / f"{trial.images:05d}.jpg"))
    assert image.shape == (112, 112, 3)
    here, there = (cv2.matchTemplate(picture, image, cv2.TM_CCOEFF_NORMED).max() for picture in (pictures[-1], pictures[0]))
    assert here > 0.9 and here > there


def test_the_record_names_every_trouble_and_nothing_of_the_folder(demo_corpus: DemoCorpus) -> None:
    text = (Path(demo_corpus.folder) / "demo.json").read_text()
    record = json.loads(text)
    assert set(record["troubles"]) == set(get_args(Trouble))
    assert record["settings"] == {"seed": demo_corpus.seed, "videos": 12, "seconds": 3.0, "noise": demo_corpus.noise}
    assert demo_corpus.folder not in text
    said = [phrase["text"] for video in record["videos"].values() for phrase in video["said"]]
    assert len(said) >= 12


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(demo_corpus: DemoCorpus, tmp_path: Path) -> None:
    write.generate(demo_corpus, tmp_path / "again", jobs=1)
    again = [str(tmp_path / "again" / Path(path).relative_to(demo_corpus.folder)) for path in files(demo_corpus)]
    for ours, theirs in zip(files(demo_corpus), again, strict=True):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes(), ours
    for ours in folders(demo_corpus):
        theirs = tmp_path / "again" / Path(ours).relative_to(demo_corpus.folder)
        names = sorted(path.name for path in Path(ours).iterdir())
        assert names == sorted(path.name for path in theirs.iterdir())
        assert filecmp.cmpfiles(ours, theirs, names, shallow=False) == (names, [], [])
    other = demo_corpus.model_copy(update={"seed": demo_corpus.seed + 1})
    assert [v.frames for v in plan(other)] != [v.frames for v in plan(demo_corpus)]


# The hidden state


@given(st.integers(0, 10**6))
@effort(max_examples=20, deadline=None)
def test_states_are_smooth_spread_and_uncorrelated(seed: int) -> None:
    times = np.arange(420) / 30
    (state,) = person.states(times, seed, "video", ["someone"])
    values = person.annotation(state)
    assert np.abs(values).max() <= 1
    assert np.abs(np.diff(values, axis=0)).max() < 0.15
    assert values.std(axis=0).min() > 0.25
    assert abs(np.corrcoef(state.valence, state.arousal)[0, 1]) < 1e-6


@given(st.integers(0, 10**6), st.sampled_from(["face", "voice", "words"]))
@effort(max_examples=20, deadline=None)
def test_a_channel_shows_the_state_itself_only_without_noise(seed: int, channel: str) -> None:
    times = np.arange(420) / 30
    (state,) = person.states(times, seed, "video", ["someone"])
    clean = person.shown(state, channel, 0.0, person.generator(seed, channel))
    noisy = person.shown(state, channel, 1.0, person.generator(seed, channel))
    assert np.allclose(clean.valence, state.valence) and np.allclose(clean.arousal, state.arousal)
    assert np.corrcoef(noisy.valence, state.valence)[0, 1] < 0.99


def test_words_follow_valence() -> None:
    draw = np.random.default_rng(0)
    for arousal, bank in ((-1.0, script.CALM), (1.0, script.INTENSE)):
        for valence, feeling in ((-1.5, "bad"), (0.0, "plain"), (1.5, "good")):
            assert all(script.phrase(valence, arousal, draw) in bank[feeling] for _ in range(20))


# Bad input


@pytest.mark.parametrize("readme", [False, True])
def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path: Path, readme: bool) -> None:
    real = tmp_path / "videos" / "batch1" / "video1.mp4"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    if readme:
        (tmp_path / write.MARKER).write_text("About this corpus")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"holds files that the demo did not write.*empty folder"):
        write.generate(DemoCorpus(videos=12, seconds=2), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before and real.read_bytes() == b"real"


def test_an_earlier_demo_is_replaced_whole(tmp_path: Path) -> None:
    write.generate(DemoCorpus(videos=13, seconds=2), tmp_path, jobs=2)
    smaller = DemoCorpus(folder=str(tmp_path), videos=12, seconds=2)
    write.generate(smaller, tmp_path, jobs=2)
    assert {str(path) for path in tmp_path.glob("cropped_aligned/*")} == set(folders(smaller))
    assert {str(path) for path in tmp_path.glob("videos/*/*")} == {str(tmp_path / video.path) for video in plan(smaller)}


def test_a_file_in_the_folder_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write.generate(DemoCorpus(videos=12, seconds=2), tmp_path / "demo")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--settings", '{"videos": 3}'], "videos: Input should be greater than or equal to 12"),
        (["--settings", '{"vidoes": 30}'], "vidoes: Extra inputs are not permitted"),
        (["--settings", "{"], "--settings: JSON"),
        (["--jobs", "0"], "at least 1 video"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["demo", "--folder", str(tmp_path / "demo"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


# The layout


def test_the_aff_wild2_finder_finds_the_planned_trials(demo_corpus: DemoCorpus) -> None:
    """The demo is in the official layout, so it can stand in for a real copy."""
    found = affwild2.trials(AffWild2Corpus(folder=demo_corpus.folder))
    planned = trials(demo_corpus)
    assert [(trial.trial, trial.video, trial.partition, trial.group) for trial in found] == [
        (trial.trial, trial.video, trial.partition, trial.group) for trial in planned
    ]
    for ours, theirs in zip(planned, found, strict=True):
        assert (theirs.video_path, theirs.faces, theirs.annotation) == (ours.video_path, ours.faces, ours.annotation)
    assert affwild2.template(AffWild2Corpus(folder=demo_corpus.folder)) == template(demo_corpus)
