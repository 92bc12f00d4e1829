"""Every instance is accounted for; the choice follows the stated rules, whatever is missing or broken."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.__main__ import main
from abaw_pipeline.config import Submission, as_json
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import select
from abaw_pipeline.evaluation.instances import Instance, expected_instances, read_instances
from tests.unit.synthetic_results import make_results


def instance(model: str, emotion: str, fold: int, seed: int, *ccc: float, status: str = "ok") -> Instance:
    targets = ("valence", "arousal") if emotion == "both" else (emotion,)
    return Instance(model=model, emotion=emotion, fold=fold, seed=seed, status=status, ccc=dict(zip(targets, ccc, strict=bool(ccc))))


def folds(model: str, values: dict[int, tuple[float, float]]) -> list[Instance]:
    pairs = [(emotion, place) for place, emotion in enumerate(("valence", "arousal"))]
    return [instance(model, emotion, fold, 0, ccc[place]) for fold, ccc in values.items() for emotion, place in pairs]


PAPER_CAN = {0: (0.423, 0.670), 1: (0.612, 0.680), 2: (0.484, 0.592), 3: (0.529, 0.618), 4: (0.543, 0.655), 5: (0.488, 0.610)}
PAPER = [*folds("can", PAPER_CAN), *folds("lfan", {0: (0.441, 0.645)})]


def test_the_reports_rule_gives_the_reports_five_submissions() -> None:
    entries, said = select.entries(PAPER, Submission())
    assert [entry["title"] for entry in entries] == ["can fold 0", "lfan fold 0", "can fold 1", "can fold 4", "can fold 3"]
    assert [entry["file"] for entry in entries] == ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"]
    assert entries[0]["validation"] == {"valence": 0.423, "arousal": 0.670, "mean": pytest.approx(0.5465)}
    assert said == "5 submissions"


def test_fewer_folds_give_fewer_submissions_and_say_so() -> None:
    three = [item for item in PAPER if item.fold < 3]
    entries, said = select.entries(three, Submission())
    assert [entry["title"] for entry in entries] == ["can fold 0", "lfan fold 0", "can fold 1", "can fold 2"]
    assert "4 submissions instead of 5" in said


def test_a_fold_0_that_was_not_to_be_trained_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_results(tmp_path, seeds=1)
    expected = json.loads((results / "runs/expected.json").read_text())["instances"]
    (results / "runs/expected.json").write_text(json.dumps({"instances": [item for item in expected if item["fold"]]}))
    assert run_select(results) == 0
    choice = json.loads((results / "selection.json").read_text())
    assert [entry["title"] for entry in choice["submissions"]] == ["can fold 1", "can fold 2"]
    assert choice["number"].startswith("2 submissions instead of 5")
    said = capsys.readouterr().err
    for text in (
        "fold 0 of can was not to be trained (folds.run, models.can.folds), so only its other folds are submitted",
        "fold 0 of lfan was not to be trained (folds.run, models.lfan.folds), so none of its folds is submitted",
    ):
        assert sum(text in warning for warning in choice["warnings"]) == 1
        assert f"warning: submission.rule report: {text}" in said
    assert select.untrained(PAPER[2:], Submission(rule="best_n")) == select.untrained(PAPER, Submission()) == []


def test_best_n_ranks_folds_of_all_models() -> None:
    entries, _ = select.entries(PAPER, Submission(rule="best_n", number=2))
    assert [entry["title"] for entry in entries] == ["can fold 1", "can fold 4"]


@pytest.mark.parametrize("weighted", [False, True])
def test_mean_over_folds_averages_each_models_chosen_instances(weighted: bool) -> None:
    entries, _ = select.entries(PAPER, Submission(rule="mean_over_folds", weighted=weighted))
    assert [entry["title"] for entry in entries] == ["can mean of 6 folds", "lfan mean of 1 folds"]
    weights = {member["instance"]: member["weight"] for member in entries[0]["members"]["valence"]}
    assert sum(weights.values()) == pytest.approx(1)
    ratio = weights["can/valence/fold1/seed0"] / weights["can/valence/fold0/seed0"]
    assert ratio == pytest.approx(0.612 / 0.423 if weighted else 1)


def test_a_list_mixes_instances_and_names_its_mistakes() -> None:
    wish = Submission(rule="list", entries=({"valence": "lfan/fold0", "arousal": "can/fold1/seed0"},))
    (entry,), _ = select.entries(PAPER, wish)
    assert entry["members"]["valence"][0]["instance"] == "lfan/valence/fold0/seed0"
    assert entry["title"] == "lfan fold 0 + can fold 1"
    for bad, words in (
        ({"valence": "can/fold0"}, "give valence and arousal"),
        ({"valence": "can/fold0/seed9", "arousal": "can/fold0"}, "entry 1, valence.*not configured"),
        ({"valence": "can-fold0", "arousal": "can/fold0"}, "not like can/fold0/seed3"),
    ):
        with pytest.raises(InputError, match=words):
            select.entries(PAPER, Submission(rule="list", entries=(bad,)))


def test_ties_go_to_the_lower_seed_and_bad_instances_never_win() -> None:
    instances = [
        instance("can", "valence", 0, 0, 0.9, status="incomplete"),
        instance("can", "valence", 0, 1, math.nan),
        instance("can", "valence", 0, 2, 0.5),
        instance("can", "valence", 0, 3, 0.5),
    ]
    assert [item.seed for item in select.rank(instances)["can", "valence", 0]] == [2, 3]


@given(st.permutations(PAPER))
def test_the_choice_does_not_depend_on_the_order_of_a_models_instances(shuffled: list[Instance]) -> None:
    models = sorted(shuffled, key=lambda item: item.model)
    assert select.entries(models, Submission()) == select.entries(PAPER, Submission())


def test_one_network_for_both_emotions_provides_both() -> None:
    instances = [instance("can", "both", 0, 0, 0.2, 0.8), instance("can", "both", 0, 1, 0.6, 0.5)]
    (entry,), _ = select.entries(instances, Submission())
    assert {target: members[0]["instance"] for target, members in entry["members"].items()} == {
        "valence": "can/both/fold0/seed1",
        "arousal": "can/both/fold0/seed1",
    }


def test_a_fold_with_one_emotion_is_not_submitted() -> None:
    with pytest.raises(InputError, match="nothing to submit"):
        select.entries([instance("can", "valence", 0, 0, 0.5)], Submission())


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path)


def run_select(results: Path) -> int:
    options = {"runs": "runs", "index": "dataset/index.json", "expected": "runs/expected.json"}
    arguments = [item for name, path in options.items() for item in (f"--{name}", str(results / path))]
    outputs = ["--output-csv", str(results / "selection.csv"), "--output-json", str(results / "selection.json")]
    return main(["select", *arguments, *outputs, "--settings", as_json(Submission())])


def test_missing_and_broken_instances_are_listed_with_their_status(results: Path) -> None:
    runs = results / "runs"
    (runs / "can/valence/fold0/seed0/metrics.json").unlink()
    (runs / "can/valence/fold1/seed0/metrics.json").write_text("{")
    broken = runs / "can/arousal/fold2/seed0/metrics.json"
    broken.write_text(json.dumps(json.loads(broken.read_text()) | {"validation": {"arousal": {"ccc": None}}}))
    (runs / "lfan/arousal/fold2/seed1/test.csv").unlink()
    (runs / "old/valence/fold0/seed0").mkdir(parents=True)
    assert run_select(results) == 0
    with (results / "selection.csv").open() as file:
        rows = {f"{row['model']}/{row['emotion']}/{row['fold']}/{row['seed']}": row for row in csv.DictReader(file)}
    assert len(rows) == 2 * 2 * 3 * 2 + 1
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        "can/valence/0/0": "missing",
        "can/valence/1/0": "failed",
        "can/arousal/2/0": "failed",
        "lfan/arousal/2/1": "incomplete",
        "old/valence/0/0": "unexpected",
    }
    assert not any(int(row["chosen"]) for row in rows.values() if row["status"] != "ok")
    choice = json.loads((results / "selection.json").read_text())
    assert choice["instances"] == {"ok": 20, "missing": 1, "failed": 2, "incomplete": 1, "unexpected": 1}
    assert sum("can/valence/fold0/seed0: missing" in warning for warning in choice["warnings"]) == 1
    assert choice["submissions"][0]["members"]["valence"][0]["instance"] == "can/valence/fold0/seed1"


def test_instances_of_another_dataset_are_pointed_out(results: Path) -> None:
    index = results / "dataset" / "index.json"
    index.write_text(index.read_text() + "\n")
    assert run_select(results) == 0
    assert any("another dataset index" in warning for warning in json.loads((results / "selection.json").read_text())["warnings"])


def test_the_same_runs_give_the_same_bytes(results: Path) -> None:
    contents = []
    for _ in range(2):
        assert run_select(results) == 0
        contents.append([(results / name).read_bytes() for name in ("selection.csv", "selection.json")])
    assert contents[0] == contents[1]


def test_when_nothing_can_be_submitted_the_table_is_still_written(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (results / "runs").rglob("metrics.json"):
        path.unlink()
    assert run_select(results) == 2
    assert "nothing to submit" in capsys.readouterr().err
    assert (results / "selection.csv").read_text().count("missing") == 24
    assert not (results / "selection.json").exists()


def test_expected_instances_are_checked() -> None:
    with pytest.raises(InputError, match="each needs model, emotion, fold and seed"):
        expected_instances([{"model": "can"}])
    item = {"model": "can", "emotion": "valence", "fold": 0, "seed": 0}
    with pytest.raises(InputError, match="twice"):
        expected_instances([item, item])


def test_without_a_list_whatever_lies_there_is_read(results: Path) -> None:
    assert len(read_instances(results / "runs")) == 24
