"""Choose the instances to submit, and say why.

Rules, which `selection.json` repeats:

- Per model, emotion and fold the instance with the highest validation CCC stands for the fold (of two targets: their
  mean); of equals the one with the lower seed.
- An instance that is missing, failed or incomplete is listed with its status and never chosen; a CCC that is not a
  number is a failure. A fold with other instances goes on without it, with a warning.
- A fold of a model can be submitted when it has a chosen instance for valence and one for arousal (where networks for
  one emotion and for both exist, the better one on that target).
- `report`: fold 0 of the leader, fold 0 of the second model, then the leader's other folds by mean validation CCC of
  valence and arousal; of equals the lower fold. `best_n`: folds of any model by that mean. `mean_over_folds`: per model
  the average of its folds' chosen instances. `list`: as given.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from abaw_pipeline import config
from abaw_pipeline.atomic import write_json, write_text
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation.instances import TARGETS, Instance, expected_instances, read_instances

COLUMNS = (
    *("model", "emotion", "fold", "seed", "status", "valence_ccc", "arousal_ccc", "score", "rank", "chosen", "submissions"),
    *("best_epoch", "epochs", "note"),
)

Fold = tuple[str, int]
Choice = Mapping[Fold, Mapping[str, Instance]]


def rank(instances: Sequence[Instance]) -> dict[tuple[str, str, int], list[Instance]]:
    """Usable instances of each model, emotion and fold, best first; ties go to the lower seed."""
    usable = [instance for instance in instances if instance.status == "ok" and math.isfinite(instance.score)]
    ranked: dict[tuple[str, str, int], list[Instance]] = {}
    for instance in sorted(usable, key=lambda item: (-item.score, item.seed)):
        ranked.setdefault((instance.model, instance.emotion, instance.fold), []).append(instance)
    return ranked


def per_fold(instances: Sequence[Instance]) -> dict[Fold, dict[str, Instance]]:
    """For each model and fold the chosen instance of each target, in the models' order."""
    chosen: dict[Fold, dict[str, Instance]] = {}
    ranked = rank(instances)
    order = list(dict.fromkeys(item.model for item in instances))
    for model, emotion, fold in sorted(ranked, key=lambda key: (order.index(key[0]), key[2], key[1])):
        best = ranked[model, emotion, fold][0]
        for target in best.targets:
            held = chosen.setdefault((model, fold), {}).get(target)
            if held is None or best.ccc[target] > held.ccc[target]:
                chosen[model, fold][target] = best
    return chosen


def fold_score(chosen: Mapping[str, Instance]) -> float:
    """Mean validation CCC of valence and arousal of a fold's chosen instances; NaN when one is absent."""
    return fmean(chosen[target].ccc[target] if target in chosen else math.nan for target in TARGETS)


def entries(instances: Sequence[Instance], settings: config.Submission) -> tuple[list[dict[str, Any]], str]:
    """The submissions by `settings.rule`, in order, and what is to be said about their number.

    Each has per target its members (instance, weight, validation CCC), the reason, and the validation CCC.
    Raises InputError when there is nothing to submit.
    """
    choice = per_fold(instances)
    complete = {key: chosen for key, chosen in choice.items() if math.isfinite(fold_score(chosen))}
    if settings.rule == "list":
        made = [_listed(instances, choice, number, entry) for number, entry in enumerate(settings.entries, start=1)]
        if not made:
            raise InputError("submission.rule is list, but submission.entries is empty; name at least one entry")
    elif settings.rule == "mean_over_folds":
        made = _mean_over_folds(complete, settings.weighted)
    elif settings.rule == "best_n":
        made = [
            _one_fold(key, complete[key], f"fold by mean CCC of all models, place {i + 1}") for i, key in enumerate(_by_score(complete))
        ]
    else:
        made = _report_rule(complete, settings)
    if not made:
        states = ", ".join(f"{item.name}: {item.status}" for item in instances if item.status != "ok") or "none failed"
        raise InputError(f"nothing to submit: no model and fold has an instance for valence and one for arousal ({states[:500]})")
    kept = made if settings.rule == "list" else made[: settings.number]
    said = f"{len(kept)} submission{'s' if len(kept) > 1 else ''}"
    if settings.rule == "report" and len(kept) < settings.number:
        said += f" instead of {settings.number}: the trained models and folds give no more by this rule"
    elif settings.rule != "list" and len(kept) < settings.number:
        said += f" (at most {settings.number} were asked for)"
    return [{"number": number, "file": f"{number}.txt", **entry} for number, entry in enumerate(kept, start=1)], said


def _by_score(complete: Choice) -> list[Fold]:
    models = list(dict.fromkeys(model for model, _ in complete))
    return sorted(complete, key=lambda key: (-fold_score(complete[key]), models.index(key[0]), key[1]))


def _member(instance: Instance, target: str, weight: float = 1.0) -> dict[str, Any]:
    return {"instance": instance.name, "weight": weight, "ccc": instance.ccc[target]}


def _one_fold(key: Fold, chosen: Mapping[str, Instance], reason: str) -> dict[str, Any]:
    validation = {target: chosen[target].ccc[target] for target in TARGETS} | {"mean": fold_score(chosen)}
    members = {target: [_member(chosen[target], target)] for target in TARGETS}
    return {"title": f"{key[0]} fold {key[1]}", "reason": reason, "members": members, "validation": validation}


def _report_rule(complete: Choice, settings: config.Submission) -> list[dict[str, Any]]:
    made = []
    for model, what in ((settings.leader, "leader"), (settings.second, "second model")):
        if (model, 0) in complete:
            made.append(_one_fold((model, 0), complete[model, 0], f"best instances of fold 0 of the {what}, {model}"))
    others = [key for key in _by_score(complete) if key[0] == settings.leader and key[1] != 0]
    for place, key in enumerate(others, start=1):
        made.append(_one_fold(key, complete[key], f"other fold of {settings.leader} by mean CCC of valence and arousal, place {place}"))
    return made


def _mean_over_folds(complete: Choice, weighted: bool) -> list[dict[str, Any]]:
    made = []
    for model in dict.fromkeys(model for model, _ in complete):
        folds = sorted(fold for name, fold in complete if name == model)
        members = {}
        for target in TARGETS:
            chosen = [complete[model, fold][target] for fold in folds]
            weights = [max(item.ccc[target], 0.0) if weighted else 1.0 for item in chosen]
            if not sum(weights):
                weights = [1.0] * len(chosen)
            members[target] = [_member(item, target, weight / sum(weights)) for item, weight in zip(chosen, weights, strict=True)]
        # Of members, not of the average: no trial is held out from all folds.
        validation = {target: fmean(item["ccc"] for item in members[target]) for target in TARGETS}
        validation["mean"] = fmean(validation.values())
        how = "average weighted by validation CCC" if weighted else "average"
        reason = f"{how} of the chosen instances of {model} over folds {', '.join(map(str, folds))}"
        made.append({"title": f"{model} mean of {len(folds)} folds", "reason": reason, "members": members, "validation": validation})
    return sorted(made, key=lambda item: -item["validation"]["mean"])


def _listed(instances: Sequence[Instance], choice: Choice, number: int, entry: Mapping[str, str]) -> dict[str, Any]:
    if set(entry) != set(TARGETS):
        raise InputError(f"submission.entries, entry {number}: give valence and arousal, found {', '.join(entry) or 'nothing'}")
    chosen = {target: _named(instances, choice, entry[target], target, number) for target in TARGETS}
    titles = dict.fromkeys(f"{item.model} fold {item.fold}" for item in chosen.values())
    return _one_fold(("", 0), chosen, "listed in submission.entries") | {"title": " + ".join(titles)}


def _named(instances: Sequence[Instance], choice: Choice, name: str, target: str, number: int) -> Instance:
    place = f"submission.entries, entry {number}, {target}: {name!r}"
    match = config.ENTRY.fullmatch(name)
    if not match:
        raise InputError(f"{place} is not like can/fold0/seed3 (or can/fold0 for its best seed)")
    model, fold = match["model"], int(match["fold"])
    if match["seed"] is None:
        found = choice.get((model, fold), {}).get(target)
        if found is None:
            raise InputError(f"{place} has no usable instance")
        return found
    candidates = [
        item for item in instances if (item.model, item.fold, item.seed) == (model, fold, int(match["seed"])) and target in item.targets
    ]
    usable = [item for item in candidates if item.status == "ok"]
    if not usable:
        raise InputError(f"{place} cannot be used ({', '.join(item.status for item in candidates) or 'not configured'})")
    return max(usable, key=lambda item: item.ccc[target])


def warnings(instances: Sequence[Instance], index_checksum: str) -> list[str]:
    """What a reader of the selection must know: absent instances, folds without any, instances of other data."""
    said = [f"{item.name}: {item.status} ({item.note})" for item in instances if item.status != "ok"]
    wanted = dict.fromkeys((item.model, item.emotion, item.fold) for item in instances if item.status != "unexpected")
    ranked = rank(instances)
    said += [f"{model}/{emotion}/fold{fold}: no usable instance" for model, emotion, fold in wanted if (model, emotion, fold) not in ranked]
    other = [item.name for item in instances if item.metrics.get("data_checksum", index_checksum) != index_checksum]
    if other:
        said.append(f"trained on another dataset index than the present one: {', '.join(other)}")
    return said


def untrained(instances: Sequence[Instance], settings: config.Submission) -> list[str]:
    """Files that the rule `report` lacks because a model's fold 0, which it starts with, was not to be trained."""
    folds = {(item.model, item.fold) for item in instances if item.status != "unexpected"}
    said = []
    for role in ("leader", "second"):
        model = getattr(settings, role)
        own = sorted(fold for name, fold in folds if name == model)
        if settings.rule == "report" and own and 0 not in own:
            rest = "only its other folds are" if role == "leader" else "none of its folds is"
            said.append(
                f"submission.rule report: fold 0 of {model} was not to be trained (folds.run, models.{model}.folds), so {rest} submitted;"
                " train fold 0, or set submission.rule to best_n"
            )
    return said


def table(instances: Sequence[Instance], submissions: Sequence[Mapping[str, Any]]) -> str:
    """`selection.csv`: one row per instance, whatever its status."""
    places = {item.key: place for ranked in rank(instances).values() for place, item in enumerate(ranked, start=1)}
    used: dict[str, list[str]] = {}
    for entry in submissions:
        for name in dict.fromkeys(member["instance"] for members in entry["members"].values() for member in members):
            used.setdefault(name, []).append(str(entry["number"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for item in instances:
        values: dict[str, Any] = {"model": item.model, "emotion": item.emotion, "fold": item.fold, "seed": item.seed}
        values |= {"status": item.status, "note": item.note, "rank": places.get(item.key, "")}
        values |= {f"{target}_ccc": f"{value:.6f}" for target, value in item.ccc.items()}
        values["score"] = f"{item.score:.6f}" if math.isfinite(item.score) else ""
        values["chosen"] = int(places.get(item.key) == 1)
        values["submissions"] = " ".join(used.get(item.name, []))
        values |= {name: item.metrics.get(name, "") for name in ("best_epoch", "epochs")}
        writer.writerow(values)
    return text.getvalue()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `select`."""
    parser.add_argument("--runs", type=Path, required=True, help="folder with {model}/{emotion}/fold{k}/seed{s}/")
    parser.add_argument("--index", type=Path, required=True, help="dataset/index.json that the instances were trained on")
    parser.add_argument("--expected", required=True, help="JSON list of {model, emotion, fold, seed}, or a file with it")
    parser.add_argument("--output-csv", type=Path, required=True, help="table of all instances")
    parser.add_argument("--output-json", type=Path, required=True, help="the choice and its reason")
    parser.add_argument("--settings", required=True, help="JSON of the `submission` section")


def main(args: argparse.Namespace) -> None:
    """Write selection.csv (also when nothing can be submitted) and selection.json."""
    settings = config.Submission.model_validate_json(args.settings)
    if not args.index.is_file():
        raise InputError(f"{args.index}: no such file; run the index stage first")
    instances = read_instances(args.runs, expected_instances(_expected(args.expected)))
    try:
        submissions, said = entries(instances, settings)
    except InputError:
        write_text(args.output_csv, table(instances, []))
        raise
    write_text(args.output_csv, table(instances, submissions))
    statuses = [item.status for item in instances]
    best = [
        {"model": model, "emotion": emotion, "fold": fold, "seed": ranked[0].seed, "ccc": dict(ranked[0].ccc), "instances": len(ranked)}
        for (model, emotion, fold), ranked in rank(instances).items()
    ]
    value = {
        "rule": settings.rule,
        "rules": (__doc__ or "").partition("repeats:")[2].strip(),
        "number": said,
        "instances": {status: statuses.count(status) for status in sorted(set(statuses))},
        "best": sorted(best, key=lambda item: (item["model"], item["emotion"], item["fold"])),
        "submissions": submissions,
        "warnings": untrained(instances, settings) + warnings(instances, sha256(args.index.read_bytes()).hexdigest()),
    }
    write_json(args.output_json, value)
    print(f"select: {said} from {statuses.count('ok')} of {len(statuses)} instances")
    for entry in submissions:
        score = entry["validation"]
        print(f"  {entry['file']}: {entry['title']}, validation CCC valence {score['valence']:.3f}, arousal {score['arousal']:.3f}")
    for text in value["warnings"]:
        print(f"warning: {text}", file=sys.stderr)


def _expected(text: str) -> list[dict[str, Any]]:
    """The JSON list, given as text or as a file, bare or under `instances`."""
    try:
        value = json.loads(text if text.lstrip()[:1] in ("[", "{") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--expected: not a JSON list, nor a file with one ({error})") from None
    listed = value.get("instances") if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise InputError("--expected: must be a list of {model, emotion, fold, seed}")
    return listed
