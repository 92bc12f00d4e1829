"""Labels, frames, sound and words of a trial in step, in one file; then audit, folds and index (sections 3.2, 3.3)."""


rule dataset_of_trial:
    """Labels, frames, sound and words of one trial, aligned in one file."""
    input:
        unpack(trial_parts),
        timestamps=of_video("<results>/timestamps/{video}.h5"),
        record=of_video("<results>/audio/{video}.json"),
        logmel=of_video("<results>/logmel/{video}.h5"),
        features=of_video("<results>/language/features/shard{shard}.h5"),
        frames="<results>/frames/{trial}.h5",
        code=code("dataset"),
    output:
        "<results>/dataset/{trial}.h5",
    log:
        "<logs>/dataset/{trial}.log",
    benchmark:
        "<benchmarks>/dataset/{trial}.tsv"
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("dataset"),
        row_source=lambda wildcards, input: row_count_options(input),
        of_video=lambda wildcards, input: video_options(input),
        video=lambda wildcards: TRIALS[wildcards.trial].video,
        partition=lambda wildcards: TRIALS[wildcards.trial].partition,
        group=lambda wildcards: TRIALS[wildcards.trial].group,
    message:
        "dataset: aligning {wildcards.trial}"
    shell:
        "python -m abaw_pipeline dataset --trial {wildcards.trial:q} --video {params.video:q}"
        " --partition {params.partition} --group {params.group:q} {params.row_source}"
        " {params.of_video} --frames {input.frames:q} --settings {params.settings:q}"
        " --output {output:q} --threads {threads}"
        f"{LOGGED}"


rule audit_table:
    """Count everything excluded, missing or repaired."""
    input:
        trials="<results>/trials.csv",
        datasets=collect("<results>/dataset/{trial}.h5", trial=TRIALS),
        code=code("audit"),
    output:
        table="<results>/audit.csv",
        figure="<results>/report/audit/audit.png",
        vector="<results>/report/audit/audit.svg",
        summary="<results>/report/audit/audit.md",
    log:
        "<logs>/audit.log",
    benchmark:
        "<benchmarks>/audit.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        settings=settings("audit"),
        datasets=lambda wildcards, input: folder_of(input.datasets),
        figures=subpath(output.figure, parent=True),
    message:
        "audit: counting what was excluded, missing or repaired"
    shell:
        "python -m abaw_pipeline audit --trials {input.trials:q} --datasets {params.datasets:q}"
        " --output {output.table:q} --figures {params.figures:q} --settings {params.settings:q}"
        f"{LOGGED}"


rule coverage_table:
    """How much of each video the recognised words cover."""
    input:
        trials="<results>/trials.csv",
        punctuated=collect(
            "<results>/language/punctuated/shard{shard}.json", shard=SHARDS
        ),
        datasets=collect("<results>/dataset/{trial}.h5", trial=TRIALS),
        code=code("coverage"),
    output:
        table="<results>/report/coverage/coverage.csv",
        figure="<results>/report/coverage/coverage.png",
        vector="<results>/report/coverage/coverage.svg",
    log:
        "<logs>/coverage.log",
    benchmark:
        "<benchmarks>/coverage.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        datasets=lambda wildcards, input: folder_of(input.datasets),
        folder=subpath(output.table, parent=True),
    message:
        "coverage: how much of each video the words cover"
    shell:
        "python -m abaw_pipeline coverage --trials {input.trials:q} --punctuated {input.punctuated:q}"
        " --datasets {params.datasets:q} --output {params.folder:q}"
        f"{LOGGED}"


rule dataset_index:
    """Folds, and checksums of all trial files."""
    input:
        trials="<results>/trials.csv",
        datasets=collect("<results>/dataset/{trial}.h5", trial=TRIALS),
        audit="<results>/audit.csv",
        code=code("index"),
    output:
        "<results>/dataset/index.json",
    log:
        "<logs>/index.log",
    benchmark:
        "<benchmarks>/index.tsv"
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("index"),
        datasets=lambda wildcards, input: folder_of(input.datasets),
    message:
        "index: folds and checksums"
    shell:
        "python -m abaw_pipeline index --trials {input.trials:q} --datasets {params.datasets:q}"
        " --output {output:q} --settings {params.settings:q}"
        f"{LOGGED}"
