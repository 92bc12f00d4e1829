"""Runs are compared on the same rows and the same resampled trials."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation import ablation, metrics
from abaw_pipeline.evaluation.compare import compare, sides
from abaw_pipeline.evaluation.results import Results
from tests.unit.synthetic_results import make_results


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("compare")) / "runs"


def test_models_are_compared_per_emotion_and_fold_and_together(runs: Path) -> None:
    rows = {(row.place, row.target): row for row in compare(runs / "can", runs / "lfan", 300)}
    assert len(rows) == 2 * 3 + 2
    together = rows["all together", "valence"]
    assert together.trials == 11 and together.low <= together.difference <= together.high
    one = rows["valence/fold0", "valence"]
    table = pd.read_csv(sides(runs / "can")["valence/fold0"].folder / "validation.csv")
    assert one.a == pytest.approx(metrics.ccc(table["valence"], table["valence_label"]))
    assert one.difference == pytest.approx(one.a - one.b) and one.rows == len(table)


def test_swapping_the_runs_swaps_the_answer(runs: Path) -> None:
    for one, other in zip(compare(runs / "can", runs / "lfan", 300), compare(runs / "lfan", runs / "can", 300), strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.probability == pytest.approx(1 - other.probability)


def test_results_folders_and_single_seeds_can_be_given(runs: Path) -> None:
    assert {row.difference for row in compare(runs.parent, runs.parent, 50)} == {0.0}
    (row,) = compare(runs / "can/valence/fold0/seed0", runs / "can/valence/fold0/seed1", 50)
    assert (row.seeds_a, row.seeds_b) == (1, 1)


def test_different_labels_or_folds_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "can/valence/fold0/seed0", tmp_path / "seed0")
    path = tmp_path / "seed0" / "validation.csv"
    table = pd.read_csv(path)
    table.assign(valence_label=table["valence_label"] + 0.01).to_csv(path, index=False)
    with pytest.raises(InputError, match="different labels"):
        compare(runs / "can/valence/fold0/seed0", tmp_path / "seed0", 50)
    with pytest.raises(InputError, match="share no validation row"):
        compare(runs / "can/valence/fold0/seed0", runs / "can/valence/fold1/seed0", 50)
    with pytest.raises(InputError, match="nothing in common"):
        compare(runs / "can/valence", runs / "can/arousal/fold0", 50)
    with pytest.raises(InputError, match="no trained instance"):
        compare(tmp_path / "seed0" / "..", runs.parent / "dataset", 50)


def test_the_command_prints_a_table_or_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", str(runs / "can"), str(runs / "lfan"), "--resamples", "50"]
    assert main(arguments) == 0
    assert "P(A better)" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    assert {row["target"] for row in json.loads(capsys.readouterr().out)} == {"valence", "arousal"}


def test_ablation_scores_the_mean_over_seeds_and_pairs_differences(runs: Path, tmp_path: Path) -> None:
    rows = {(row.model, row.target): row for row in ablation.ablate(Results(runs.parent), "can", 200)}
    per_seed = []
    for seed in range(2):
        tables = [pd.read_csv(runs / f"can/valence/fold{fold}/seed{seed}/validation.csv") for fold in range(3)]
        table = pd.concat(tables)
        per_seed.append(metrics.ccc(table["valence"], table["valence_label"]))
    assert rows["can", "valence"].ccc == pytest.approx(sum(per_seed) / 2)
    assert math.isnan(rows["can", "valence"].difference)
    lfan = rows["lfan", "valence"]
    assert lfan.difference == pytest.approx(lfan.ccc - rows["can", "valence"].ccc)
    assert lfan.difference_low <= lfan.difference <= lfan.difference_high
    assert main(["ablation", "--results", str(runs.parent), "--reference", "can", "--output", str(tmp_path), "--resamples", "50"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("ablation.csv", "ablation.md", "ablation_arousal.png", "ablation_arousal.svg", "ablation_valence.png", "ablation_valence.svg"),
    ]
    with pytest.raises(InputError, match="reference 'gone'"):
        ablation.ablate(Results(runs.parent), "gone", 10)
