"""The end of a run says where things are; the end of a failed one, what failed and how to go on."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.evaluation.results import Results
from abaw_pipeline.evaluation.summary import failures, summarise, text
from tests.unit.synthetic_results import make_results
from tests.unit.test_select import run_select
from tests.unit.test_submission import submit

LOG = """
[Mon Nov  3 06:00:00 2025]
Error in rule logmel_of_video:
    message: logmel: video7
    jobid: 12
    input: results/audio/video7.wav
    output: results/logmel/video7.h5
    log: {log} (check log file(s) for error details)
    shell:
        python -m abaw_pipeline logmel
        (command exited with non-zero exit code)
Trying to restart job 12.
Error in rule logmel_of_video:
    jobid: 12
    output: results/logmel/video7.h5
    log: {log} (check log file(s) for error details)
Shutting down, this might take some time.
    output: not a job's
"""


def test_failed_jobs_are_read_from_snakemakes_log_once(tmp_path: Path) -> None:
    (failure,) = failures(LOG.format(log=tmp_path / "video7.log"))
    assert (failure.rule, failure.output) == ("logmel_of_video", "results/logmel/video7.h5")
    assert failure.log == str(tmp_path / "video7.log")


def test_a_job_that_a_retry_mended_is_no_failure() -> None:
    inside_a_cluster_job = LOG.replace("jobid: 12", "jobid: 0")
    assert failures(inside_a_cluster_job + LOG + "Finished jobid: 12 (Rule: logmel_of_video)\n") == []
    assert len(failures(LOG + "Finished jobid: 120 (Rule: wav_of_video)\n")) == 1
    for order in (inside_a_cluster_job + LOG, LOG + inside_a_cluster_job):
        assert len(failures(order + "Finished jobid: 0 (Rule: wav_of_video)\n")) == 1, "another job, which is number 0 of this run"


def test_without_test_trials_no_submission_is_missed(tmp_path: Path) -> None:
    for test in ([], ["one"]):
        (tmp_path / "dataset").mkdir(exist_ok=True)
        (tmp_path / "dataset/index.json").write_text(json.dumps({"trials": [], "folds": [{"fold": 0}], "test": test}))
        assert ("submission (" in text(summarise(Results(tmp_path)))) == bool(test)


def test_a_failed_group_on_a_cluster_is_told_by_its_jobs(tmp_path: Path) -> None:
    block = LOG.format(log=f"{tmp_path}/video7.log, slurm/7.log").split("Trying")[0]
    log = "Error in group sound:\n" + textwrap.indent(block, "    ")
    (tmp_path / "video7.log").write_text("logmel: not a WAV file\n")
    said = text(summarise(Results(tmp_path), log))
    assert said.count("failed: ") == 1 and "logmel: not a WAV file" in said


def test_a_failed_run_shows_how_the_job_ended_and_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "video7.log").write_text("one\ntwo\nthree\nfour\nlogmel: results/audio/video7.wav: not a WAV file; delete it\n")
    said = text(summarise(Results(tmp_path), LOG.format(log=tmp_path / "video7.log")))
    assert "failed: logmel_of_video (results/logmel/video7.h5)" in said
    assert "not a WAV file" in said and "one\n" not in said
    assert "snakemake --cores 8 --rerun-incomplete submission" in said
    assert "not there yet: table of trials" in said
    command = "snakemake --rerun-incomplete --configfile mine.yaml -- training"
    assert text(summarise(Results(tmp_path)), command).endswith(f"to go on (finished jobs are kept): {command}")


def test_fewer_files_than_asked_for_and_warnings_are_told(tmp_path: Path) -> None:
    results = make_results(tmp_path, models=("can",), seeds=1)
    expected = json.loads((results / "runs/expected.json").read_text())["instances"]
    (results / "runs/expected.json").write_text(json.dumps({"instances": [item for item in expected if item["fold"]]}))
    assert run_select(results) == 0
    assert submit(results) == 0
    said = text(summarise(Results(results)))
    assert "2 submissions instead of 5" in said
    assert "warning: submission.rule report: fold 0 of can was not to be trained" in said


def test_a_dataset_without_folds_lacks_nothing_more(tmp_path: Path) -> None:
    for name in ("trials.csv", "audit.csv", "dataset/index.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"folds": []}')
    assert "not there yet" not in text(summarise(Results(tmp_path)))


def test_a_finished_run_says_where_things_are_and_what_they_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_results(tmp_path)
    assert run_select(results) == 0
    assert submit(results, truth=True) == 0
    for name in ("audit.csv", "report/index.html"):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text("x\n")
    capsys.readouterr()
    assert main(["summary", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    for name in ("submission/submission.zip", "report/index.html", "submission/scores.json"):
        assert str(results / name) in said
    assert said.count("test CCC 0.") == 4 and "to go on" not in said
