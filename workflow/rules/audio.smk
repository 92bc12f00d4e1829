"""From video to sound to log-mel, once per video (report section 3.2)."""


rule timestamps_of_video:
    """Times of the frames of one video, from its container."""
    input:
        video=video_file,
        code=code("timestamps"),
    output:
        "<results>/timestamps/{video}.h5",
    log:
        "<logs>/timestamps/{video}.log",
    benchmark:
        "<benchmarks>/timestamps/{video}.tsv"
    conda:
        "../../envs/media.yaml"
    message:
        "timestamps: frame times of {wildcards.video}"
    shell:
        "python -m abaw_pipeline timestamps --video {input.video:q} --output {output:q}"
        f"{LOGGED}"


rule wav_of_video:
    """The sound of one video."""
    input:
        video=video_file,
        code=code("wav"),
    output:
        wav="<results>/audio/{video}.wav",
        record="<results>/audio/{video}.json",
    log:
        "<logs>/wav/{video}.log",
    benchmark:
        "<benchmarks>/wav/{video}.tsv"
    priority: RECOGNITION_FIRST
    conda:
        "../../envs/media.yaml"
    params:
        settings=settings("wav"),
    message:
        "wav: sound of {wildcards.video}"
    shell:
        "python -m abaw_pipeline wav --video {input.video:q} --settings {params.settings:q}"
        " --output {output.wav:q} --record {output.record:q}"
        f"{LOGGED}"


rule logmel_of_video:
    """The log-mel spectrogram of one video."""
    input:
        wav="<results>/audio/{video}.wav",
        record="<results>/audio/{video}.json",
        code=code("logmel"),
    output:
        "<results>/logmel/{video}.h5",
    log:
        "<logs>/logmel/{video}.log",
    benchmark:
        "<benchmarks>/logmel/{video}.tsv"
    conda:
        "../../envs/media.yaml"
    message:
        "logmel: spectrogram of {wildcards.video}"
    shell:
        "python -m abaw_pipeline logmel --wav {input.wav:q} --record {input.record:q} --output {output:q}"
        " --threads {threads}"
        f"{LOGGED}"
