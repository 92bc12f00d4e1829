"""Choosing instances, and the checked submission files (report section 4)."""


rule select_instances:
    """Choose the instances to submit."""
    input:
        index=index_to_select_with,
        metrics=[f"<results>/{instance.folder}/metrics.json" for instance in INSTANCES],
        code=code("select"),
    output:
        table="<results>/selection.csv",
        choice="<results>/selection.json",
        expected="<results>/runs/expected.json",
    log:
        "<logs>/select.log",
    benchmark:
        "<benchmarks>/select.tsv"
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("select"),
        expected=configuration.as_json(
            {"instances": [instance.model_dump() for instance in INSTANCES]}
        ),
        runs=subpath(output.expected, parent=True),
    message:
        "select: choosing the instances to submit"
    shell:
        "(printf '%s\\n' {params.expected:q} > {output.expected:q} &&"
        " python -m abaw_pipeline select --runs {params.runs:q} --index {input.index:q}"
        " --expected {output.expected:q} --output-csv {output.table:q} --output-json {output.choice:q}"
        " --settings {params.settings:q})"
        f"{LOGGED}"


rule write_submission:
    """Write, validate and zip the submission files."""
    input:
        selection="<results>/selection.json",
        index=index_to_submit_with,
        predictions=[
            f"<results>/{instance.folder}/{name}.csv"
            for instance in INSTANCES
            for name in ("validation", "test")
        ],
        template=[str(TEMPLATE)] if TEMPLATE else [],
        truth=truth_files(),
        code=code("submit"),
    output:
        archive="<results>/submission/submission.zip",
        mapping="<results>/submission/mapping.json",
        repairs="<results>/submission/repairs.csv",
    log:
        "<logs>/submit.log",
    benchmark:
        "<benchmarks>/submit.tsv"
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("submit"),
        runs=lambda wildcards, input: f"{folder_of([input.selection])}/runs",
        folder=subpath(output.archive, parent=True),
        template=lambda wildcards, input: input.template or "none",
        truth=option("truth", f"{SETTINGS.demo.folder}/truth" if truth_files() else ""),
    message:
        "submission: writing, validating and zipping"
    shell:
        "python -m abaw_pipeline submit --selection {input.selection:q} --runs {params.runs:q}"
        " --index {input.index:q} --template {params.template:q} --output {params.folder:q}"
        " --settings {params.settings:q} {params.truth}"
        f"{LOGGED}"
