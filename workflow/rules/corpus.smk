"""The corpus: generated (demo) or found, and listed."""

if SETTINGS.corpus == "demo":
    rule demo_corpus:
        input:
            code=code("demo"),
        output:
            demo_plan.files(SETTINGS.demo),
            directory(demo_plan.folders(SETTINGS.demo)),
        params:
            settings=settings("demo"),
            folder=SETTINGS.demo.folder,
        log:
            "<logs>/demo.log",
        benchmark:
            "<benchmarks>/demo.tsv"
        conda:
            "../../envs/demo.yaml"
        threads: 8
        message:
            "demo: generating the corpus of synthetic people"
        shell:
            "python -m abaw_pipeline demo --folder {params.folder:q} --settings {params.settings:q}"
            " --jobs {threads}" + LOGGED


rule scan_corpus:
    input:
        annotations=[str(trial.annotation) for trial in TRIALS.values() if trial.annotation],
        videos=corpus_listing(),
        template=[str(TEMPLATE)] if TEMPLATE else [],
        code=code("scan"),
    output:
        "<results>/trials.csv",
    params:
        settings=settings("scan"),
        trials=sorted(TRIALS),
    log:
        "<logs>/scan.log",
    benchmark:
        "<benchmarks>/scan.tsv"
    conda:
        "../../envs/core.yaml"
    message:
        "scan: listing trials, partitions and groups"
    shell:
        "python -m abaw_pipeline scan --settings {params.settings:q} --output {output:q}" + LOGGED
