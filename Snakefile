from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=SETTINGS.results,
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


report: "workflow/report/workflow.rst"


wildcard_constraints:
    video=one_of(VIDEOS),
    trial=one_of(TRIALS),
    shard=r"\d+",
    model=one_of(SETTINGS.models),
    emotion="valence|arousal|both",
    fold=r"\d+",


rule submission:
    """Everything: checked submission files, scores and the report."""
    default_target: True
    input:
        "<results>/submission/submission.zip",
        "<results>/report/index.html",


include: "workflow/rules/targets.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/audio.smk"
include: "workflow/rules/language.smk"
include: "workflow/rules/frames.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/submission.smk"
include: "workflow/rules/report.smk"
