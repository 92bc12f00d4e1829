"""`train`, on tiny datasets: what it writes, that equal runs give equal bytes however they are run, and that it learns."""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from abaw_pipeline import config
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation.metrics import ccc
from abaw_pipeline.models import create_model
from abaw_pipeline.training import checkpoint, train
from abaw_pipeline.training.index import Fold
from abaw_pipeline.training.instance import RESUME, Instance
from tests.training_data import write_dataset

COMPARED = ("weights.safetensors", "history.csv", "metrics.json", "validation.csv", "test.csv")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), without={"bert": [1], "logmel": [3]})


@pytest.fixture(autouse=True)
def one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone may commit between two runs that are compared."""
    monkeypatch.setattr(train, "git_commit", lambda: "commit")


def settings(modalities: tuple[str, ...] = ("bert",), network: str = "lfan", **changed: Any) -> dict[str, dict[str, Any]]:
    """Settings of a run of a second or so; `changed` training and fidelity settings by name."""
    fidelity_names = ("normalisation", "padding", "warmup", "scope", "frozen_batchnorm", "data_seed_mode")
    fidelity = {name.removesuffix("_mode"): changed.pop(name) for name in fidelity_names if name in changed}
    model = {
        "network": network,
        "modalities": modalities,
        "visual": changed.pop("visual", "ir_small"),
        "audio": "vgg_small",
        "pretrained": False,
        "tcn_width": 0.125,
    }
    training = {"window": 16, "hop": 12, "crop": 8, "batch_size": 4, "epochs": 3, "learning_rate": 2e-3, "warmup_epochs": 1}
    return {"model": model, "training": training | {"precision": "float32"} | changed, "fidelity": fidelity}


def run(index: Path, output: Path, chosen: dict, *, seeds: tuple[int, ...] = (0,), emotion: str = "valence", **options: Any) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    train.add_arguments(parser)
    arguments = ["--threads", "1", "--index", str(index), "--model", "tiny", "--emotion", emotion, "--fold", "0"]
    arguments += ["--seeds", *map(str, seeds), "--output", str(output), "--settings", json.dumps(chosen), "--device", "cpu"]
    for name, value in options.items():
        arguments += [f"--{name}", str(value)]
    train.main(parser.parse_args(arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in COMPARED}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_outputs(index: Path, tmp_path: Path) -> None:
    run(index, tmp_path, settings(("video", "logmel", "bert")), seeds=(0, 4))
    for seed in (0, 4):
        folder = tmp_path / f"seed{seed}"
        assert {path.name for path in folder.iterdir()} == {*COMPARED, "timing.json", "tensorboard"}
        metrics = json.loads((folder / "metrics.json").read_text())
        history = rows(folder / "history.csv")
        assert [int(line["epoch"]) for line in history] == [0, 1, 2]
        best = max(range(3), key=lambda epoch: float(history[epoch]["validation_ccc"]))
        assert (metrics["seed"], metrics["best_epoch"], metrics["epochs"]) == (seed, best, 3)
        assert len(json.loads((folder / metrics["timing"]).read_text())["epoch_seconds"]) == 3
        validation = rows(folder / "validation.csv")
        assert list(validation[0]) == ["trial", "frame", "valence", "valence_label"]
        assert [line["trial"] for line in validation] == ["trial2"] * 60 + ["trial3"] * 33
        assert [int(line["frame"]) for line in validation[:60]] == list(range(60))
        reached = ccc([float(line["valence"]) for line in validation], [float(line["valence_label"]) for line in validation])
        assert metrics["validation"]["valence"]["ccc"] == reached
        assert reached == pytest.approx(float(history[best]["validation_ccc"]), abs=1e-5)
        test = rows(folder / "test.csv")
        assert list(test[0]) == ["trial", "frame", "valence"]
        assert len(test) == 50 + 40
        assert all(-1 <= float(line["valence"]) <= 1 for line in test)
        assert metrics["warnings"]
    assert contents(tmp_path / "seed0")["weights.safetensors"] != contents(tmp_path / "seed4")["weights.safetensors"]


def test_the_weights_file_says_how_to_build_its_network(index: Path, tmp_path: Path) -> None:
    run(index, tmp_path, settings(("bert", "logmel"), epochs=1))
    path = tmp_path / "seed0" / "weights.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["network"])
    network = create_model(about.pop("name"), about.pop("modalities"), **about)
    network.load_state_dict(load_file(path))


def test_kept_frame_numbers_are_written(tmp_path: Path) -> None:
    run(write_dataset(tmp_path, gap=7), tmp_path / "runs", settings(epochs=1))
    frames = [int(line["frame"]) for line in rows(tmp_path / "runs/seed0/validation.csv")][:60]
    assert frames == [*range(30), *range(37, 67)]


def test_equal_runs_give_equal_bytes_whatever_the_number_of_workers(index: Path, tmp_path: Path) -> None:
    chosen = settings(("video", "bert"))
    for name, workers in (("first", 0), ("second", 0), ("workers", 2)):
        run(index, tmp_path / name, chosen, workers=workers)
    assert contents(tmp_path / "first/seed0") == contents(tmp_path / "second/seed0") == contents(tmp_path / "workers/seed0")


@pytest.mark.parametrize("data_seed_mode", ["shared", "tied"])
def test_instances_side_by_side_equal_their_single_runs(index: Path, tmp_path: Path, data_seed_mode: str) -> None:
    chosen = settings(("video", "bert"), "can", epochs=4, early_stopping=1, data_seed_mode=data_seed_mode)
    run(index, tmp_path / "together", chosen, seeds=(0, 1, 2))
    for seed in (0, 2):
        run(index, tmp_path / "single", chosen, seeds=(seed,))
        single, together = (load_file(tmp_path / kind / f"seed{seed}/weights.safetensors") for kind in ("single", "together"))
        for name in single:
            torch.testing.assert_close(together[name], single[name], rtol=1e-5, atol=1e-6)
        single_history, together_history = (rows(tmp_path / kind / f"seed{seed}/history.csv") for kind in ("single", "together"))
        assert len(single_history) == len(together_history)
        for mine, other in zip(single_history, together_history, strict=True):
            np.testing.assert_allclose([float(v) for v in mine.values()], [float(v) for v in other.values()], rtol=1e-4, atol=1e-6)


class Interruption(Exception):
    pass


def break_off(monkeypatch: pytest.MonkeyPatch, after: int, *arguments: Any, **options: Any) -> None:
    """Run until so many resume states are saved."""
    saved = []
    save = Instance.save

    def save_and_stop(instance: Instance) -> None:
        save(instance)
        saved.append(instance.seed)
        if len(saved) == after:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(Instance, "save", save_and_stop)
        with pytest.raises(Interruption):
            run(*arguments, **options)


@pytest.mark.parametrize(
    ("after", "said"),
    [(1, "seed 0: starting anew with the others"), (2, "seed 1: resumed after epoch 1"), (5, "seed 0: resumed after epoch 2")],
)
def test_an_interrupted_run_ends_with_the_same_bytes(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: int, said: str
) -> None:
    chosen = settings(("video", "bert"))
    run(index, tmp_path / "whole", chosen, seeds=(0, 1))
    break_off(monkeypatch, after, index, tmp_path / "broken", chosen, seeds=(0, 1))
    capsys.readouterr()
    run(index, tmp_path / "broken", chosen, seeds=(0, 1))
    assert said in capsys.readouterr().err
    for seed in (0, 1):
        assert contents(tmp_path / f"broken/seed{seed}") == contents(tmp_path / f"whole/seed{seed}")
        assert not (tmp_path / f"broken/seed{seed}" / RESUME).exists()


def test_instances_far_apart_go_on_each_from_its_own(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings()
    run(index, tmp_path / "whole", chosen, seeds=(0, 1))
    break_off(monkeypatch, 2, index, tmp_path / "broken", chosen, seeds=(0,))
    capsys.readouterr()
    run(index, tmp_path / "broken", chosen, seeds=(0, 1))
    assert "seed 0: resumed after epoch 2" in capsys.readouterr().err, "a seed that joins late takes nothing from the others"
    for seed in (0, 1):
        assert contents(tmp_path / f"broken/seed{seed}") == contents(tmp_path / f"whole/seed{seed}")


def test_an_instance_that_cannot_go_back_goes_on_and_says_so(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_off(monkeypatch, 5, index, tmp_path, settings(), seeds=(0, 1))
    checkpoint.path_of(tmp_path / "seed0" / RESUME, epoch=2).unlink()
    capsys.readouterr()
    run(index, tmp_path, settings(), seeds=(0, 1))
    said = capsys.readouterr().err
    assert "seed 0: cannot go back to where the others are" in said
    assert "seed 0: resumed after epoch 3" in said and "seed 1: resumed after epoch 2" in said


@pytest.fixture
def one_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """IR-50 with its 24 units, most of them narrow, and the same weights in every instance, as pretrained ones are."""
    monkeypatch.setattr("abaw_pipeline.models.ir50.STAGES", ((64, 19), (64, 2), (64, 2), (512, 1)))
    create = train.build

    def with_one_trunk(about: dict[str, Any], pretrained: bool) -> torch.nn.Module:
        network = create(about, pretrained)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(9)
            for parameter in network.encoders["video"].backbone.parameters():
                parameter.normal_(0, 0.05)
        return network

    monkeypatch.setattr(train, "build", with_one_trunk)


@pytest.mark.parametrize("after", [1, 3])
def test_instances_that_share_a_trunk_outlive_an_interruption_between_their_saves(
    one_trunk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    # Rows of padding go through a shared trunk, not through one network alone; from pictures of 16 on, that shows in the last digits.
    index = write_dataset(tmp_path, lengths=(9, 16, 16, 9, 16, 9), size=20)
    chosen = settings(("video",), "can", visual="ir50", crop=16)
    run(index, tmp_path / "whole", chosen, seeds=(0, 1))
    break_off(monkeypatch, after, index, tmp_path / "broken", chosen, seeds=(0, 1))
    run(index, tmp_path / "broken", chosen, seeds=(0, 1))
    for seed in (0, 1):
        assert contents(tmp_path / f"broken/seed{seed}") == contents(tmp_path / f"whole/seed{seed}")


def test_instances_that_share_a_trunk_equal_their_single_runs(one_trunk: None, tmp_path: Path) -> None:
    index = write_dataset(tmp_path, lengths=(9, 16, 16, 9, 16, 9))
    chosen = settings(("video",), "can", visual="ir50")
    run(index, tmp_path / "together", chosen, seeds=(0, 1))
    run(index, tmp_path / "single", chosen, seeds=(1,))
    single, together = (load_file(tmp_path / kind / "seed1/weights.safetensors") for kind in ("single", "together"))
    for name in single:
        torch.testing.assert_close(together[name], single[name], rtol=1e-4, atol=1e-5)


def stop_after_training(monkeypatch: pytest.MonkeyPatch, index: Path, output: Path, chosen: dict) -> None:
    """Run to the end of training, before the outputs are written."""

    def stop(*_: object) -> None:
        raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(train.outputs, "write_weights", stop)
        with pytest.raises(Interruption):
            run(index, output, chosen)


def test_a_truncated_checkpoint_falls_back_and_ends_with_the_same_bytes(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings()
    run(index, tmp_path / "whole", chosen)
    stop_after_training(monkeypatch, index, tmp_path / "broken", chosen)
    latest = checkpoint.path_of(tmp_path / "broken/seed0" / RESUME, epoch=3)
    latest.write_bytes(latest.read_bytes()[:1000])
    run(index, tmp_path / "broken", chosen)
    said = capsys.readouterr().err
    assert "damaged" in said
    assert "resumed after epoch 2" in said
    assert contents(tmp_path / "broken/seed0") == contents(tmp_path / "whole/seed0")


def test_other_settings_start_anew_and_say_so(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after_training(monkeypatch, index, tmp_path, settings())
    run(index, tmp_path, settings(weight_decay=0.01, epochs=1))
    assert "starting anew" in capsys.readouterr().err
    assert len(rows(tmp_path / "seed0/history.csv")) == 1


def test_both_targets_in_one_network(index: Path, tmp_path: Path) -> None:
    run(index, tmp_path, settings(epochs=2), emotion="both")
    columns = list(rows(tmp_path / "seed0/validation.csv")[0])
    assert columns == ["trial", "frame", "valence", "arousal", "valence_label", "arousal_label"]
    metrics = json.loads((tmp_path / "seed0/metrics.json").read_text())
    line = rows(tmp_path / "seed0/history.csv")[metrics["best_epoch"]]
    for target in ("valence", "arousal"):
        assert metrics["validation"][target]["ccc"] == pytest.approx(float(line[f"validation_ccc_{target}"]), abs=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"normalisation": "partition"},
        {"padding": "unmasked"},
        {"warmup": "ramped", "warmup_epochs": 2},
        {"data_seed_mode": "tied", "data_seed": 7},
        {"precision": "bf16"},
        {"batch_size": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_switch_works_and_matters(tmp_path: Path, changed: dict[str, Any]) -> None:
    index = write_dataset(tmp_path, lengths=(14, 45, 60, 9, 50, 40), without={"bert": [1]})
    for name, chosen in (("default", settings(("video", "bert"), epochs=2)), ("changed", settings(("video", "bert"), epochs=2, **changed))):
        run(index, tmp_path / name, chosen, seeds=(1,))
    histories = [rows(tmp_path / name / "seed1/history.csv") for name in ("default", "changed")]
    assert all(np.isfinite(float(line["train_loss"])) for history in histories for line in history)
    assert [line["validation_ccc"] for line in histories[0]] != [line["validation_ccc"] for line in histories[1]]


def test_groups_are_released_with_a_new_optimizer_and_best_weights(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = (("encoders.bert.tcn.blocks.0",), ("encoders.bert.tcn.blocks.1",), ())

    def freeze(model: torch.nn.Module) -> None:
        model.encoders["bert"].tcn.requires_grad_(False)

    monkeypatch.setattr("abaw_pipeline.training.instance.release_groups", lambda model: groups)
    monkeypatch.setattr("abaw_pipeline.training.instance.freeze_trunks", freeze)
    changed = {"epochs": 12, "warmup_epochs": 0, "early_stopping": 1, "patience": 9, "learning_rate": 0.05}
    chosen = settings(**changed)
    run(index, tmp_path / "whole", chosen)
    history = rows(tmp_path / "whole/seed0/history.csv")
    assert [int(line["released"]) for line in history if int(line["released"])] == [2, 3]
    steps = [int(line["group"]) for line in history]
    assert steps == sorted(steps)
    assert set(steps) == {1, 2, 3}
    assert all((line["best"] == "1") != (line["reloaded"] == "1") for line in history)

    run(index, tmp_path / "scope", settings(**changed, scope="run"))
    assert {line["group"] for line in rows(tmp_path / "scope/seed0/history.csv")} == {"1"}

    # Resumed right after a release, the same groups train on.
    record = train.outputs.Events.add

    def stop_at_release(events: Any, line: dict[str, Any]) -> None:
        record(events, line)
        if line["group"] == 2:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(train.outputs.Events, "add", stop_at_release)
        with pytest.raises(Interruption):
            run(index, tmp_path / "broken", chosen)
    run(index, tmp_path / "broken", chosen)
    assert contents(tmp_path / "broken/seed0") == contents(tmp_path / "whole/seed0")


def test_statistics_of_frozen_layers_rest_or_follow_the_batches_and_outlive_an_interruption(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abaw_pipeline.training.instance.release_groups", lambda model: ((), ("encoders.video.backbone",)))
    weights = {}
    for choice in ("frozen", "updated"):
        chosen = settings(("video",), frozen_batchnorm=choice)
        run(index, tmp_path / choice, chosen)
        assert {line["group"] for line in rows(tmp_path / choice / "seed0/history.csv")} == {"1"}, "the backbone stays frozen"
        weights[choice] = load_file(tmp_path / choice / "seed0/weights.safetensors")
        break_off(monkeypatch, 1, index, tmp_path / f"{choice}_broken", chosen)
        run(index, tmp_path / f"{choice}_broken", chosen)
        assert contents(tmp_path / f"{choice}_broken/seed0") == contents(tmp_path / f"{choice}/seed0")
    trunk = [name for name in weights["frozen"] if name.startswith("encoders.video.backbone.")]
    means = [name for name in trunk if name.endswith("running_mean")]
    assert means and not any(weights["frozen"][name].any() for name in means), "as they were when training began"
    assert all(weights["updated"][name].any() for name in means)
    learned = [name for name in trunk if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.equal(weights["frozen"][name], weights["updated"][name]) for name in learned), "weights are frozen either way"


@pytest.mark.parametrize(
    ("visual", "pretrained", "said"),
    [
        ("ir50", False, r"ir50 starts from random weights \(pretrained: false\), and \d\d% of them stay random"),
        ("timm/resnet18", True, r"timm/resnet18 starts from random weights \(the registry has no weights for it\), and \d% of them"),
        ("ir_small", False, r"ir_small is trained from scratch \(pretrained: false\)"),
    ],
)
def test_a_trunk_that_stays_random_is_told(visual: str, pretrained: bool, said: str) -> None:
    if visual.startswith("timm"):
        pytest.importorskip("timm")
    model = config.Model(network="can", modalities=("video",), visual=visual, pretrained=pretrained)
    network = create_model("can", ["video"], visual=visual)
    (warning,) = train.find_warnings(Fold(train=(), validation=(), test=()), model, config.Training(), 99, network)
    assert re.search(said, warning)


def test_a_loss_that_is_no_number_stops_with_the_batchs_trials(tmp_path: Path) -> None:
    index = write_dataset(tmp_path)
    with h5py.File(tmp_path / "trial1.h5", "r+") as file:
        file["words"][0] = np.nan
    with pytest.raises(InputError, match=r"seed 0, epoch 0, batch \d: the loss is not a number. Trials in this batch:.* trial1"):
        run(index, tmp_path / "runs", settings())
    assert not list((tmp_path / "runs").rglob("metrics.json"))


def test_it_learns_what_is_in_the_data_and_nothing_else(tmp_path: Path) -> None:
    index = write_dataset(tmp_path, lengths=(120,) * 12)
    run(index, tmp_path / "runs", settings(("video",), epochs=8))
    metrics = json.loads((tmp_path / "runs/seed0/metrics.json").read_text())
    assert metrics["validation"]["valence"]["ccc"] > 0.6
    run(
        write_dataset(tmp_path / "blind", lengths=(120,) * 12, without={"video": range(12)}),
        tmp_path / "blind/runs",
        settings(("video",), epochs=8),
    )
    blind = json.loads((tmp_path / "blind/runs/seed0/metrics.json").read_text())
    assert blind["validation"]["valence"]["ccc"] < 0.4


def test_how_many_processes_load_ahead() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [train.choose_workers(wanted, gpu) for wanted in ("auto", 0, "3")] == [2, 0, 3]
    assert train.choose_workers("auto", cpu) == 0
    with pytest.raises(InputError, match="--workers: expected a number from 0 on, or auto, not 'many'"):
        train.choose_workers("many", gpu)


def test_wrong_settings_are_one_clear_error(index: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--settings"):
        run(index, tmp_path, {"training": {}})
    with pytest.raises(InputError, match=r"training\.crop is 40, but the stored pictures are 12"):
        run(index, tmp_path, settings(("video",), crop=40))
    with pytest.raises(InputError, match="no fold"):
        parser = argparse.ArgumentParser()
        parser.add_argument("--threads", type=int)
        train.add_arguments(parser)
        options = ["--index", str(index), "--model", "m", "--emotion", "valence", "--fold", "9", "--seeds", "0", "--output", str(tmp_path)]
        train.main(parser.parse_args([*options, "--settings", json.dumps(settings())]))


def test_progress_lines_hold_ccc_rate_and_time_left(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, tmp_path, settings(epochs=2))
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch 1/2" in line]
    assert len(lines) == 1
    assert re.search(r"CCC -?\d\.\d{3} training -?\d\.\d{3} validation .*; \d+\.\d s, \d+\.\d windows/s; at most \d\d:\d\d left$", lines[0])
