"""The corpus: generated (demo) or found, and listed."""

if SETTINGS.corpus == "demo":

    rule demo_corpus:
        """Generate the demo corpus of synthetic people."""
        input:
            code=code("demo"),
        output:
            files=demo_plan.files(SETTINGS.demo),
            folders=directory(demo_plan.folders(SETTINGS.demo)),
        log:
            "<logs>/demo.log",
        benchmark:
            "<benchmarks>/demo.tsv"
        conda:
            "../../envs/demo.yaml"
        threads: 8
        params:
            settings=settings("demo"),
            folder=lambda wildcards: SETTINGS.demo.folder,
        message:
            "demo: generating the corpus of synthetic people"
        shell:
            "python -m abaw_pipeline demo --folder {params.folder:q} --settings {params.settings:q}"
            " --jobs {threads}"
            f"{LOGGED}"


rule scan_corpus:
    """List the trials of the corpus, with partition and group."""
    input:
        annotations=[
            str(trial.annotation) for trial in TRIALS.values() if trial.annotation
        ],
        videos=corpus_listing(),
        template=[str(TEMPLATE)] if TEMPLATE else [],
        code=code("scan"),
    output:
        "<results>/trials.csv",
    log:
        "<logs>/scan.log",
    benchmark:
        "<benchmarks>/scan.tsv"
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("scan"),
        trials=sorted(TRIALS),
    message:
        "scan: listing trials, partitions and groups"
    shell:
        "python -m abaw_pipeline scan --settings {params.settings:q} --output {output:q}"
        f"{LOGGED}"
