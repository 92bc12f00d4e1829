"""Submission files are the template's rows filled in, checked before they are zipped, and repairs are counted."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.__main__ import main
from abaw_pipeline.config import Submission, as_json
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import metrics, postprocess, submission
from abaw_pipeline.evaluation.validate import read_template, validate
from tests.unit.synthetic_results import make_results
from tests.unit.test_select import run_select


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = make_results(tmp_path)
    assert run_select(folder) == 0
    return folder


def submit(results: Path, template: str = "", truth: bool = False, **settings: object) -> int:
    paths = {"selection": "selection.json", "runs": "runs", "index": "dataset/index.json", "output": "submission"}
    arguments = [item for name, path in paths.items() for item in (f"--{name}", str(results / path))]
    arguments += ["--template", template or str(results.parent / "template.txt")]
    arguments += ["--settings", as_json(Submission.model_validate(settings))]
    return main(["submit", *arguments, *(["--truth", str(results.parent / "truth")] if truth else [])])


def table(results: Path) -> list[dict[str, str]]:
    with (results / "submission" / "repairs.csv").open() as file:
        return list(csv.DictReader(file))


def test_files_are_valid_zipped_and_mapped(results: Path) -> None:
    assert submit(results) == 0
    folder, template = results / "submission", results.parent / "template.txt"
    with zipfile.ZipFile(folder / "submission.zip") as archive:
        assert archive.namelist() == ["1.txt", "2.txt", "3.txt", "4.txt"]
        assert archive.read("2.txt") == (folder / "2.txt").read_bytes()
    for path in folder.glob("*.txt"):
        assert validate(path, template) == []
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping["files"]["2.txt"]["members"][0]["instance"].startswith("lfan/valence/fold0/")
    assert {row["padded"] for row in table(results)} == {row["trimmed"] for row in table(results)} == {"0"}
    assert len(table(results)) == 4 * 3


def test_frame_zero_is_image_one(results: Path) -> None:
    assert submit(results) == 0
    chosen = json.loads((results / "selection.json").read_text())["submissions"][0]["members"]["valence"][0]["instance"]
    test = pd.read_csv(results / "runs" / chosen / "test.csv")
    first = (results / "submission" / "1.txt").read_text().splitlines()[1].split(",")
    assert first[0] == "video11/00001.jpg"
    assert float(first[1]) == pytest.approx(test.loc[(test.trial == "video11") & (test.frame == 0), "valence"].item(), abs=5e-7)


def test_the_same_inputs_give_the_same_bytes(results: Path) -> None:
    archives = []
    for _ in range(2):
        assert submit(results, truth=True) == 0
        archives.append([path.read_bytes() for path in sorted((results / "submission").iterdir())])
    assert archives[0] == archives[1] and len(archives[0]) == 4 + 4


def test_padding_and_trimming_follow_the_template_and_are_counted(results: Path) -> None:
    template = results.parent / "template.txt"
    lines = template.read_text().splitlines()
    rows = sum(line.startswith("video13/") for line in lines)
    lines = [line for line in lines if line != "video11/00170.jpg,," and not line.startswith("video12/")]
    template.write_text("\n".join([*lines, f"video13/{rows + 1:05d}.jpg,,", f"video13/{rows + 2:05d}.jpg,,"]) + "\n")
    assert submit(results) == 0
    counted = {row["trial"]: row for row in table(results) if row["file"] == "1.txt"}
    assert (counted["video11"]["padded"], counted["video11"]["trimmed"]) == ("0", "1")
    assert (counted["video12"]["trimmed"], counted["video12"]["note"]) == ("180", "not in the template")
    assert (counted["video13"]["padded"], counted["video13"]["template_rows"]) == ("2", str(rows + 2))
    last = [line.split(",", 1)[1] for line in (results / "submission" / "1.txt").read_text().splitlines()[-3:]]
    assert len(set(last)) == 1


def test_values_that_calibration_puts_beyond_the_range_are_clipped_and_counted(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(results) == 0
    assert {row["clipped"] for row in table(results)} == {"0"}
    for path in (results / "runs" / "can" / "valence").rglob("test.csv"):
        predicted = pd.read_csv(path)
        predicted.loc[predicted.trial == "video12", "valence"] = [1.5] * 3 + [-1.01] + [1.0] * 176
        predicted.to_csv(path, index=False)
    assert submit(results) == 0
    counted = {(row["file"], row["trial"]): row["clipped"] for row in table(results)}
    assert {key for key, number in counted.items() if number != "0"} == {("1.txt", "video12"), ("3.txt", "video12"), ("4.txt", "video12")}
    assert counted["1.txt", "video12"] == "4"
    written = pd.read_csv(results / "submission" / "1.txt")
    assert written["valence"].max() == 1 and written["valence"].min() == -1
    assert "12 values beyond [-1, 1] were clipped (repairs.csv)" in capsys.readouterr().err


def test_a_template_trial_without_predictions_is_an_error_and_nothing_is_zipped(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(results) == 0
    with (results.parent / "template.txt").open("a") as file:
        file.write("stranger/00001.jpg,,\n")
    assert submit(results) == 2
    assert "1 trials without predictions: stranger" in capsys.readouterr().err
    assert list((results / "submission").iterdir()) == []


@pytest.mark.parametrize(("old", "new", "words"), [("video11,3,", "video11,4,", "frame 3 is absent"), (None, "nan", "not finite")])
def test_bad_predictions_are_refused(results: Path, capsys: pytest.CaptureFixture[str], old: str | None, new: str, words: str) -> None:
    for path in (results / "runs").rglob("test.csv"):
        lines = path.read_text().splitlines()
        lines = [line.replace(old, new) for line in lines] if old else [*lines[:-1], lines[-1].rsplit(",", 1)[0] + "," + new]
        path.write_text("\n".join(lines) + "\n")
    assert submit(results) == 2
    assert words in capsys.readouterr().err
    assert not (results / "submission" / "submission.zip").exists()


def test_an_invalid_file_is_never_left_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not validate.*\n.*1 problem"):
        submission.write_valid(tmp_path / "1.txt", "image_location,valence,arousal\na/00001.jpg,0.5,2\n", ["a/00001.jpg"])
    assert list(tmp_path.iterdir()) == []


def test_without_a_template_the_predicted_rows_are_submitted(results: Path) -> None:
    assert submit(results, template="none") == 0
    expected = read_template(results.parent / "template.txt")
    lines = (results / "submission" / "1.txt").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == expected


def test_a_corpus_without_test_trials_has_nothing_to_submit(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (results / "runs").rglob("test.csv"):
        path.write_text(path.read_text().splitlines()[0] + "\n")
    assert submit(results, template="none") == 2
    assert "no test trial" in capsys.readouterr().err


def test_the_demo_scores_itself_against_the_truth(results: Path) -> None:
    assert submit(results, truth=True) == 0
    scores = json.loads((results / "submission" / "scores.json").read_text())
    assert set(scores) == {"1.txt", "2.txt", "3.txt", "4.txt"}
    rows = pd.read_csv(results / "submission" / "1.txt")
    truth = pd.concat([pd.read_csv(path) for path in sorted((results.parent / "truth").glob("*.csv"))])
    assert scores["1.txt"]["valence"] == pytest.approx(metrics.ccc(rows["valence"], truth["valence"]), abs=1e-6)
    assert scores["1.txt"]["mean"] == pytest.approx((scores["1.txt"]["valence"] + scores["1.txt"]["arousal"]) / 2, abs=1e-6)
    assert scores["1.txt"]["rows"] == len(truth) and set(scores["1.txt"]["per_trial"]) == {"video11", "video12", "video13"}


def test_mean_over_folds_is_the_weighted_mean_of_its_members(results: Path) -> None:
    wish = Submission(rule="mean_over_folds", weighted=True)
    selection = json.loads((results / "selection.json").read_text())
    from abaw_pipeline.evaluation.instances import read_instances
    from abaw_pipeline.evaluation.select import entries

    selection["submissions"], _ = entries(read_instances(results / "runs"), wish)
    (results / "selection.json").write_text(json.dumps(selection))
    assert submit(results, rule="mean_over_folds", weighted=True) == 0
    members = selection["submissions"][0]["members"]["arousal"]
    tests = [pd.read_csv(results / "runs" / member["instance"] / "test.csv")["arousal"] for member in members]
    expected = sum(member["weight"] * test for member, test in zip(members, tests, strict=True))
    np.testing.assert_allclose(pd.read_csv(results / "submission" / "1.txt")["arousal"], expected, atol=1e-6)


def test_post_processing_is_off_by_default_and_recorded_when_on(results: Path) -> None:
    assert submit(results) == 0
    plain = pd.read_csv(results / "submission" / "1.txt")
    record = json.loads((results / "submission" / "mapping.json").read_text())["files"]["1.txt"]["members"][0]
    assert record["post_processing"] == {}
    assert submit(results, smoothing=0.5, calibrate=True) == 0
    changed = pd.read_csv(results / "submission" / "1.txt")
    record = json.loads((results / "submission" / "mapping.json").read_text())["files"]["1.txt"]["members"][0]["post_processing"]
    assert record["validation_ccc_after"] >= record["validation_ccc_before"] and record["smoothing_seconds"] == 0.5
    assert not np.allclose(plain["valence"], changed["valence"])
    assert changed["valence"].between(-1, 1).all()


def test_values_are_clipped_and_zero_has_no_sign() -> None:
    text = submission.render(["a/00001.jpg", "a/00002.jpg"], np.array([-1e-9, 1.2]), np.array([0.123456789, -3.0]))
    assert text.splitlines()[1:] == ["a/00001.jpg,0.000000,0.123457", "a/00002.jpg,1.000000,-1.000000"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_repairs_balance(template_rows: list[int], predicted: list[int]) -> None:
    places = [(f"t{trial}", frame) for trial, rows in enumerate(template_rows) for frame in range(rows)]
    series = {f"t{trial}": np.arange(rows, dtype=float) for trial, rows in enumerate(predicted)}
    filled = submission.fill(places, series)
    assert filled.tolist() == [min(frame, predicted[int(trial[1:])] - 1) for trial, frame in places]
    for row in submission.repairs(places, {trial: values.size for trial, values in series.items()}, {}):
        assert row["template_rows"] == row["predicted_rows"] + row["padded"] - row["trimmed"]
        assert min(row["padded"], row["trimmed"]) == 0


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.floats(0.01, 3))
def test_smoothing_keeps_constants_and_stays_within_the_values(values: list[float], deviation: float) -> None:
    x = np.array(values)
    seconds = np.cumsum(np.full(x.size, 1 / 30))
    smoothed = postprocess.smooth(x, seconds, deviation)
    assert smoothed.min() >= x.min() - 1e-9 and smoothed.max() <= x.max() + 1e-9
    np.testing.assert_allclose(postprocess.smooth(np.full(x.size, 0.3), seconds, deviation), 0.3)
    np.testing.assert_array_equal(postprocess.smooth(x, seconds, 0.0), x)


def test_smoothing_follows_time_not_rows() -> None:
    impulse = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    near = postprocess.smooth(impulse, np.array([0.0, 0.9, 1.0, 2.0, 3.0]), 0.1)
    assert near[1] > 0.3 and near[3] < 1e-6
    with pytest.raises(ValueError, match="increase"):
        postprocess.smooth(impulse, np.zeros(5), 0.1)


def test_calibration_raises_ccc_to_the_correlation() -> None:
    generator = np.random.default_rng(1)
    target = generator.standard_normal(500) * 0.3
    prediction = 0.2 * target + 0.05 * generator.standard_normal(500) + 0.4
    fitted = postprocess.apply(prediction, postprocess.fit(prediction, target))
    assert metrics.ccc(fitted, target) == pytest.approx(metrics.pcc(prediction, target))
    assert postprocess.fit(np.zeros(500), target) == postprocess.Calibration()
    assert postprocess.fit(-prediction, target) == postprocess.Calibration()
