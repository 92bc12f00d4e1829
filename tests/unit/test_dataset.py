"""The dataset stage: each row's picture, label, sound and word are those of its own frame, and what was repaired is counted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline import dataset
from abaw_pipeline.corpus.template import read_template
from abaw_pipeline.dataset import fit_starts, fit_times, rows_of
from abaw_pipeline.errors import InputError
from abaw_pipeline.store import TrialData, check_trial, read_trial
from tests.corpus_making import make_dataset, make_parts, number_of

FRAMES = 30
RATE = 25
BLANK = (-5.0, -5.0)


def label_of(frame: int) -> tuple[float, float]:
    return round(frame / 100, 2), round(-frame / 100, 2)


def planted(*excluded: int) -> list[tuple[float, float]]:
    """Labels that tell their frame, -5 where excluded."""
    return [BLANK if frame in excluded else label_of(frame) for frame in range(FRAMES)]


def times(count: int = FRAMES) -> list[float]:
    return [frame / RATE for frame in range(count)]


def shown(path: Path) -> list[int | None]:
    """The number that each row's picture shows."""
    with h5py.File(path) as file:
        return [number_of(file["frames"][frame]) for frame in file["frame"][()]]


TROUBLES = {
    "nothing excluded": ((), range(FRAMES)),
    "-5 at the start": ((0, 1, 2), range(FRAMES)),
    "-5 in the middle": ((10, 11, 12, 20), range(FRAMES)),
    "-5 at the end": ((27, 28, 29), range(FRAMES)),
    "-5 everywhere in between": ((0, 5, 6, 7, 15, 29), range(FRAMES)),
    "missing images": ((), [frame for frame in range(FRAMES) if frame not in (0, 3, 4, 17, 29)]),
    "missing images and -5": ((3, 4, 5), [frame for frame in range(FRAMES) if frame not in (4, 9, 10)]),
    "more images than rows": ((8,), range(FRAMES + 20)),
    "fewer images than rows": ((8,), range(FRAMES - 6)),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_kept_row_shows_its_own_number(tmp_path, trouble):
    excluded, images = TROUBLES[trouble]
    words = [(0.1, 0.5), (0.9, 1.1)]
    parts = make_parts(tmp_path, "numbers", planted(*excluded), times=times(), images=images, words=words)
    path = make_dataset(parts, tmp_path / "dataset" / "numbers.h5")
    data = read_trial(path)
    kept = [frame for frame in range(FRAMES) if frame not in excluded]
    assert data.rows.tolist() == kept == data.frame.tolist()
    assert shown(path) == [frame if frame in images else None for frame in kept]
    assert data.logmel_start.tolist() == [100 // RATE * frame for frame in kept]
    spoken = [next((word for word, (start, end) in enumerate(words) if start < frame / RATE <= end), -1) for frame in kept]
    assert data.word.tolist() == spoken
    assert data.label is not None
    np.testing.assert_allclose(data.label, [label_of(frame) for frame in kept], atol=1e-6)
    assert check_trial(path) == []


def test_report_rows_slide_the_pictures_against_the_labels(tmp_path):
    values = planted(10, 11, 12)
    values[20] = (-5.0, 0.5)
    parts = make_parts(tmp_path, "slide", values, times=times(), images=sorted({*range(FRAMES)} - {10}), words=[(0.79, 0.81)])
    path = make_dataset(parts, tmp_path / "dataset" / "slide.h5", rows="report")
    data = read_trial(path)
    kept = [frame for frame in range(FRAMES) if frame not in (10, 11, 12)]
    assert data.rows.tolist() == kept, "a row goes only when both values are -5"
    assert shown(path) == [None if row == 10 else row for row in range(len(kept))], "image j goes with kept row j"
    assert (data.audit["missing_faces"], data.audit["missing_faces_kept"]) == (1, 1), "though frame 10 is excluded, its picture is shown"
    assert data.audit["slid_rows"] == 17
    assert data.audit["single_minus5"] == 1
    assert data.rows[data.word >= 0].tolist() == [20], "sound and words do not slide"
    assert data.logmel_start[-1] == 4 * (FRAMES - 1)
    assert check_trial(path) == []


def test_kept_rows_drop_a_single_minus_five(tmp_path):
    values = planted()
    values[20] = (-5.0, 0.5)
    data = written(tmp_path, values=values)
    assert 20 not in data.rows
    assert data.audit["single_minus5"] == 1
    assert data.audit["excluded"] == 1


def written(folder: Path, values: list[tuple[float, float]] | None = None, **changed: object) -> TrialData:
    given = {"times": times(), "images": range(FRAMES)} | changed
    window = str(given.pop("window", "ahead"))
    parts = make_parts(folder, "one", planted() if values is None else values, **given)  # type: ignore[arg-type]
    return read_trial(make_dataset(parts, folder / "dataset" / "one.h5", window=window))


def test_sound_starts_follow_the_presentation_times(tmp_path):
    irregular = np.cumsum([0.0] + [0.02, 0.05, 0.033] * 9 + [0.04, 0.2]).tolist()
    data = written(tmp_path, times=irregular)
    np.testing.assert_array_equal(data.logmel_start, np.round(100 * np.array(irregular)))
    np.testing.assert_allclose(data.time, irregular)


def test_sound_that_ends_early_repeats_its_last_window_and_says_so(tmp_path):
    data = written(tmp_path, sound_seconds=0.5)
    last = len(data.logmel) - 96
    expected = np.minimum(np.arange(FRAMES) * 4, last)
    np.testing.assert_array_equal(data.logmel_start, expected)
    assert data.audit["logmel_rows_repeated"] == (np.arange(FRAMES) * 4 > last).sum() > 0


def test_windows_before_the_sound_are_moved_and_counted(tmp_path):
    data = written(tmp_path, window="past")
    assert data.logmel_start[0] == 0
    assert data.audit["logmel_rows_repeated"] == 24, "rows before 0.96 s; that at 0.96 s has a full window"


def test_without_sound_there_is_no_window(tmp_path):
    data = written(tmp_path, sound_seconds=0.0)
    assert len(data.logmel) == 0
    assert set(data.logmel_start) == {-1}
    assert data.audit["sound_track"] is False


def test_words_span_start_exclusive_to_end_inclusive(tmp_path):
    data = written(tmp_path, words=[(0.04, 0.12), (0.20, 0.28)])
    assert data.word[:9].tolist() == [-1, -1, 0, 0, -1, -1, 1, 1, -1]
    assert data.audit["word_coverage"] == pytest.approx(4 / FRAMES, abs=1e-6)
    assert data.word_text == ["word0", "word1"]


def test_a_trial_without_video_has_pictures_only_and_an_assumed_rate(tmp_path):
    parts = make_parts(tmp_path, "pictures", planted(3), times=times(), images=range(FRAMES))
    without = parts | dict.fromkeys(("record", "logmel", "features"))
    make_dataset(parts, tmp_path / "dataset" / "pictures.h5")
    output = tmp_path / "dataset" / "pictures.h5"
    dataset.main(argparse.Namespace(**without | {"timestamps": None}, output=output, settings="{}"))
    data = read_trial(output)
    np.testing.assert_allclose(data.time, np.arange(FRAMES) / 30)
    assert (len(data.logmel), set(data.logmel_start), len(data.words), set(data.word)) == (0, {-1}, 0, {-1})
    assert (data.audit["times_assumed"], data.audit["sound_track"], data.audit["decoder_frames"]) == (FRAMES, False, None)
    assert check_trial(output) == []
    with pytest.raises(InputError, match="or none of them"):
        dataset.main(argparse.Namespace(**without, output=output, settings="{}"))


def test_fewer_times_than_rows_are_continued_and_counted(tmp_path):
    data = written(tmp_path, times=times(FRAMES - 3))
    np.testing.assert_allclose(data.time, times())
    assert (data.audit["times_extrapolated"], data.audit["times_trimmed"]) == (3, 0)


def test_more_times_than_rows_are_trimmed_and_counted(tmp_path):
    data = written(tmp_path, times=times(FRAMES + 2))
    assert len(data.time) == FRAMES
    assert (data.audit["times_extrapolated"], data.audit["times_trimmed"]) == (0, 2)
    assert data.audit["decoder_frames"] == FRAMES + 2


def test_a_test_trial_has_the_length_of_its_template(tmp_path):
    parts = make_parts(tmp_path, "hidden", None, times=times(), images=range(FRAMES))
    parts["template"] = tmp_path / "template.txt"
    parts["template"].write_text("image_location,valence,arousal\n" + "".join(f"hidden/{n:05d}.jpg,,\n" for n in range(1, FRAMES + 2)))
    data = read_trial(make_dataset(parts, tmp_path / "dataset" / "hidden.h5"))
    assert data.label is None
    assert len(data.rows) == len(read_template(parts["template"])["hidden"]) == FRAMES + 1
    assert data.audit["times_extrapolated"] == 1
    assert data.audit["missing_faces"] == 1


def test_a_test_trial_without_template_has_the_decoders_length(tmp_path):
    parts = make_parts(tmp_path, "hidden", None, times=times(), images=range(FRAMES))
    data = read_trial(make_dataset(parts, tmp_path / "dataset" / "hidden.h5"))
    assert len(data.rows) == FRAMES
    assert data.audit["template_rows"] is None


def test_counts_of_excluded_rows_and_gaps(tmp_path):
    audit = written(tmp_path, planted(0, 1, 10, 11, 15, 29), images=range(1, 33)).audit
    counted = {name: audit[name] for name in ("excluded", "excluded_start", "excluded_inner", "excluded_end", "inner_gaps")}
    assert counted == {"excluded": 6, "excluded_start": 2, "excluded_inner": 3, "excluded_end": 1, "inner_gaps": 2}
    assert (audit["images"], audit["surplus_images"], audit["missing_faces"], audit["missing_faces_kept"]) == (32, 3, 1, 0)


def test_a_corrupt_image_counts_as_no_face_and_is_named(tmp_path):
    parts = make_parts(tmp_path, "broken", planted(), times=times(), images=range(FRAMES))
    image = parts["faces"] / "00008.jpg"
    image.write_bytes(image.read_bytes()[:200])
    path = make_dataset(parts, tmp_path / "dataset" / "broken.h5")
    audit = read_trial(path).audit
    assert (audit["corrupt_images"], audit["corrupt_names"], audit["missing_faces"]) == (1, ["00008.jpg"], 1)
    assert shown(path)[7] is None


def test_the_same_input_gives_the_same_bytes(tmp_path):
    parts = make_parts(tmp_path, "again", planted(4), times=times(), images=range(FRAMES), words=[(0.1, 0.3)])
    first = make_dataset(parts, tmp_path / "dataset" / "again.h5").read_bytes()
    assert make_dataset(parts, tmp_path / "dataset" / "again.h5").read_bytes() == first


def test_words_are_stored_once_and_frames_are_linked(tmp_path):
    parts = make_parts(tmp_path, "small", planted(), times=times(), images=range(FRAMES), words=[(0.0, 0.6), (0.6, 1.2)])
    path = make_dataset(parts, tmp_path / "dataset" / "small.h5")
    with h5py.File(path) as file:
        assert file["words"].shape[0] == 2
        assert isinstance(file.get("frames", getlink=True), h5py.ExternalLink)
        assert not Path(file.get("frames", getlink=True).filename).is_absolute()
    assert path.stat().st_size < FRAMES * 48 * 48 * 3


def test_no_row_left_is_an_error_and_writes_nothing(tmp_path):
    parts = make_parts(tmp_path, "blank", [BLANK] * FRAMES, times=times(), images=range(FRAMES))
    with pytest.raises(InputError, match="no annotated row is left"):
        make_dataset(parts, tmp_path / "dataset" / "blank.h5")
    assert not (tmp_path / "dataset").exists()


def test_frames_of_another_length_are_an_error(tmp_path):
    parts = make_parts(tmp_path, "stale", planted(), times=times(), images=range(FRAMES))
    make_dataset(parts, tmp_path / "dataset" / "stale.h5")
    with h5py.File(parts["frames"], "a") as file:
        del file["face_present"]
        file["face_present"] = np.ones(FRAMES - 1, bool)
    args = {**parts, "output": tmp_path / "dataset" / "stale.h5", "settings": "{}"}
    with pytest.raises(InputError, match="run the frames stage again"):
        dataset.main(argparse.Namespace(**args))


def test_what_the_container_lacks_hides_or_has_damaged_is_counted(tmp_path):
    parts = make_parts(tmp_path, "one", planted(), times=times(), images=range(3))
    with h5py.File(parts["timestamps"], "a") as file:
        file.attrs.update({"rate_assumed": True, "hidden_pictures": 2})
    record = json.loads(parts["record"].read_text())
    parts["record"].write_text(json.dumps(record | {"decoder_messages": 3}))
    audit = read_trial(make_dataset(parts, tmp_path / "dataset" / "one.h5")).audit
    assert (audit["times_assumed"], audit["hidden_pictures"], audit["decoder_messages"]) == (FRAMES, 2, 3)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("timestamps", b"no hdf5", "timestamps stage again"),
        ("logmel", b"no hdf5", "logmel stage again"),
        ("features", b"no hdf5", "embed stage again"),
        ("record", b"{}", "wav stage"),
        ("record", json.dumps([1]).encode(), "wav stage"),
    ],
)
def test_a_broken_part_is_named_with_the_stage_to_run(tmp_path, part, content, message):
    parts = make_parts(tmp_path, "one", planted(), times=times(), images=range(3))
    make_dataset(parts, tmp_path / "dataset" / "one.h5")
    parts[part].write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        dataset.main(argparse.Namespace(**parts, output=tmp_path / "dataset" / "two.h5", settings="{}"))
    assert str(parts[part]) in str(raised.value)
    assert not (tmp_path / "dataset" / "two.h5").exists()


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60).filter(any))
def test_excluded_rows_add_up(keep):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_text("valence,arousal\n" + "".join("0,0\n" if kept else "-5,-5\n" for kept in keep))
        rows = rows_of(path, None, "a", len(keep), "kept")
    audit = rows.audit
    assert rows.kept.tolist() == [frame for frame, kept in enumerate(keep) if kept]
    assert audit["excluded_start"] + audit["excluded_inner"] + audit["excluded_end"] == audit["excluded"] == keep.count(False)
    assert audit["inner_gaps"] == sum(1 for gap in "".join("x" if kept else " " for kept in keep).strip().split("x")[1:-1] if gap)


@given(st.lists(st.floats(0.001, 0.2), min_size=2, max_size=40), st.integers(1, 80))
def test_fitted_times_have_the_length_and_keep_what_is_known(steps, frames):
    known = np.cumsum(steps)
    fitted, counts = fit_times(known, frames)
    shared = min(frames, len(known))
    assert len(fitted) == frames
    np.testing.assert_array_equal(fitted[:shared], known[:shared])
    assert (np.diff(fitted) > 0).all()
    assert counts == {"times_extrapolated": max(0, frames - len(known)), "times_trimmed": max(0, len(known) - frames)}


@given(st.lists(st.integers(-100, 400), min_size=1), st.integers(96, 300))
def test_fitted_starts_are_full_windows_and_moved_as_little_as_possible(starts, rows):
    wanted = np.array(starts, np.int32)
    fitted, moved = fit_starts(wanted, rows)
    assert ((fitted >= 0) & (fitted + 96 <= rows)).all()
    inside = (wanted >= 0) & (wanted + 96 <= rows)
    np.testing.assert_array_equal(fitted[inside], wanted[inside])
    assert moved == (~inside).sum()
