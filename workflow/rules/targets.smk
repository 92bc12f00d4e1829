"""Names to ask for: each target collects the files of one stage.

To force a stage's work, name the rule that does it: `snakemake --cores 8 --forcerun logmel_of_video -- logmel`.
"""


rule demo:
    """The demo corpus alone: videos, face images, annotations, test list and template."""
    input:
        "<results>/trials.csv",


rule wav:
    """The sound of every video: mono, 16 kHz, on the clock of the frames."""
    input:
        collect("<results>/audio/{video}.wav", video=VIDEOS),


rule logmel:
    """The log-mel spectrogram of every video."""
    input:
        collect("<results>/logmel/{video}.h5", video=VIDEOS),


rule words:
    """The recognised words of every video, with times, sentences and feature vectors."""
    input:
        collect("<results>/language/features/shard{shard}.h5", shard=SHARDS),


rule frames:
    """The face images of every trial, 48 x 48."""
    input:
        collect("<results>/frames/{trial}.h5", trial=TRIALS),


rule audit:
    """The audit table, figure and summary: everything excluded, missing or repaired, and what the words cover."""
    input:
        "<results>/audit.csv",
        "<results>/report/coverage/coverage.csv",


rule dataset:
    """One aligned file per trial, and the index with folds and checksums."""
    input:
        "<results>/dataset/index.json",


rule training:
    """Every instance: model x emotion x fold x seed."""
    input:
        [f"<results>/{instance.folder}/metrics.json" for instance in INSTANCES],


rule selection:
    """Which instances were chosen, and why."""
    input:
        "<results>/selection.json",


rule report:
    """The report page, on whatever the run has so far decided to submit."""
    input:
        "<results>/report/index.html",


localrules:
    submission,
    demo,
    wav,
    logmel,
    words,
    frames,
    audit,
    dataset,
    training,
    selection,
    report,


onsuccess:
    shell("python -m abaw_pipeline summary --results {SETTINGS.results:q}")


onerror:
    command = command_to_continue()
    shell(
        "python -m abaw_pipeline summary --results {SETTINGS.results:q} --log {log:q} --command {command:q}"
    )
