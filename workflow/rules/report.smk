"""The page of results."""


rule write_report:
    """The report page and its figures."""
    input:
        submission=submission_to_report,
        selection="<results>/selection.csv",
        audit="<results>/audit.csv",
        coverage="<results>/report/coverage/coverage.csv",
        code=code("report"),
    output:
        report(
            "<results>/report/index.html",
            caption="../report/index.rst",
            category="Results",
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        settings=settings("report"),
        results=subpath(output[0], ancestor=2),
        folder=subpath(output[0], parent=True),
    message:
        "report: page and figures"
    shell:
        "python -m abaw_pipeline report --results {params.results:q} --settings {params.settings:q}"
        " --output {params.folder:q}"
        f"{LOGGED}"
