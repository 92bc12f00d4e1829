"""Folds: the official partition first, near-equal blocks, nobody on both sides."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from abaw_pipeline.corpus.folds import assign_folds, find_leaks, shared_with_test, training_blocks
from abaw_pipeline.corpus.trials import Partition, Trial
from abaw_pipeline.errors import InputError


def trial(name: str, partition: Partition = "train", group: str = "") -> Trial:
    return Trial(trial=name, video=name, partition=partition, group=group or name)


def corpus(train: list[Trial], validation: int = 3, test: int = 2) -> list[Trial]:
    others = [trial(f"v{n}", "validation") for n in range(validation)] + [trial(f"t{n}", "test") for n in range(test)]
    return train + others


@pytest.mark.parametrize("grouped", [False, True])
def test_the_authors_folds_are_reproduced(reference, grouped):
    """With every trial its own group the grouped cut is theirs too."""
    theirs = json.loads((reference / "folds.json").read_text())
    names = [f"n{number:03d}" for number in range(594)]
    partitions: list[Partition] = ["train"] * 356 + ["validation"] * 76 + ["test"] * 162
    folds = assign_folds([trial(name, part) for name, part in zip(names, partitions, strict=True)], 6, grouped=grouped)
    assert len(folds) == 6
    blocks = [names[start:stop] for start, stop in theirs["blocks"]]
    for fold in folds:
        wanted = theirs["folds"][str(fold.fold)]
        assert list(fold.validation) == blocks[wanted["validate_block"]]
        assert list(fold.train) == [name for block in wanted["train_blocks"] for name in blocks[block]]


def test_grouping_off_splits_parts_of_one_video_as_the_authors_do():
    train = [trial(f"a{n}", group="same") for n in range(4)]
    folds = assign_folds(corpus(train), 3, grouped=False)
    assert find_leaks(corpus(train), folds) != []
    with pytest.raises(InputError, match=r"1 groups of training trials cannot fill 2 blocks"):
        assign_folds(corpus(train), 3)


def test_order_in_the_list_does_not_matter():
    trials = corpus([trial(f"n{n}", group=f"g{n // 2}") for n in range(12)])
    assert assign_folds(trials, 4) == assign_folds(trials[::-1], 4)


names = st.lists(st.integers(0, 300), unique=True, min_size=1, max_size=60)


@st.composite
def grouped_trials(draw: st.DrawFn) -> list[Trial]:
    """Training trials with groups that need not be neighbours in name order."""
    return [trial(f"{number:03d}", group=f"g{draw(st.integers(0, 25))}") for number in draw(names)]


@given(grouped_trials(), st.integers(2, 7))
def test_folds_partition_the_trials_and_share_no_group(train, number):
    assume(len({item.group for item in train}) >= number - 1)
    trials = corpus(train)
    folds = assign_folds(trials, number)
    everyone = {item.trial for item in trials if item.partition != "test"}
    group = {item.trial: item.group for item in trials}
    assert [fold.fold for fold in folds] == list(range(number))
    assert Counter(name for fold in folds for name in fold.validation) == Counter(everyone), "each is validated on once"
    for fold in folds:
        assert set(fold.train) | set(fold.validation) == everyone
        assert len(fold.train) + len(fold.validation) == len(everyone)
        assert not {group[name] for name in fold.train} & {group[name] for name in fold.validation}
        assert fold.validation
    assert set(folds[0].validation) == {item.trial for item in trials if item.partition == "validation"}
    assert find_leaks(trials, folds) == []


@given(grouped_trials(), st.integers(1, 6))
def test_blocks_are_near_equal(train, number):
    groups = Counter(item.group for item in train)
    largest = max(groups.values())
    assume(largest < len(train) // number)
    blocks = training_blocks(train, number)
    for block in blocks:
        assert abs(len(block) - len(train) / number) < largest + 1


@given(names, st.integers(1, 6))
def test_without_grouping_sizes_differ_by_one_and_names_stay_in_order(numbers, number):
    assume(len(numbers) >= number)
    train = [trial(f"{n:03d}") for n in numbers]
    blocks = training_blocks(train, number, grouped=False)
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
    assert [name for block in blocks for name in block] == sorted(item.trial for item in train)


def test_a_group_on_both_sides_of_the_official_partition_stops_the_run():
    trials = [trial("a-1", group="a"), trial("b"), trial("a-2", "validation", "a")]
    with pytest.raises(InputError, match="a-1 in training, a-2 in validation") as raised:
        assign_folds(trials, 2)
    assert "folds.grouped: false" in str(raised.value)
    assert assign_folds(trials, 2, grouped=False)[0].validation == ("a-2",)


def test_groups_shared_with_the_test_set_are_told():
    trials = [trial("a-1", group="a"), trial("b"), trial("a-2", "test", "a"), trial("v", "validation")]
    assert shared_with_test(trials) == ["a: a-1 (train), a-2 (test)"]
    assert len(assign_folds(trials, 2)) == 2


def test_impossible_folds_are_refused():
    with pytest.raises(InputError, match=r"no trial is for training.*snakemake --cores 8 dataset audit"):
        assign_folds([trial("t", "test")], 2)
    with pytest.raises(InputError, match="no validation trials"):
        assign_folds([trial("a"), trial("b")], 2)
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(corpus([trial("a")]), 1)
    with pytest.raises(InputError, match="at most 3"):
        assign_folds(corpus([trial("a"), trial("b")]), 6)
