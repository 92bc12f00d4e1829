"""Cross-validation folds: the official partition first, then rotations of blocks that share nobody.

Blocks: official training trials in name order, cut into `folds - 1` contiguous blocks; the official validation trials
are the last block. Fold k validates on block `folds - 1 - k` and trains on the others, so fold 0 is the official
partition. The authors cut at i n / 5, which can put two parts of one source video into different folds.

The cut here keeps groups whole: groups are ordered by their first trial in name order, their trials put side by side,
and each cut goes to the group boundary nearest to the authors' cut i n / (folds - 1), the earlier of two. So each cut
is off by at most half a group, and a block's size strays from an even share by less than the largest group plus one, as long as the
largest group is smaller than an even share. No block is ever empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from abaw_pipeline.corpus.trials import Trial
from abaw_pipeline.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Names of the trials that one fold trains on and validates on."""

    fold: int
    train: tuple[str, ...]
    validation: tuple[str, ...]


def assign_folds(trials: Iterable[Trial], folds: int = 6, *, grouped: bool = True) -> list[Fold]:
    """The folds, 0 to `folds - 1`; test trials are left out.

    `grouped`: trials of one group (source video, subject) never straddle training and validation; raises InputError
    when the official partition itself puts a group on both sides. False reproduces the authors' cut.
    Raises InputError too when there are fewer training groups than blocks, or no validation trials.
    """
    trials = list(trials)
    if folds < 2:
        raise InputError(f"folds: {folds}; at least 2 are needed")
    blocks = training_blocks([trial for trial in trials if trial.partition == "train"], folds - 1, grouped=grouped)
    blocks.append(sorted(trial.trial for trial in trials if trial.partition == "validation"))
    if not blocks[-1]:
        raise InputError("no validation trials: fold 0 is the official partition, so some trials must be for validation")
    found = []
    for fold in range(folds):
        rotation = [(block - fold) % folds for block in range(folds - 1)]
        train = tuple(name for block in rotation for name in blocks[block])
        found.append(Fold(fold, train, tuple(blocks[folds - 1 - fold])))
    if grouped:
        leaks = find_leaks(trials, found)
        if leaks:
            raise InputError(
                "training and validation share people:\n  " + "\n  ".join(leaks) + "\nPut all trials of a group into one partition, or, "
                "if the names mislead, tell people apart by `subject` (manifest), or accept it with `folds.grouped: false`."
            )
    return found


def training_blocks(trials: Sequence[Trial], number: int, *, grouped: bool = True) -> list[list[str]]:
    """Names of the training trials, cut into `number` near-equal blocks in order."""
    ordered = sorted(trials, key=lambda trial: trial.trial)
    if grouped:
        first = {trial.group: position for position, trial in reversed(list(enumerate(ordered)))}
        ordered.sort(key=lambda trial: first[trial.group])
        sizes = [len(list(members)) for _, members in groupby(ordered, key=lambda trial: trial.group)]
    else:
        sizes = [1] * len(ordered)
    if not sizes:
        raise InputError(
            "no trial is for training, so there is nothing to train on: give trials of the partitions train and validation, with "
            "annotations. Without them `snakemake --cores 8 dataset audit` makes and counts the dataset, and no more can be done."
        )
    if len(sizes) < number:
        raise InputError(
            f"{len(sizes)} groups of training trials cannot fill {number} blocks; set `folds.number` to at most {len(sizes) + 1}"
        )
    boundaries = [0, *accumulate(sizes)]
    cuts = [0]  # as numbers of groups
    for block in range(1, number):
        ideal = block * len(ordered) // number
        candidates = range(cuts[-1] + 1, len(sizes) - (number - block) + 1)
        cuts.append(min(candidates, key=lambda cut: abs(boundaries[cut] - ideal)))
    cuts.append(len(sizes))
    names = [trial.trial for trial in ordered]
    return [names[boundaries[start] : boundaries[stop]] for start, stop in pairwise(cuts)]


def find_leaks(trials: Iterable[Trial], folds: Iterable[Fold]) -> list[str]:
    """Groups that a fold has in training and in validation, in words with their trials; empty when there is none."""
    group = {trial.trial: trial.group for trial in trials}
    leaks: dict[str, str] = {}
    for fold in folds:
        shared = {group[name] for name in fold.train} & {group[name] for name in fold.validation}
        for name in sorted(shared - leaks.keys()):
            train, validation = ([trial for trial in side if group[trial] == name] for side in (fold.train, fold.validation))
            leaks[name] = f"{name} (fold {fold.fold}): {', '.join(train)} in training, {', '.join(validation)} in validation"
    return list(leaks.values())


def shared_with_test(trials: Iterable[Trial]) -> list[str]:
    """Groups with trials in the test set and outside it, in words. The official test set is as it is, so this is told, not refused."""
    trials = list(trials)
    outside = {trial.group for trial in trials if trial.partition != "test"}
    shared = sorted({trial.group for trial in trials if trial.partition == "test"} & outside)
    return [f"{name}: {', '.join(f'{trial.trial} ({trial.partition})' for trial in trials if trial.group == name)}" for name in shared]
