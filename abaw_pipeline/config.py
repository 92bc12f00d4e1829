"""Every setting, its type, its default and its meaning: the one place that has them.

The classes hold no logic beyond validation. Stages never read `config.yaml`; the workflow passes each stage exactly
the settings it reads (`stage_settings`), as JSON with sorted keys, so that a changed value reruns the stages that
read it and no others. Defaults are the report's values where it names one, otherwise the
decision recorded in DEVIATIONS.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

Emotion = Literal["valence", "arousal", "both"]
Modality = Literal["video", "logmel", "bert"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
ENTRY = re.compile(r"(?P<model>[^/]+)/fold(?P<fold>\d+)(?:/seed(?P<seed>\d+))?")
"""An instance in `submission.entries`; without a seed, the best of the fold."""


class ConfigError(ValueError):
    """A setting is unknown, missing or out of range; the message names it and says what is allowed."""


def _repeated(values: Sequence[object]) -> str:
    """The values that stand more than once, in words; empty when there are none."""
    return ", ".join(str(value) for value in dict.fromkeys(values) if values.count(value) > 1)


class Section(BaseModel):
    """A part of the settings: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DemoCorpus(Section):
    """The generated corpus: synthetic people whose faces, voices and words follow a hidden valence and arousal."""

    folder: str = "data/demo"
    """Where the corpus is written, in the official Aff-Wild2 layout."""
    seed: int = 5
    """The same seed, size and package versions give the same corpus."""
    videos: int = Field(24, ge=12)
    """Number of source videos; the planted troubles need at least 12."""
    seconds: float = Field(14.0, ge=2.0)
    """Mean length of a video."""
    noise: float = Field(0.22, ge=0.0)
    """How much each modality's expression strays from the hidden state (standard deviations)."""


class AffWild2Corpus(Section):
    """Where the parts of an Aff-Wild2 copy lie. Folders are found by scanning `folder` unless named here."""

    folder: str = "data/affwild2"
    """The corpus's root folder."""
    videos: tuple[str, ...] = ()
    """Folders with the raw videos, relative to `folder`; empty: every folder below it that holds .mp4 or .avi files."""
    images: str = ""
    """The `cropped_aligned` folder, relative to `folder`; empty: found by name; `none`: no pictures, only sound and words."""
    annotations: str = ""
    """The folder that holds `Train_Set` and `Validation_Set`; empty: found by name."""
    test_list: str = ""
    """The list of test trials, one name a line; empty: found by name; `none`: there is no test set."""
    template: str = ""
    """The submission template; empty: found by name; `none`: lengths come from the decoder."""


class ManifestCorpus(Section):
    """Any corpus, as one CSV: trial, video, faces, annotation, partition, subject (see docs/corpora.md)."""

    file: str = "manifest.csv"
    """The CSV. Paths in it are relative to its own folder."""
    template: str = ""
    """A submission template for the test trials; empty: lengths come from the decoder."""


class Audit(Section):
    """Counts above these make the audit an error. Shares are of a trial's rows, from 0 to 1."""

    max_excluded_share: float = Field(1.0, ge=0, le=1)
    """Rows excluded for -5."""
    max_missing_faces_share: float = Field(1.0, ge=0, le=1)
    """Rows without a face image."""
    max_corrupt_images_share: float = Field(0.01, ge=0, le=1)
    """Images that cannot be decoded."""
    max_length_repair_share: float = Field(1.0, ge=0, le=1)
    """Rows padded, trimmed or given an extrapolated time because counts differ."""
    max_sound_gap_seconds: float = Field(1e9, ge=0)
    """Difference between sound and picture lengths."""


class Wav(Section):
    """Sound track to mono PCM16."""

    rate: Literal[16000] = 16000
    """Sampling rate in Hz; the VGGish front end and the recognisers are made for 16 kHz."""
    ffmpeg: str = ""
    """An ffmpeg binary; empty: the one inside the imageio-ffmpeg package."""


class Logmel(Section):
    """Log-mel spectrogram and the window that a row sees of it."""

    window: Literal["ahead", "centred", "past"] = "ahead"
    """Which 0.96 s a row sees: from its time on (the authors'), around it, or up to it."""


class Recognition(Section):
    """Speech to words with times."""

    engine: Literal["vosk", "pocketsphinx", "transcript"] = "vosk"
    """`transcript` reads files that you bring (WebVTT, SRT, CTM, JSON) from `transcripts`."""
    model: str = "vosk-model-en-us-0.22"
    """A model of the registry, or a folder (`vosk`); ignored by the other engines."""
    transcripts: str = ""
    """Folder with one transcript per video, for the `transcript` engine."""
    chunk_seconds: float = Field(0.25, gt=0)
    """Sound handed to the recogniser at a time."""

    @model_validator(mode="after")
    def _transcripts_given(self) -> Recognition:
        if self.engine == "transcript" and not self.transcripts:
            raise ValueError("the engine transcript reads files that you bring; name their folder in recognition.transcripts")
        return self


class Punctuation(Section):
    """Where sentences end, for the context that the word features see."""

    engine: Literal["model", "pauses", "none"] = "model"
    """`model` is deepmultilingualpunctuation; `pauses` ends a sentence at a pause; `none` makes one sentence."""
    model: str = "fullstop-punctuation-multilang-large"
    """A model of the registry, or a folder."""
    pause_seconds: float = Field(0.5, gt=0)
    """A silence this long ends a sentence (`pauses`)."""


class Features(Section):
    """One vector per word from a BERT-like model."""

    model: str = "bert-base-uncased"
    """A model of the registry (`bert-base-uncased`, `minilm`), or a folder."""
    layers: int = Field(4, ge=1)
    """How many of the last layers are summed."""
    max_tokens: int = Field(256, ge=8, le=512)
    """A longer sentence is split with overlap."""
    batch_tokens: int = Field(4096, ge=64)
    """Tokens per forward pass, padding included, on a GPU; on a CPU at most 256, which is faster there."""


class Frames(Section):
    """Face images to small squares."""

    size: int = Field(48, ge=8)
    """Edge in pixels."""


class Fidelity(Section):
    """Where the authors' code and the report, or good practice, differ (DEVIATIONS.md). The first choice is ours."""

    rows: Literal["kept", "report"] = "kept"
    """`kept`: everything follows the kept frame numbers. `report`: image j goes with kept row j, as the authors do."""
    normalisation: Literal["train", "partition"] = "train"
    """Whose statistics scale the word features."""
    padding: Literal["masked", "unmasked"] = "masked"
    """Whether zeros that fill a short window are kept out of loss and batch statistics."""
    warmup: Literal["per_epoch", "ramped"] = "per_epoch"
    """`per_epoch`: each warm-up epoch climbs to the full rate. `ramped`: epoch r climbs to (r+1)/25 of it."""
    scope: Literal["group", "run"] = "group"
    """What early stopping ends: the group of released layers, or the run."""
    frozen_batchnorm: Literal["frozen", "updated"] = "frozen"
    """Whether frozen BatchNorm layers keep updating their statistics."""
    data_seed: Literal["shared", "tied"] = "shared"
    """`shared`: all instances of a fold see the same order, crops and flips. `tied`: they follow the instance's seed."""


class Folds(Section):
    """Cross-validation (report section 3.3)."""

    number: int = Field(6, ge=2)
    """How many folds; fold 0 is the official partition."""
    run: tuple[int, ...] = ()
    """Which folds are trained; empty: all."""
    grouped: bool = True
    """Trials of one source video or subject stay in one fold. False reproduces the authors' cut."""

    @model_validator(mode="after")
    def _run_within_number(self) -> Folds:
        wrong = [fold for fold in self.run if not 0 <= fold < self.number]
        if wrong:
            raise ValueError(f"folds.run names {wrong}; with folds.number: {self.number} the folds are 0 to {self.number - 1}")
        if twice := _repeated(self.run):
            raise ValueError(f"folds.run names {twice} twice; name each fold once")
        return self

    @property
    def chosen(self) -> tuple[int, ...]:
        """The folds to train."""
        return self.run or tuple(range(self.number))


class Model(Section):
    """One network: its fusion, its modalities in order (the first leads in LFAN) and its backbones."""

    network: Literal["lfan", "can"]
    """Leader-follower attention or channel attention."""
    modalities: tuple[Modality, ...] = Field(min_length=1)
    """Inputs, in order."""
    visual: str = "ir50"
    """`ir50`, `ir_small`, or `timm/<name>`."""
    audio: Literal["vggish", "vgg_small"] = "vggish"
    """`vggish` or `vgg_small`."""
    tcn_width: float = Field(1.0, gt=0, le=4)
    """Widths of the temporal layers relative to the report's; 0.25 suits the small backbones."""
    pretrained: bool = True
    """Load the backbones' pretrained weights (registry). False starts from random ones, with a warning; small backbones then
    train whole, of the others only the last parts do."""
    precomputed: dict[Modality, str] = {}
    """Modalities that come as vectors you made, each with its folder of `{trial}.h5` files (docs/networks.md)."""
    folds: tuple[int, ...] = ()
    """Train this network on these folds only; empty: all of `folds.run`."""
    fidelity: Fidelity | None = None
    """Training-time switches of this network alone, for comparisons; those not named here are the run's."""

    @field_validator("visual")
    @classmethod
    def _visual_backbone_known(cls, visual: str) -> str:
        if visual not in ("ir50", "ir_small") and not visual.startswith("timm/"):
            raise ValueError(f"{visual!r} is no visual backbone; known: ir50, ir_small, timm/<name>")
        return visual

    @model_validator(mode="after")
    def _modalities_once_and_precomputed_among_them(self) -> Model:
        if twice := _repeated(self.modalities):
            raise ValueError(f"modalities names {twice} twice; name each once, in order")
        wrong = [modality for modality in self.precomputed if modality not in self.modalities]
        if wrong:
            raise ValueError(f"precomputed names {', '.join(wrong)}, but modalities are {', '.join(self.modalities)}")
        if not all(self.precomputed.values()):
            raise ValueError("precomputed needs a folder for each modality")
        return self


class Training(Section):
    """Report section 3.4."""

    emotions: tuple[Emotion, ...] = Field(("valence", "arousal"), min_length=1)
    """One network each; `both` trains one network with two targets."""
    seeds: int = Field(15, ge=1)
    """Instances per model, emotion and fold; seeds count from 0."""
    window: int = Field(300, ge=2)
    """Rows per window."""
    hop: int = Field(200, ge=1)
    """Rows between windows."""
    crop: int = Field(40, ge=8)
    """Edge of the square cut from a frame: random in training, centred otherwise."""
    batch_size: int = Field(12, ge=1)
    """Windows per step."""
    epochs: int = Field(100, ge=1)
    """At most."""
    learning_rate: float = Field(1e-5, gt=0)
    """Adam's rate at the end of warm-up."""
    min_learning_rate: float = Field(1e-8, gt=0)
    """Below it the next group of layers is released."""
    weight_decay: float = Field(1e-3, ge=0)
    """Adam's L2 term."""
    warmup_epochs: int = Field(5, ge=0)
    """Epochs whose rate climbs within the epoch."""
    patience: int = Field(5, ge=0)
    """Epochs without a better validation CCC before the rate drops."""
    factor: float = Field(0.1, gt=0, lt=1)
    """How far it drops."""
    early_stopping: int = Field(20, ge=1)
    """Epochs without a better validation CCC before `fidelity.scope` ends."""
    data_seed: int = 0
    """Drives order, crops and flips."""
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """`auto`: bf16 autocast on a GPU that has it, else float32, which is the reference."""
    compile: bool = False
    """torch.compile the network (a GPU, long runs)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto`: the GPU that this job was given, else the CPU."""
    sharing: int = Field(1, ge=1)
    """Training jobs that may use one GPU at the same time."""
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Processes that load ahead; 0: the training process loads itself. `auto`: 2 with a GPU, else 0."""
    pin_memory: bool = True
    """With a GPU, load into page-locked memory, which is sent while the GPU computes."""
    seeds_per_job: int = Field(1, ge=1)
    """Instances trained side by side in one process."""
    threads: int = Field(8, ge=1)
    """CPU threads a training job asks for; 8 keeps one at a time under `--cores 8`."""

    @model_validator(mode="after")
    def _emotions_once(self) -> Training:
        if twice := _repeated(self.emotions):
            raise ValueError(f"emotions names {twice} twice; name each once")
        return self


class Submission(Section):
    """Which instances become submission files (report section 4)."""

    rule: Literal["report", "best_n", "mean_over_folds", "list"] = "report"
    """`report`: best fold 0 of CAN, of LFAN, and the other CAN folds with the best mean CCC."""
    number: int = Field(5, ge=1)
    """At most this many files."""
    leader: str = "can"
    """The model whose fold 0 comes first and whose other folds follow (`report`)."""
    second: str = "lfan"
    """The model whose fold 0 comes second (`report`)."""
    entries: tuple[dict[str, str], ...] = ()
    """For `list`: e.g. {valence: can/fold0/seed3, arousal: lfan/fold0/seed1}."""
    weighted: bool = False
    """For `mean_over_folds`: weigh by validation CCC."""
    smoothing: float = Field(0.0, ge=0)
    """Post-processing: standard deviation of a Gaussian over time, in seconds; 0 is off, as in the report."""
    calibrate: bool = False
    """Post-processing: scale and shift fitted on validation."""


class Report(Section):
    """The page of results."""

    bootstrap: int = Field(1000, ge=0)
    """Resamples (over trials) for intervals."""
    frames: bool = True
    """Show face frames under the curves (never share such a report of a licensed corpus)."""


class Settings(Section):
    """The whole configuration."""

    corpus: Literal["demo", "affwild2", "manifest"] = "demo"
    """Which corpus; its section below says where it is."""
    results: str = Field("results", min_length=1)
    """Folder for everything the pipeline writes."""
    models_dir: str = ""
    """Folder with models that you brought; empty: `ABAW_MODELS`, else the cache."""
    shards: int = Field(8, ge=1)
    """Videos are spread over this many jobs for recognition, punctuation and word features."""
    demo: DemoCorpus = DemoCorpus()
    affwild2: AffWild2Corpus = AffWild2Corpus()
    manifest: ManifestCorpus = ManifestCorpus()
    audit: Audit = Audit()
    wav: Wav = Wav()
    logmel: Logmel = Logmel()
    recognition: Recognition = Recognition()
    punctuation: Punctuation = Punctuation()
    features: Features = Features()
    frames: Frames = Frames()
    fidelity: Fidelity = Fidelity()
    folds: Folds = Folds()
    models: dict[Name, Model] = {
        "can": Model(network="can", modalities=("video", "logmel")),
        "lfan": Model(network="lfan", modalities=("video", "logmel", "bert")),
    }
    training: Training = Training()
    submission: Submission = Submission()
    report: Report = Report()

    @field_validator("models")
    @classmethod
    def _own_switches_over_those_of_the_run(cls, models: dict[str, Model], info: ValidationInfo) -> dict[str, Model]:
        """Each network's `fidelity` in full: the switches that it names, and the run's for the rest."""
        run: Fidelity | None = info.data.get("fidelity")
        if run is None:  # has problems of its own, which are told
            return models
        return {
            name: model.model_copy(update={"fidelity": run.model_copy(update=model.fidelity.model_dump(exclude_unset=True))})
            if model.fidelity is not None
            else model
            for name, model in models.items()
        }


def load(values: Mapping[str, Any]) -> Settings:
    """Settings from nested mappings such as Snakemake's `config`; every problem in one ConfigError."""
    problems: list[str] = []
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"]) or "(top level)"
            if item["type"] == "extra_forbidden":
                problems.append(f"  {place}: unknown setting{_nearest(item['loc'])}")
            elif item["type"] == "value_error":
                problems.append(f"  {place}: {item['ctx']['error']}")
            else:
                given = "" if item["type"] == "missing" else f" (given: {item['input']!r})"
                problems.append(f"  {place}: {item['msg']}{given}")
    else:
        problems = [f"  {problem}" for problem in _misfits(settings)]
        if not problems:
            return settings
    raise ConfigError("the configuration has problems:\n" + "\n".join(problems))


def _misfits(settings: Settings) -> list[str]:
    """What no section can see alone, and what a run would otherwise show after days: settings that do not fit together."""
    training, folds, names = settings.training, settings.folds, ", ".join(settings.models)
    found = []
    if not (trained := instances(settings)):
        found.append(f"folds.run: none of {list(folds.chosen)} is a fold of any network (models.*.folds); nothing would be trained")
    pictures = [name for name, model in settings.models.items() if "video" in model.modalities and "video" not in model.precomputed]
    if pictures and training.crop > settings.frames.size:
        found.append(f"training.crop: {training.crop} is more than frames.size, {settings.frames.size}; lower it, or raise frames.size")
    if training.min_learning_rate > training.learning_rate:
        found.append(
            f"training.min_learning_rate: {training.min_learning_rate:g} is more than training.learning_rate, {training.learning_rate:g},"
            " so every epoch would release a group or end the run; lower it"
        )
    if training.hop > training.window:
        found.append(
            f"training.hop: {training.hop} is more than training.window, {training.window}; rows between windows would never be seen"
        )
    for name, model in settings.models.items():
        if wrong := [fold for fold in model.folds if not 0 <= fold < folds.number]:
            found.append(f"models.{name}.folds: names {wrong}; with folds.number: {folds.number} the folds are 0 to {folds.number - 1}")
        if model.fidelity is not None and model.fidelity.rows != settings.fidelity.rows:
            found.append(f"models.{name}.fidelity.rows: rows belong to the dataset, which all models share; set fidelity.rows")
    if settings.submission.rule == "report":
        for role in sorted({"leader", "second"} & settings.submission.model_fields_set):
            if (model_name := getattr(settings.submission, role)) not in settings.models:
                found.append(f"submission.{role}: {model_name!r} is no model; there are {names}")
        if settings.submission.leader == settings.submission.second:
            found.append(f"submission.second: {settings.submission.second!r} is the leader too, whose fold 0 would be submitted twice")
    if settings.submission.rule == "list":
        found += _misfit_entries(settings.submission.entries, trained)
    return found


def _misfit_entries(entries: Sequence[Mapping[str, str]], trained: Sequence[Instance]) -> list[str]:
    """Entries of `submission.entries` that are malformed, or name what these settings do not train."""
    if not entries:
        return ["submission.entries: empty, but submission.rule is list; name an instance for valence and one for arousal"]
    found = []
    for number, entry in enumerate(entries, start=1):
        place = f"submission.entries: entry {number}"
        if set(entry) != {"valence", "arousal"}:
            found.append(f"{place}: give valence and arousal, found {', '.join(entry) or 'nothing'}")
        for target, name in entry.items():
            match = ENTRY.fullmatch(name)
            if match is None:
                found.append(f"{place}, {target}: {name!r} is not like can/fold0/seed3 (or can/fold0 for its best seed)")
            elif not any(
                (item.model, item.fold) == (match["model"], int(match["fold"]))
                and item.seed == int(match["seed"] or item.seed)
                and item.emotion in (target, "both")
                for item in trained
            ):
                found.append(
                    f"{place}, {target}: {name} is none that these settings train; see models, folds, training.seeds, training.emotions"
                )
    return found


def _nearest(place: tuple[str | int, ...]) -> str:
    """Hint for an unknown key: the closest known one of its section."""
    import difflib

    section: Any = Settings
    for part in place[:-1]:
        field = section.model_fields.get(str(part)) if isinstance(section, type) and issubclass(section, Section) else None
        section = field.annotation if field is not None else None
    if not (isinstance(section, type) and issubclass(section, Section)):
        return ""
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def load_file(path: Path) -> Settings:
    """Settings from a YAML file."""
    import yaml

    values = yaml.safe_load(path.read_text()) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    return load(values)


def as_json(section: BaseModel | Mapping[str, Any]) -> str:
    """One line of JSON with sorted keys: equal settings give equal text."""
    values = section.model_dump(mode="json") if isinstance(section, BaseModel) else section
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


RUNTIME = {"device", "sharing", "workers", "pin_memory", "seeds_per_job", "threads", "emotions", "seeds"}
"""Training settings that do not change what an instance becomes, or that stand in its path already."""


def stage_settings(settings: Settings, stage: str, model: str = "") -> str:
    """Exactly the settings that a stage reads, as JSON: the workflow's parameter of its rule.

    `model` names the network for the `train` stage.
    """
    if stage == "scan":
        layout = {"demo": settings.demo, "affwild2": settings.affwild2, "manifest": settings.manifest}[settings.corpus]
        return as_json({"corpus": settings.corpus, settings.corpus: layout.model_dump(mode="json")})
    if stage == "dataset":
        return as_json({"rows": settings.fidelity.rows, "window": settings.logmel.window})
    if stage == "train":
        network = settings.models[model]
        return as_json(
            {
                "model": network.model_dump(mode="json", exclude={"folds", "fidelity"}),
                "training": settings.training.model_dump(mode="json", exclude=RUNTIME),
                "fidelity": (network.fidelity or settings.fidelity).model_dump(mode="json", exclude={"rows"}),
            }
        )
    section = {
        "demo": settings.demo,
        "audit": settings.audit,
        "wav": settings.wav,
        "recognise": settings.recognition,
        "punctuate": settings.punctuation,
        "embed": settings.features,
        "frames": settings.frames,
        "index": settings.folds.model_copy(update={"run": ()}),
        "select": settings.submission,
        "submit": settings.submission,
        "report": settings,
    }[stage]
    return as_json(section)


class Instance(Section):
    """One training run: its place is runs/{model}/{emotion}/fold{fold}/seed{seed}."""

    model: Name
    emotion: Emotion
    fold: int
    seed: int

    @property
    def folder(self) -> str:
        """Path below the results folder."""
        return f"runs/{self.model}/{self.emotion}/fold{self.fold}/seed{self.seed}"


def instances(settings: Settings) -> list[Instance]:
    """Every training run that the settings ask for."""
    return [
        Instance(model=name, emotion=emotion, fold=fold, seed=seed)
        for name, model in settings.models.items()
        for emotion in settings.training.emotions
        for fold in settings.folds.chosen
        if not model.folds or fold in model.folds
        for seed in range(settings.training.seeds)
    ]
