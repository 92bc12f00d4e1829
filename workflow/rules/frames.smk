"""Face images to one small array per trial (report section 3.2)."""


rule frames_of_trial:
    """The face images of one trial in one array."""
    input:
        unpack(trial_parts),
        faces=trial_faces,
        timestamps=of_video("<results>/timestamps/{video}.h5"),
        code=code("frames"),
    output:
        "<results>/frames/{trial}.h5",
    log:
        "<logs>/frames/{trial}.log",
    benchmark:
        "<benchmarks>/frames/{trial}.tsv"
    conda:
        "../../envs/media.yaml"
    params:
        settings=settings("frames"),
        row_source=lambda wildcards, input: row_count_options(input),
        of_video=lambda wildcards, input: video_options(input),
        faces=lambda wildcards, input: option("faces", input.faces),
        images=images_seen,
    message:
        "frames: faces of {wildcards.trial}"
    shell:
        "python -m abaw_pipeline frames --trial {wildcards.trial:q} {params.faces} {params.row_source}"
        " {params.of_video} --settings {params.settings:q} --output {output:q}"
        " --threads {threads}"
        f"{LOGGED}"
