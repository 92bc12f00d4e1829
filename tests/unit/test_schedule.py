"""The fine-tuning schedule: the authors' traces, the report's description, and what must hold for any run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.training.schedule import FineTuningSchedule

BATCHES = 4


def run(schedule: FineTuningSchedule, ccc_of_epoch) -> list[dict]:
    """Drive a schedule to its end; one record per epoch."""
    epochs = []
    while not schedule.finished:
        rates = [schedule.learning_rate(batch, BATCHES) for batch in range(BATCHES)]
        epoch, group = schedule.epoch, schedule.group
        decision = schedule.end_epoch(ccc_of_epoch(epoch))
        epochs.append({"epoch": epoch, "group": group, "rates": rates, "decision": decision})
    return epochs


@pytest.mark.parametrize("name", ["rise_then_flat", "flat_long_patience_stop50"])
def test_authors_traces_are_reproduced_exactly(reference: Path, name: str) -> None:
    trace = json.loads((reference / "schedule_traces.json").read_text())[name]
    given_settings = trace["settings"]
    schedule = FineTuningSchedule(
        groups=3,
        epochs=given_settings["max_epoch"],
        learning_rate=given_settings["lr"],
        min_learning_rate=given_settings["min_lr"],
        warmup_epochs=given_settings["warmup_epochs"],
        patience=given_settings["patience"],
        factor=given_settings["factor"],
        early_stopping=given_settings["early_stopping"],
        warmup="ramped",
        scope="run",
    )
    epochs = run(schedule, lambda epoch: trace["val_ccc"][epoch])
    assert [epoch["rates"] for epoch in epochs] == [epoch["batch_lr"] for epoch in trace["epochs"]]
    assert [epoch["group"] for epoch in epochs] == [epoch["released"] for epoch in trace["epochs"]]
    assert schedule.best_epoch == trace["best_epoch"]
    # Best weights are loaded at the first release, after every epoch, again at every release, and at the end.
    reloads = [-1]
    for epoch in epochs:
        decision = epoch["decision"]
        reloads += [epoch["epoch"]] * (decision.reload_best + (decision.release is not None) + decision.end)
    assert reloads == trace["reload_best_before_or_after_epoch"]


def test_default_warmup_climbs_from_zero_towards_the_full_rate_in_every_warmup_epoch() -> None:
    epochs = run(FineTuningSchedule(), lambda epoch: 0.2)
    for epoch in epochs[:5]:
        assert epoch["rates"] == pytest.approx([0.0, 2.5e-6, 5e-6, 7.5e-6])
    assert epochs[5]["rates"] == [1e-5] * BATCHES


def test_with_the_reports_early_stopping_all_three_groups_are_released() -> None:
    epochs = run(FineTuningSchedule(early_stopping=20), lambda epoch: 0.2)
    assert [epoch["decision"].release for epoch in epochs if epoch["decision"].release] == [2, 3]
    # Each group: 5 warm-up epochs, one more, then 20 without gain.
    assert [epoch["epoch"] for epoch in epochs if epoch["decision"].release] == [25, 51]
    assert len(epochs) == 78


def test_counted_over_the_run_the_reports_early_stopping_never_releases_a_second_group() -> None:
    epochs = run(FineTuningSchedule(early_stopping=20, scope="run"), lambda epoch: 0.2)
    assert {epoch["group"] for epoch in epochs} == {1}


def test_rate_drops_at_the_sixth_epoch_without_gain() -> None:
    epochs = run(FineTuningSchedule(), lambda epoch: min(epoch, 8) / 10)
    first_lower = next(epoch["epoch"] for epoch in epochs if epoch["epoch"] > 5 and epoch["rates"][0] < 1e-5)
    assert first_lower == 8 + 6 + 1


def test_one_group_ends_by_early_stopping() -> None:
    epochs = run(FineTuningSchedule(groups=1, early_stopping=4, warmup_epochs=1), lambda epoch: 0.1)
    assert epochs[-1]["decision"].end
    assert epochs[-1]["decision"].release is None
    assert len(epochs) == 1 + 1 + 4


def test_without_warmup_the_first_batch_has_the_full_rate() -> None:
    assert FineTuningSchedule(warmup_epochs=0, learning_rate=0.01).learning_rate(0, 7) == 0.01


def test_nan_is_never_better() -> None:
    schedule = FineTuningSchedule()
    assert not schedule.end_epoch(float("nan")).better
    assert schedule.end_epoch(-0.5).better


def test_an_ended_run_takes_no_more_epochs() -> None:
    schedule = FineTuningSchedule(epochs=1)
    schedule.end_epoch(0.0)
    with pytest.raises(ValueError, match="ended"):
        schedule.end_epoch(0.1)


curves = st.lists(st.floats(-1, 1), min_size=100, max_size=100)
settings = st.fixed_dictionaries(
    {
        "groups": st.integers(1, 3),
        "epochs": st.integers(1, 100),
        "warmup_epochs": st.integers(0, 6),
        "patience": st.integers(0, 6),
        "early_stopping": st.integers(1, 30),
        "warmup": st.sampled_from(["per_epoch", "ramped"]),
        "scope": st.sampled_from(["group", "run"]),
    }
)


@given(curves, settings)
def test_every_run_ends_in_time_and_keeps_its_best(curve: list[float], chosen: dict) -> None:
    epochs = run(FineTuningSchedule(**chosen), curve.__getitem__)
    assert 1 <= len(epochs) <= chosen["epochs"]
    assert all(0 <= rate <= 1e-5 for epoch in epochs for rate in epoch["rates"])
    groups = [epoch["group"] for epoch in epochs]
    assert groups == sorted(groups)
    assert groups[-1] <= chosen["groups"]
    seen = curve[: len(epochs)]
    assert [epoch["epoch"] for epoch in epochs if epoch["decision"].better][-1] == seen.index(max(seen))


@given(curves, settings, st.integers(0, 99))
def test_a_schedule_restored_from_json_goes_on_exactly(curve: list[float], chosen: dict, interruption: int) -> None:
    whole = FineTuningSchedule(**chosen)
    broken = FineTuningSchedule(**chosen)
    while not whole.finished:
        if broken.epoch == interruption:
            broken = FineTuningSchedule.from_dict(json.loads(json.dumps(broken.to_dict())))
        assert [broken.learning_rate(b, 3) for b in range(3)] == [whole.learning_rate(b, 3) for b in range(3)]
        assert broken.end_epoch(curve[broken.epoch]) == whole.end_epoch(curve[whole.epoch])
