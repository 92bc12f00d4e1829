"""Settings: what is refused, how it is said, what reaches which stage, and that written files follow the code."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from abaw_pipeline import config
from abaw_pipeline.config_files import PRESET, SCHEMA, preset_text, schema_text

ROOT = Path(__file__).resolve().parents[2]


def test_every_problem_is_named_in_one_message():
    with pytest.raises(config.ConfigError) as caught:
        config.load(
            {"corups": "demo", "wav": {"rat": 8000}, "training": {"epochs": 0}, "models": {"can": {"network": "x", "modalities": []}}}
        )
    message = str(caught.value)
    assert "corups: unknown setting; did you mean 'corpus'?" in message
    assert "wav.rat: unknown setting; did you mean 'rate'?" in message
    assert "training.epochs" in message and "(given: 0)" in message
    assert "models.can.network" in message and "models.can.modalities" in message


@pytest.mark.parametrize("name", ["../up", "a b", "x;rm", "", "-n"])
def test_model_names_cannot_be_paths_or_shell_words(name):
    with pytest.raises(config.ConfigError, match="models"):
        config.load({"models": {name: {"network": "can", "modalities": ["video"]}}})


def test_a_fold_beyond_the_number_is_refused():
    with pytest.raises(config.ConfigError, match=r"folds are 0 to 2"):
        config.load({"folds": {"number": 3, "run": [0, 3]}})


def listed(**entry):
    return {"submission": {"rule": "list", "entries": [entry]}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"window": 100, "hop": 200}}, "training.hop: 200 is more than training.window, 100"),
        ({"folds": {"number": 3}, "models": {"x": {"network": "can", "modalities": ["video"], "folds": [3]}}}, "models.x.folds: names [3]"),
        ({"models": {"x": {"network": "can", "modalities": ["video"], "fidelity": {"rows": "report"}}}}, "models.x.fidelity.rows: "),
        ({"submission": {"leader": "cann"}}, "submission.leader: 'cann' is no model; there are can, lfan"),
        ({"submission": {"second": "can"}}, "submission.second: 'can' is the leader too"),
        ({"training": {"crop": 56}}, "training.crop: 56 is more than frames.size, 48; lower it, or raise frames.size"),
        ({"training": {"learning_rate": 1e-9}}, "training.min_learning_rate: 1e-08 is more than training.learning_rate, 1e-09"),
        ({"training": {"emotions": ["valence", "valence"]}}, "training: emotions names valence twice"),
        ({"folds": {"run": [1, 1]}}, "folds: folds.run names 1 twice"),
        ({"folds": {"run": [1]}, "models": {"x": {"network": "can", "modalities": ["bert"], "folds": [0]}}}, "nothing would be trained"),
        ({"models": {"x": {"network": "can", "modalities": ["video", "video"]}}}, "models.x: modalities names video twice"),
        ({"models": {"x": {"network": "can", "modalities": ["video"], "visual": "ir51"}}}, "models.x.visual: 'ir51' is no visual backbone"),
        ({"recognition": {"engine": "transcript"}}, "name their folder in recognition.transcripts"),
        ({"submission": {"rule": "list"}}, "submission.entries: empty, but submission.rule is list"),
        (listed(valence="can/fold0"), "submission.entries: entry 1: give valence and arousal, found valence"),
        (listed(valence="can-fold0", arousal="can/fold0"), "entry 1, valence: 'can-fold0' is not like can/fold0/seed3"),
        (listed(valence="can/fold0", arousal="cann/fold0"), "entry 1, arousal: cann/fold0 is none that these settings train"),
        (listed(valence="can/fold6", arousal="can/fold0"), "entry 1, valence: can/fold6 is none that these settings train"),
        (listed(valence="can/fold0/seed15", arousal="can/fold0/seed14"), "entry 1, valence: can/fold0/seed15 is none"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(values, message):
    with pytest.raises(config.ConfigError) as caught:
        config.load(values)
    assert message in str(caught.value) and "(given" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("models.x.audio", "vgg"),
        ("models.x.precomputed.touch", "vectors"),
        ("training.device", "gpu"),
        ("training.emotions", []),
        ("training.seeds", 0),
        ("training.hop", 0),
        ("training.window", 0),
        ("folds.number", 1),
        ("results", ""),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(place, value):
    values = {"models": {"x": {"network": "can", "modalities": ["bert"]}}}
    *sections, name = place.split(".")
    section = values
    for part in sections:
        section = section.setdefault(part, {})
    section[name] = value
    with pytest.raises(config.ConfigError, match=f"{place}.*\n?.*given") as caught:
        config.load(values)
    assert str(caught.value).count("\n") == 1


def test_settings_that_only_look_odd_are_taken():
    config.load({"training": {"crop": 56}, "models": {"x": {"network": "can", "modalities": ["bert"]}}})
    config.load({"training": {"emotions": ["both"]}, **listed(valence="can/fold5", arousal="lfan/fold0/seed14")})
    config.load({"models": {"x": {"network": "can", "modalities": ["video"], "visual": "timm/resnet18"}}, "training": {"device": "cuda:1"}})


def test_a_networks_own_switches_lie_over_the_runs():
    own = {"network": "can", "modalities": ["bert"], "fidelity": {"warmup": "ramped"}}
    values = {
        "fidelity": {"scope": "run", "padding": "unmasked", "rows": "report"},
        "models": {"own": own, "other": own | {"fidelity": None}},
    }
    settings = config.load(values)
    trained = {name: json.loads(config.stage_settings(settings, "train", name))["fidelity"] for name in ("own", "other")}
    run = settings.fidelity.model_dump(exclude={"rows"})
    assert trained == {"own": run | {"warmup": "ramped"}, "other": run}
    assert config.Settings.model_validate_json(config.as_json(settings)) == settings, "as the report reads them"


def test_settings_cannot_be_changed_once_read():
    with pytest.raises(Exception, match="frozen"):
        config.load({}).training.epochs = 3


def test_a_file_that_is_no_mapping_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("- corpus\n")
    with pytest.raises(config.ConfigError, match=r"mine\.yaml: expected a mapping"):
        config.load_file(path)


def test_the_preset_is_the_reports_settings_in_full():
    assert PRESET.read_text() == preset_text(), "run: python -m abaw_pipeline config --write"
    settings = config.load_file(PRESET)
    assert settings == config.Settings(corpus="affwild2")
    assert len(config.instances(settings)) == 2 * 2 * 6 * 15
    training = settings.training
    assert (training.window, training.hop, training.batch_size, training.crop) == (300, 200, 12, 40)
    assert (training.learning_rate, training.min_learning_rate, training.weight_decay) == (1e-5, 1e-8, 1e-3)
    assert (training.epochs, training.early_stopping, training.patience, training.factor) == (100, 20, 5, 0.1)


def test_the_preset_replaces_every_demo_value():
    from snakemake.utils import update_config

    merged = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(merged, yaml.safe_load(PRESET.read_text()))
    assert config.load(merged) == config.Settings(corpus="affwild2")


def test_ablations_differ_from_the_demos_networks_in_nothing_but_what_they_name():
    from snakemake.utils import update_config

    merged = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(merged, yaml.safe_load((PRESET.parent / "ablation.yaml").read_text()))
    settings = config.load(merged)
    built = {(model.visual, model.audio, model.tcn_width, model.pretrained) for model in settings.models.values()}
    assert len(built) == 1
    plain = json.loads(config.stage_settings(settings, "train", "can"))
    for name, switch in {
        "can_unmasked": {"padding": "unmasked"},
        "can_ramped": {"warmup": "ramped"},
        "can_run": {"scope": "run"},
        "can_batchnorm": {"frozen_batchnorm": "updated"},
        "can_tied": {"data_seed": "tied"},
    }.items():
        assert json.loads(config.stage_settings(settings, "train", name)) == plain | {"fidelity": plain["fidelity"] | switch}


def test_the_schema_follows_the_code_and_accepts_the_shipped_files():
    assert SCHEMA.read_text() == schema_text(), "run: python -m abaw_pipeline config --write"
    for path in (ROOT / "config.yaml", PRESET):
        jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


STAGES = ["demo", "scan", "wav", "recognise", "punctuate", "embed", "frames", "dataset", "audit", "index", "train", "select", "submit"]
CHANGES = {
    "wav": ({"wav": {"ffmpeg": "/usr/bin/ffmpeg"}}, {"wav"}),
    "engine": ({"recognition": {"engine": "pocketsphinx"}}, {"recognise"}),
    "pauses": ({"punctuation": {"pause_seconds": 1.0}}, {"punctuate"}),
    "layers": ({"features": {"layers": 2}}, {"embed"}),
    "size": ({"frames": {"size": 64}}, {"frames"}),
    "window": ({"logmel": {"window": "past"}}, {"dataset"}),
    "rows": ({"fidelity": {"rows": "report"}}, {"dataset"}),
    "padding": ({"fidelity": {"padding": "unmasked"}}, {"train"}),
    "grouped": ({"folds": {"grouped": False}}, {"index"}),
    "which folds run": ({"folds": {"run": [0]}}, set()),
    "epochs": ({"training": {"epochs": 3}}, {"train"}),
    "more seeds": ({"training": {"seeds": 20}}, set()),
    "how it runs": (
        {"training": {"threads": 2, "sharing": 2, "workers": 1, "pin_memory": False, "seeds_per_job": 3, "device": "cpu"}},
        set(),
    ),
    "submission": ({"submission": {"number": 2}}, {"select", "submit"}),
    "thresholds": ({"audit": {"max_excluded_share": 0.5}}, {"audit"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_reaches_exactly_the_stages_that_read_it(name):
    values, expected = CHANGES[name]
    before, after = config.load({}), config.load(values)
    changed = {s for s in STAGES if config.stage_settings(before, s, "can") != config.stage_settings(after, s, "can")}
    assert changed == expected


def test_stage_settings_do_not_depend_on_the_order_of_keys():
    one = config.load({"training": {"epochs": 3, "hop": 7}})
    other = config.load({"training": {"hop": 7, "epochs": 3}})
    assert config.stage_settings(one, "train", "can") == config.stage_settings(other, "train", "can")


def test_instances_follow_folds_and_seeds():
    settings = config.load(
        {
            "folds": {"number": 3, "run": [0, 2]},
            "training": {"seeds": 2, "emotions": ["both"]},
            "models": {
                "small": {"network": "can", "modalities": ["video"], "folds": [0]},
                "large": {"network": "lfan", "modalities": ["bert"]},
            },
        }
    )
    folders = [instance.folder for instance in config.instances(settings)]
    assert folders[:2] == ["runs/small/both/fold0/seed0", "runs/small/both/fold0/seed1"]
    assert {folder.split("/")[3] for folder in folders[2:]} == {"fold0", "fold2"}
    assert len(folders) == len(set(folders)) == 2 + 4
